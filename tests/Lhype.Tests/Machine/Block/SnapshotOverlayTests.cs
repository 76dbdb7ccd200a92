// The snapshot overlay against a model: any sequence of operations reads back as on a plain disk, and the
// disk underneath stays bit-identical.

using System;
using System.IO;
using System.Linq;
using CsCheck;
using Lhype.Host;
using Lhype.Machine.Block;
using Lhype.Tests.Machine.Virtio;
using Xunit;

namespace Lhype.Tests.Machine.Block;

public sealed class SnapshotOverlayTests
{
    // A little over two pieces of bitmap, so that runs cross their borders.
    private const int DiskBytes = (2 * 32 << 20) + (96 << 10);

    [Fact]
    public void BehavesAsAPlainDiskAndKeepsTheBase()
    {
        byte[] original = new byte[DiskBytes];
        new Random(1).NextBytes(original);
        MemoryDisk under = new(DiskBytes) { ReadOnly = true };
        original.CopyTo(under.Bytes, 0);
        byte[] model = (byte[])original.Clone();
        using SnapshotOverlay overlay = SnapshotOverlay.Over(under, Path.GetTempPath());
        Assert.False(overlay.ReadOnly);
        Assert.Equal(DiskBytes, overlay.Length);

        Gen.Int.Sample(seed => Step(overlay, model, new Random(seed)), iter: 1500, threads: 1);

        byte[] all = new byte[DiskBytes];
        Assert.True(overlay.Read(0, all));
        Assert.True(model.AsSpan().SequenceEqual(all));
        Assert.True(original.AsSpan().SequenceEqual(under.Bytes));
        Assert.Equal(0, under.Writes + under.Flushes);
        Assert.Empty(under.Discards);
    }

    [Fact]
    public void RunsFromOneSideAreReadAtOnce()
    {
        MemoryDisk under = new(1 << 20);
        using SnapshotOverlay overlay = SnapshotOverlay.Over(under, Path.GetTempPath());
        Assert.True(overlay.Write(4096, new byte[512]));
        Assert.True(overlay.Read(0, new byte[65536]));
        Assert.Equal(2, under.Reads);
    }

    [Fact]
    public void DiscardedSectorsStayReadable()
    {
        MemoryDisk under = new(1 << 20);
        Array.Fill(under.Bytes, (byte)7);
        using SnapshotOverlay overlay = SnapshotOverlay.Over(under, Path.GetTempPath());
        Assert.True(overlay.Write(0, Enumerable.Repeat((byte)9, 4096).ToArray()));
        Assert.True(overlay.Discard(0, 8192));
        byte[] back = new byte[12288];
        Assert.True(overlay.Read(0, back));
        Assert.Equal(7, back[8192]);
    }

    [Fact]
    public void FailureUnderneathIsReported()
    {
        MemoryDisk under = new(1 << 20) { Broken = true };
        using SnapshotOverlay overlay = SnapshotOverlay.Over(under, Path.GetTempPath());
        Assert.False(overlay.Read(0, new byte[512]));
        Assert.True(overlay.Write(0, new byte[512]));
        Assert.True(overlay.Read(0, new byte[512]));
    }

    [Fact]
    public void DirectoryThatCannotHoldTheFileIsNamed()
    {
        MemoryDisk under = new(1 << 20);
        LhypeException error =
            Assert.Throws<LhypeException>(() => SnapshotOverlay.Over(under, "/proc/no-such"));
        Assert.Contains("/proc/no-such", error.Message, StringComparison.Ordinal);
        Assert.EndsWith(".", error.Message, StringComparison.Ordinal);
    }

    private static void Step(SnapshotOverlay overlay, byte[] model, Random random)
    {
        const int Sectors = DiskBytes / 512;
        int first = random.Next(3) switch
        {
            0 => (1 << 16) - random.Next(40),
            1 => (2 << 16) - random.Next(40),
            _ => random.Next(Sectors),
        };
        int count = Math.Min(random.Next(1, random.Next(4) == 0 ? 2000 : 20), Sectors - first);
        int offset = first * 512;
        Span<byte> part = model.AsSpan(offset, count * 512);
        switch (random.Next(5))
        {
            case 0:
                Assert.True(overlay.WriteZeroes(offset, part.Length, random.Next(2) == 0));
                part.Clear();
                break;
            case 1:
            case 2:
                random.NextBytes(part);
                Assert.True(overlay.Write(offset, part));
                break;
            default:
                byte[] back = new byte[part.Length];
                Assert.True(overlay.Read(offset, back));
                Assert.True(part.SequenceEqual(back));
                break;
        }
    }
}
