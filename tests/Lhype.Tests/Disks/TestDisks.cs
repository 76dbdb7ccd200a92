// Small disk images in memory: file systems that are nothing but a superblock, and partition tables around
// them.

using System;
using System.Buffers.Binary;
using System.IO;
using System.Text;
using Lhype.Disks;

namespace Lhype.Tests.Disks;

internal static class TestDisks
{
    public const int Sector = 512;
    public static readonly Guid LinuxRoot = new("44479540-f297-41b2-9af7-d131d5f0458a");
    public static readonly Guid LinuxData = new("0fc63daf-8483-4772-8e79-3d69d8477de4");

    /// <summary>An ext superblock in 4 KiB; features as mke2fs sets them for each type.</summary>
    public static byte[] Ext(string type, string label = "", string mountedOn = "")
    {
        byte[] image = new byte[4096];
        Span<byte> block = image.AsSpan(1024, 1024);
        BinaryPrimitives.WriteUInt16LittleEndian(block[0x38..], 0xEF53);
        BinaryPrimitives.WriteUInt32LittleEndian(block[0x5C..], type == "ext2" ? 0x38u : 0x3Cu);
        BinaryPrimitives.WriteUInt32LittleEndian(block[0x60..], type == "ext4" ? 0x2C2u : 2u);
        BinaryPrimitives.WriteUInt32LittleEndian(block[0x64..], type == "ext4" ? 0x46Bu : 3u);
        Encoding.ASCII.GetBytes(label, block[0x78..]);
        Encoding.ASCII.GetBytes(mountedOn, block[0x88..]);
        return image;
    }

    public static byte[] Xfs(string label)
    {
        byte[] image = new byte[4096];
        "XFSB"u8.CopyTo(image);
        Encoding.ASCII.GetBytes(label, image.AsSpan(108));
        return image;
    }

    public static byte[] Btrfs()
    {
        byte[] image = new byte[0x1_1000];
        "_BHRfS_M"u8.CopyTo(image.AsSpan(0x1_0040));
        "pool"u8.CopyTo(image.AsSpan(0x1_012B));
        return image;
    }

    /// <summary>A disk with an MBR; null leaves an entry empty. Those from the fifth on are logical, in an
    /// extended partition that is the fourth.</summary>
    public static byte[] Mbr(params byte[]?[] parts)
    {
        using MemoryStream disk = new();
        byte[] table = Record();
        uint at = 64;
        for (int i = 0; i < Math.Min(parts.Length, 4); i++)
        {
            if (parts[i] is { } part)
            {
                Entry(table, i, 0x83, at, (uint)part.Length / Sector);
                at = Put(disk, at, part);
            }
        }

        uint extended = at;
        if (parts.Length > 4)
        {
            Entry(table, 3, 0x0F, extended, 0x10_0000);
        }

        for (int i = 4; i < parts.Length; i++)
        {
            uint record = at;
            uint size = (uint)parts[i]!.Length / Sector;
            byte[] link = Record();
            Entry(link, 0, 0x83, 8, size);
            at = Put(disk, record + 8, parts[i]!);
            if (i + 1 < parts.Length)
            {
                Entry(link, 1, 0x05, at - extended, 0x1000);
            }

            _ = Put(disk, record, link);
        }

        _ = Put(disk, 0, table);
        return disk.ToArray();
    }

    /// <summary>A disk with a GPT.</summary>
    public static byte[] Gpt(params (Guid Type, byte[] Content)[] parts)
    {
        using MemoryStream disk = new();
        byte[] protective = Record();
        Entry(protective, 0, 0xEE, 1, uint.MaxValue);
        _ = Put(disk, 0, protective);
        byte[] header = new byte[Sector];
        "EFI PART"u8.CopyTo(header);
        BinaryPrimitives.WriteUInt64LittleEndian(header.AsSpan(72), 2);
        BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(80), 128);
        BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(84), 128);
        _ = Put(disk, 1, header);
        byte[] table = new byte[128 * 128];
        uint at = 64;
        for (int i = 0; i < parts.Length; i++)
        {
            Span<byte> entry = table.AsSpan(i * 128);
            parts[i].Type.TryWriteBytes(entry);
            BinaryPrimitives.WriteUInt64LittleEndian(entry[32..], at);
            at = Put(disk, at, parts[i].Content);
            BinaryPrimitives.WriteUInt64LittleEndian(entry[40..], at - 1);
        }

        _ = Put(disk, 2, table);
        return disk.ToArray();
    }

    public static DiskLayout Read(byte[] image)
    {
        using MemoryStream stream = new(image);
        return DiskLayout.Read(new DiskReader(stream));
    }

    private static byte[] Record()
    {
        byte[] record = new byte[Sector];
        record[510] = 0x55;
        record[511] = 0xAA;
        return record;
    }

    private static void Entry(byte[] record, int index, byte type, uint start, uint length)
    {
        Span<byte> entry = record.AsSpan(0x1BE + (index * 16), 16);
        entry[4] = type;
        BinaryPrimitives.WriteUInt32LittleEndian(entry[8..], start);
        BinaryPrimitives.WriteUInt32LittleEndian(entry[12..], length);
    }

    private static uint Put(MemoryStream disk, uint sector, byte[] content)
    {
        disk.Position = sector * Sector;
        disk.Write(content);
        return sector + ((uint)content.Length / Sector);
    }
}
