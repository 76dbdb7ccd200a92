// The cache gives back exactly what was put, treats damage as a miss, stays below its limit and never fails
// a start.

using System;
using System.IO;
using Lhype.Machine.Boot;
using Xunit;

namespace Lhype.Tests.Machine.Boot;

public sealed class UnpackedKernelCacheTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("lhype-test-").FullName;
    private readonly byte[] _packed = [1, 2, 3, 4, 5, 6, 7, 8, 9];
    private readonly byte[] _unpacked = TestImages.MakeCode(1000);

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public void GivesBackWhatWasPut()
    {
        var cache = new UnpackedKernelCache(Path.Combine(_directory, "new"));
        Assert.Null(cache.TryGet(_packed));

        cache.Put(_packed, _unpacked);

        Assert.Equal(_unpacked, cache.TryGet(_packed));
        Assert.Null(cache.TryGet(_packed.AsSpan(1)));
        Assert.Single(Directory.GetFiles(Path.Combine(_directory, "new")));
    }

    [Fact]
    public void LoadingTwiceUsesTheEntry()
    {
        var cache = new UnpackedKernelCache(_directory);
        byte[] image = TestImages.BzImage(TestImages.Gzip(TestImages.Elf32()));
        _ = KernelImage.Parse("k", image, cache);
        byte[] marked = TestImages.Elf32(entry: TestImages.LoadAddress + 99);
        cache.Put(image, marked);

        Assert.Equal(TestImages.LoadAddress + 99UL, KernelImage.Parse("k", image, cache).Entry);
    }

    [Fact]
    public void DamagedOrTruncatedEntryIsAMiss()
    {
        var cache = new UnpackedKernelCache(_directory);
        cache.Put(_packed, _unpacked);
        string path = Assert.Single(Directory.GetFiles(_directory));
        byte[] good = File.ReadAllBytes(path);
        for (int i = 0; i < good.Length; i += 13)
        {
            File.WriteAllBytes(path, good.AsSpan(0, i));
            Assert.Null(cache.TryGet(_packed));
        }

        byte[] bad = (byte[])good.Clone();
        bad[^1] ^= 1;
        File.WriteAllBytes(path, bad);
        Assert.Null(cache.TryGet(_packed));
        bad = (byte[])good.Clone();
        bad[24] ^= 1;
        File.WriteAllBytes(path, bad);
        Assert.Null(cache.TryGet(_packed));
    }

    [Fact]
    public void OldestEntriesGoWhenTheLimitIsReached()
    {
        var cache = new UnpackedKernelCache(_directory, limitBytes: 2500);
        byte[] second = [9, 9];
        byte[] third = [8, 8, 8];
        cache.Put(_packed, _unpacked);
        File.SetLastWriteTimeUtc(Assert.Single(Directory.GetFiles(_directory)), DateTime.UnixEpoch);
        cache.Put(second, _unpacked);
        cache.Put(third, _unpacked);

        Assert.Null(cache.TryGet(_packed));
        Assert.NotNull(cache.TryGet(second));
        Assert.NotNull(cache.TryGet(third));
        cache.Put([7], new byte[3000]);
        Assert.Null(cache.TryGet([7]));
    }

    [Fact]
    public void UnusableDirectoryIsIgnored()
    {
        string file = Path.Combine(_directory, "file");
        File.WriteAllText(file, "");
        var cache = new UnpackedKernelCache(Path.Combine(file, "below"));

        cache.Put(_packed, _unpacked);

        Assert.Null(cache.TryGet(_packed));
    }
}
