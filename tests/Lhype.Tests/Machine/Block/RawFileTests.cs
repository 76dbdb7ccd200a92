// Raw disk images: data, locks, and one sentence for everything a user can get wrong.

using System;
using System.IO;
using System.Linq;
using Lhype.Host;
using Lhype.Machine.Block;
using Xunit;

namespace Lhype.Tests.Machine.Block;

public sealed class RawFileTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("lhype-disk-").FullName;

    private string Disk => Path.Combine(_directory, "disk.img");

    public void Dispose() => Directory.Delete(_directory, true);

    [Fact]
    public void ReadsWritesDiscardsAndZeroes()
    {
        Make(1 << 20);
        byte[] data = Enumerable.Range(0, 8192).Select(i => (byte)(i * 3)).ToArray();
        using (RawFile disk = RawFile.Open(Disk, false))
        {
            Assert.Equal(1 << 20, disk.Length);
            Assert.False(disk.ReadOnly);
            Assert.True(disk.Write(512, data));
            Assert.True(disk.WriteZeroes(1024, 512, false));
            Assert.True(disk.WriteZeroes(4096, 4096, true));
            Assert.True(disk.Discard(65536, 65536));
            Assert.True(disk.Flush());
            byte[] back = new byte[8192];
            Assert.True(disk.Read(512, back));
            data.AsSpan(512, 512).Clear();
            data.AsSpan(4096 - 512, 4096).Clear();
            Assert.Equal(data, back);
        }

        Assert.Equal(data, File.ReadAllBytes(Disk)[512..8704]);
        Assert.Equal(1 << 20, new FileInfo(Disk).Length);
    }

    [Fact]
    public void ReadOnlyDiskCannotBeWritten()
    {
        Make(4096);
        using RawFile disk = RawFile.Open(Disk, true);
        Assert.True(disk.ReadOnly);
        Assert.False(disk.Write(0, new byte[512]));
        Assert.True(disk.Read(0, new byte[512]));
    }

    [Fact]
    public void WriterExcludesOthersReadersShare()
    {
        Make(4096);
        using (RawFile.Open(Disk, false))
        {
            Refused(Disk, false, "in use");
            Refused(Disk, true, "in use");
        }

        using (RawFile.Open(Disk, true))
        using (RawFile.Open(Disk, true))
        {
            Refused(Disk, false, "in use");
        }

        RawFile.Open(Disk, false).Dispose();
    }

    [Theory]
    [InlineData(0, "empty")]
    [InlineData(511, "multiple of 512")]
    [InlineData(1025, "multiple of 512")]
    public void SizeMustBeWholeSectors(int bytes, string words)
    {
        Make(bytes);
        Refused(Disk, false, words);
        Refused(Disk, true, words);

        // The refused disk is not left locked.
        HostFile.Open(Disk, false, HostFileLock.Exclusive).Dispose();
    }

    [Fact]
    public void MissingFileDirectoryAndDeviceAreNamed()
    {
        Refused(Disk, false, "No such file");
        Refused(Path.Combine(_directory, "no", "such"), false, "No such file");
        Refused(_directory, false, "directory");
        Refused(_directory, true, "directory");
        Refused("/dev/null", true, "");
    }

    private void Make(int bytes) => File.WriteAllBytes(Disk, new byte[bytes]);

    private static void Refused(string path, bool readOnly, string words)
    {
        LhypeException error = Assert.Throws<LhypeException>(() => RawFile.Open(path, readOnly));
        Assert.Contains(path, error.Message, StringComparison.Ordinal);
        Assert.Contains(words, error.Message, StringComparison.Ordinal);
        Assert.EndsWith(".", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', error.Message);
    }
}
