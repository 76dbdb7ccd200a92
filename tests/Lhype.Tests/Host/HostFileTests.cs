// Disk images: what is written is read back, locks keep a second writer out, and every failure to open is a
// sentence.

using System;
using System.IO;
using Lhype.Host;
using Xunit;

namespace Lhype.Tests.Host;

public sealed class HostFileTests : IDisposable
{
    private readonly string _path = Path.GetTempFileName();

    public void Dispose() => File.Delete(_path);

    [Fact]
    public void ReadsWhatWasWrittenAndZeroesBeyondTheEnd()
    {
        File.WriteAllBytes(_path, new byte[1000]);
        using HostFile file = HostFile.Open(_path, readOnly: false, HostFileLock.Exclusive);
        Assert.Equal(1000, file.Length);
        Assert.Equal(0, file.Write(990, "0123456789"u8));
        Assert.Equal(0, file.Flush());
        byte[] back = new byte[20];
        Array.Fill(back, (byte)0xFF);
        Assert.Equal(0, file.Read(990, back));
        Assert.Equal("0123456789\0\0\0\0\0\0\0\0\0\0"u8.ToArray(), back);
    }

    [Fact]
    public void DiscardedRangeReadsAsZero()
    {
        using HostFile file = HostFile.CreateTemporary(Path.GetTempPath());
        byte[] data = new byte[65536];
        Array.Fill(data, (byte)7);
        Assert.Equal(0, file.Write(0, data));
        if (file.PunchHole(4096, 8192) == 0)
        {
            Assert.Equal(0, file.Read(0, data));
            Assert.Equal(7, data[4095]);
            Assert.Equal(new byte[8192], data[4096..12288]);
            Assert.Equal(7, data[12288]);
        }
    }

    [Fact]
    public void SecondWriterIsRefusedAndReadersShare()
    {
        using (HostFile.Open(_path, readOnly: false, HostFileLock.Exclusive))
        {
            AssertRefused(readOnly: false, HostFileLock.Exclusive);
            AssertRefused(readOnly: true, HostFileLock.Shared);
        }

        using HostFile first = HostFile.Open(_path, readOnly: true, HostFileLock.Shared);
        using HostFile second = HostFile.Open(_path, readOnly: true, HostFileLock.Shared);
        AssertRefused(readOnly: false, HostFileLock.Exclusive);
    }

    [Fact]
    public void WriteToAReadOnlyFileReturnsAnError()
    {
        using HostFile file = HostFile.Open(_path, readOnly: true, HostFileLock.None);
        Assert.NotEqual(0, file.Write(0, "x"u8));
    }

    [Theory]
    [InlineData("/nonexistent/disk.img")]
    [InlineData("/tmp")]
    public void WhatCannotBeOpenedIsASentence(string path)
    {
        LhypeException error = Assert.Throws<LhypeException>(() =>
            HostFile.Open(path, true, HostFileLock.Shared));
        Assert.StartsWith(path, error.Message.Replace("Cannot open ", "", StringComparison.Ordinal),
            StringComparison.Ordinal);
        Assert.EndsWith(".", error.Message, StringComparison.Ordinal);
    }

    private void AssertRefused(bool readOnly, HostFileLock mode)
    {
        LhypeException error = Assert.Throws<LhypeException>(() => HostFile.Open(_path, readOnly, mode));
        Assert.Contains("in use by another process", error.Message, StringComparison.Ordinal);
    }
}
