// Random and damaged disks: whatever the bytes, looking into a disk ends, quickly and without an exception,
// and what it says can stand in a message and on a kernel command line. One canary shows that the search
// finds bugs. A failure prints the seed: repeat with CsCheck_Seed=SEED in the environment.

using System;
using System.Buffers.Binary;
using System.IO;
using System.Linq;
using CsCheck;
using Lhype.Disks;
using Lhype.Tests.Disks;
using Xunit;

namespace Lhype.Tests.Fuzz;

public sealed class DiskFuzzTests
{
    private const int Iterations = 4000;

    private static readonly byte[][] Seeds =
    [
        TestDisks.Ext("ext4", "label", "/"),
        TestDisks.Xfs("label"),
        TestDisks.Btrfs(),
        TestDisks.Mbr(TestDisks.Ext("ext2"), null, TestDisks.Xfs("x"), null, TestDisks.Ext("ext3"),
            TestDisks.Ext("ext4")),
        TestDisks.Gpt((TestDisks.LinuxData, TestDisks.Ext("ext2")), (TestDisks.LinuxRoot, TestDisks.Btrfs())),
    ];

    // Tables lie in the first sectors and superblocks at known places.
    private static readonly Gen<(int Disk, (int Position, ulong Value, int Width)[] Edits, int Keep)> Damage =
        Gen.Select(
            Gen.Int[0, Seeds.Length - 1],
            Gen.Select(
                Gen.OneOf(Gen.Int[0x1BE, 0x260], Gen.Int[0x400, 0x800], Gen.Int[0x8000, 0xA200],
                    Gen.Int[0, 0x1_2000]),
                Gen.OneOf(Gen.ULong, Gen.ULong[0, 300], Gen.ULong[ulong.MaxValue - 300, ulong.MaxValue],
                    Gen.ULong[0x7FFF_FFFF_FFFF_FF00 / 512, 0x8000_0000_0000_00FF / 512]),
                Gen.Int[0, 3].Select(power => 1 << power)).Array[0, 8],
            Gen.OneOf(Gen.Const(int.MaxValue), Gen.Int[0, 0x1_2000]));

    [Fact]
    public void Random_bytes_are_some_disk() =>
        Gen.Byte.Array[0, 4096].Sample(bytes => IsSound(Signed(bytes)), iter: Iterations, threads: 1);

    [Fact]
    public void Damaged_disks_are_some_disk() =>
        Damage.Sample(damage => IsSound(Apply(damage)), iter: Iterations * 4, threads: 1);

    /// <summary>The canary: a parser that trusts the place of the table.</summary>
    [Fact]
    public void A_planted_bug_is_found() => Assert.Throws<CsCheckException>(() => Damage.Sample(damage =>
    {
        byte[] disk = Apply(damage);
        return disk.Length < 1024 || !disk.AsSpan(512).StartsWith("EFI PART"u8)
            || disk[checked((int)(BinaryPrimitives.ReadInt64LittleEndian(disk.AsSpan(512 + 72)) * 512))] >= 0;
    }, iter: Iterations * 4, threads: 1));

    private static bool IsSound(byte[] disk)
    {
        using MemoryStream stream = new(disk);
        DiskLayout layout = DiskLayout.Read(new DiskReader(stream));
        return layout.Partitions.Count <= 1100
            && (layout.Root is null || layout.Root.Number > 0)
            && layout.Partitions.Select(part => part.FileSystem).Append(layout.FileSystem).All(system =>
                system is null || system.Label.All(letter => letter is > ' ' and < (char)0x7F));
    }

    private static byte[] Signed(byte[] bytes)
    {
        if (bytes.Length >= 512)
        {
            bytes[510] = 0x55;
            bytes[511] = 0xAA;
        }

        return bytes;
    }

    private static byte[] Apply((int Disk, (int Position, ulong Value, int Width)[] Edits, int Keep) damage)
    {
        byte[] bytes = (byte[])Seeds[damage.Disk].Clone();
        Span<byte> value = stackalloc byte[8];
        foreach ((int position, ulong number, int width) in damage.Edits)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(value, number);
            int at = Math.Min(position, bytes.Length);
            value[..Math.Min(width, bytes.Length - at)].CopyTo(bytes.AsSpan(at));
        }

        return bytes[..Math.Min(damage.Keep, bytes.Length)];
    }
}
