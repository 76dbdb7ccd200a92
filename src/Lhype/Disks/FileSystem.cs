// Recognises the file system in a disk or partition from its superblock, so that the tool can tell which
// partition is the root and which driver it takes. Called by DiskLayout. What the superblock says is hostile
// text.

using System;
using System.Buffers.Binary;
using System.Text;

namespace Lhype.Disks;

/// <summary>What a superblock says.</summary>
/// <param name="Type">The name Linux mounts it by: <c>ext2</c>, <c>ext3</c>, <c>ext4</c>, <c>xfs</c>,
/// <c>btrfs</c>.</param>
/// <param name="Label">Its label; empty if it has none.</param>
/// <param name="LastMountedOnRoot">It was last mounted on <c>/</c>; only ext file systems know.</param>
internal sealed record FileSystem(string Type, string Label, bool LastMountedOnRoot)
{
    private const int ExtOffset = 1024;
    private const int BtrfsOffset = 0x1_0000;

    /// <summary>The file system <paramref name="part"/> starts with, or null if it is none of those a Linux
    /// root can be on.</summary>
    public static FileSystem? Probe(DiskReader part) => Ext(part) ?? Xfs(part) ?? Btrfs(part);

    // struct ext4_super_block (Linux Documentation/filesystems/ext4/super.rst).
    private static FileSystem? Ext(DiskReader part)
    {
        const int magic = 0x38, compatible = 0x5C, incompatible = 0x60, readOnly = 0x64, label = 0x78,
            mountedOn = 0x88;
        const uint hasJournal = 4, journalDevice = 8;

        // What ext3 does not know: directory indexes without limit, extents, 64-bit numbers and so on.
        const uint ext3Incompatible = 0x16, ext3ReadOnly = 7;
        Span<byte> block = stackalloc byte[1024];
        if (!part.TryRead(ExtOffset, block) || UInt16(block, magic) != 0xEF53
            || (UInt32(block, incompatible) & journalDevice) != 0)
        {
            return null;
        }

        bool isExt4 = (UInt32(block, incompatible) & ~ext3Incompatible) != 0
            || (UInt32(block, readOnly) & ~ext3ReadOnly) != 0;
        bool isExt3 = (UInt32(block, compatible) & hasJournal) != 0;
        return new FileSystem(isExt4 ? "ext4" : isExt3 ? "ext3" : "ext2", Text(block.Slice(label, 16)),
            Text(block.Slice(mountedOn, 64)) == "/");
    }

    // struct xfs_dsb (Linux fs/xfs/libxfs/xfs_format.h), big-endian.
    private static FileSystem? Xfs(DiskReader part)
    {
        Span<byte> block = stackalloc byte[512];
        return part.TryRead(0, block) && block.StartsWith("XFSB"u8)
            ? new FileSystem("xfs", Text(block.Slice(108, 12)), LastMountedOnRoot: false)
            : null;
    }

    // struct btrfs_super_block (Linux include/uapi/linux/btrfs_tree.h).
    private static FileSystem? Btrfs(DiskReader part)
    {
        Span<byte> block = stackalloc byte[4096];
        return part.TryRead(BtrfsOffset, block) && block[0x40..].StartsWith("_BHRfS_M"u8)
            ? new FileSystem("btrfs", Text(block.Slice(0x12B, 256)), LastMountedOnRoot: false)
            : null;
    }

    /// <summary>Text up to its NUL; what would disturb a terminal or a kernel command line is
    /// replaced.</summary>
    internal static string Text(ReadOnlySpan<byte> bytes)
    {
        int end = bytes.IndexOf((byte)0);
        StringBuilder text = new();
        foreach (byte value in end < 0 ? bytes : bytes[..end])
        {
            text.Append(value is > 0x20 and < 0x7F ? (char)value : '?');
        }

        return text.ToString();
    }

    private static ushort UInt16(ReadOnlySpan<byte> block, int at) =>
        BinaryPrimitives.ReadUInt16LittleEndian(block[at..]);

    private static uint UInt32(ReadOnlySpan<byte> block, int at) =>
        BinaryPrimitives.ReadUInt32LittleEndian(block[at..]);
}
