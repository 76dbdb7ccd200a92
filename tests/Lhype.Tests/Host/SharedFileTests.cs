// A shared file whose memory vanishes: every access says so, none ends the process, and all work again when
// the memory is back. Locks tell the owners apart, waiting ends when another wakes.

using System;
using System.IO;
using System.Threading;
using Lhype.Host;
using Xunit;

namespace Lhype.Tests.Host;

public sealed class SharedFileTests : IDisposable
{
    private readonly string _path = Path.GetTempFileName();

    public void Dispose() => File.Delete(_path);

    [Fact]
    public void AccessesToATruncatedFileSayThatItIsGone()
    {
        using SharedFile file = SharedFile.Open(_path);
        file.Extend(0, 8192);
        file.Map(1 << 20);
        AssertAccess(file, 4096, true);
        AssertAccess(file, 8192, false);
        Truncate(4096);
        AssertAccess(file, 4096, false);
        AssertAccess(file, 0, true);

        // A copy across the edge is refused as a whole.
        Assert.False(file.TryRead(4000, new byte[200]));
        Assert.False(file.TryWrite(4000, new byte[200]));
        file.Extend(0, 16384);
        AssertAccess(file, 4096, true);
        AssertAccess(file, 12288, true);
    }

    [Fact]
    public void ExtendNeverShortens()
    {
        using SharedFile file = SharedFile.Open(_path);
        file.Extend(0, 10000);
        file.Extend(0, 5000);
        Assert.Equal(10000, file.Length);
    }

    [Fact]
    public void WordsAreExchangedAsTheirNamesSay()
    {
        using SharedFile file = SharedFile.Open(_path);
        file.Extend(0, 4096);
        file.Map(4096);
        Assert.True(file.TryStore(8, 0x1122_3344_5566_7788));
        Assert.True(file.TryLoad(8, out ulong value));
        Assert.Equal(0x1122_3344_5566_7788u, value);
        value = 5;
        Assert.True(file.TryExchange(8, ref value));
        Assert.Equal(0x1122_3344_5566_7788u, value);
        Assert.True(file.TryOr(8, 0x8000_0000_0000_0002));
        Assert.True(file.TryLoad(8, out value));
        Assert.Equal(0x8000_0000_0000_0007u, value);
        uint seen = 6;
        Assert.True(file.TryCompareExchange(8, ref seen, 9));
        Assert.Equal(7u, seen);
        Assert.True(file.TryCompareExchange(8, ref seen, 9));
        Assert.Equal(7u, seen);
        Assert.True(file.TryLoad(8, out value));
        Assert.Equal(0x8000_0000_0000_0009u, value);
    }

    [Fact]
    public void AWaitEndsByAWakeThroughAnotherMapping()
    {
        using SharedFile sleeper = SharedFile.Open(_path);
        using SharedFile waker = SharedFile.Open(_path);
        sleeper.Extend(0, 4096);
        sleeper.Map(4096);
        waker.Map(4096);
        Assert.Equal(SharedWait.TimedOut, sleeper.Wait(64, 0, 1_000_000));
        Assert.Equal(SharedWait.Woken, sleeper.Wait(64, 1, ulong.MaxValue >> 1));
        Thread thread = new(() =>
        {
            for (int i = 0; i < 1000 && waker.TryLoad(128, out ulong done) && done == 0; i++)
            {
                Thread.Sleep(5);
                waker.Wake(64);
            }
        });
        thread.Start();
        Assert.Equal(SharedWait.Woken, sleeper.Wait(64, 0, 60_000_000_000));
        Assert.True(sleeper.TryStore(128, 1));
        thread.Join();
        Truncate(0);
        Assert.Equal(SharedWait.Gone, sleeper.Wait(64, 0, 1_000_000));
    }

    [Fact]
    public void ALockHasOneOwner()
    {
        using SharedFile second = SharedFile.Open(_path);
        using (SharedFile first = SharedFile.Open(_path))
        {
            Assert.True(first.TryLock(1L << 40));
            Assert.False(second.TryLock(1L << 40));
            Assert.True(second.IsLocked(1L << 40));
            Assert.False(first.IsLocked(1L << 40));
            Assert.True(second.TryLock((1L << 40) + 1));
            first.Unlock(1L << 40);
            Assert.True(second.TryLock(1L << 40));
            second.Unlock(1L << 40);
            Assert.True(first.TryLock(1L << 40));
        }

        Assert.True(second.TryLock(1L << 40));
    }

    private static void AssertAccess(SharedFile file, long offset, bool works)
    {
        ulong word = 0;
        uint seen = 0;
        Assert.Equal(works, file.TryLoad(offset, out _));
        Assert.Equal(works, file.TryStore(offset, 1));
        Assert.Equal(works, file.TryExchange(offset, ref word));
        Assert.Equal(works, file.TryOr(offset, 1));
        Assert.Equal(works, file.TryCompareExchange(offset, ref seen, 1));
        Assert.Equal(works, file.TryRead(offset, new byte[100]));
        Assert.Equal(works, file.TryWrite(offset, new byte[100]));
    }

    private void Truncate(long length)
    {
        using FileStream stream = new(_path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
        stream.SetLength(length);
    }
}
