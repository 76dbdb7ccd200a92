// The console's log: replay of the last 64 KiB, every byte in order for readers that keep up, a gap of known
// size for those that do not, and a writer that never waits.

using System;
using System.Linq;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using Lhype.Machine.Control;
using Xunit;

namespace Lhype.Tests.Machine.Control;

public sealed class ConsoleLogTests
{
    private readonly ConsoleLog _log = new();

    [Fact]
    public void ReplaysTheLastBytesAndThenWhatComes()
    {
        _log.Append("before "u8);
        using ConsoleReader reader = _log.OpenReader();
        Assert.Equal(7, reader.ReplayBytes);
        _log.Append("after"u8);
        byte[] buffer = new byte[100];
        int count = reader.Read(buffer, out long lost);
        Assert.Equal("before after", Encoding.ASCII.GetString(buffer, 0, count));
        Assert.Equal(0, lost);
    }

    [Fact]
    public void ReplayIsLimited()
    {
        byte[] all = Enumerable.Range(0, 300_001).Select(Pattern).ToArray();
        _log.Append(all);
        using ConsoleReader reader = _log.OpenReader();
        Assert.Equal(ConsoleLog.ScrollBackBytes, reader.ReplayBytes);
        byte[] replay = new byte[ConsoleLog.ScrollBackBytes];
        int count = 0;
        while (count < replay.Length)
        {
            count += reader.Read(replay.AsSpan(count), out _);
        }

        Assert.Equal(all[^replay.Length..], replay);
    }

    [Fact]
    public void ASlowReaderIsToldWhatItMissed()
    {
        using ConsoleReader reader = _log.OpenReader();
        byte[] all = Enumerable.Range(0, 1_000_000).Select(Pattern).ToArray();
        _log.Append(all);
        byte[] buffer = new byte[1000];
        int count = reader.Read(buffer, out long lost);
        Assert.InRange(lost, all.Length - ConsoleLog.ScrollBackBytes, all.Length - 1);
        Assert.Equal(all.AsSpan((int)lost, count), buffer.AsSpan(0, count));
    }

    [Fact]
    public void FinishGivesTheRestAndThenTheEnd()
    {
        using ConsoleReader reader = _log.OpenReader();
        _log.Append("last words"u8);
        reader.Finish();
        byte[] buffer = new byte[4];
        Assert.Equal(4, reader.Read(buffer, out _));
        Assert.Equal(4, reader.Read(buffer, out _));
        Assert.Equal(2, reader.Read(buffer, out _));
        Assert.Equal(0, reader.Read(buffer, out _));
        Assert.Equal(1, _log.ReaderCount);
        reader.Dispose();
        Assert.Equal(0, _log.ReaderCount);
    }

    [Fact]
    public async Task FinishWakesAReader()
    {
        using ConsoleReader reader = _log.OpenReader();
        Task<int> read = Task.Run(() => reader.Read(new byte[1], out _));
        await Task.Delay(50);
        Assert.False(read.IsCompleted);
        reader.Finish();
        Assert.Equal(0, await read.WaitAsync(TimeSpan.FromSeconds(10)));
    }

    // Readers of different speed beside a fast writer: whatever is read is what was written at that place.
    [Fact]
    public async Task ReadersSeeNothingButWhatWasWritten()
    {
        const int Total = 20_000_000;
        Task<long>[] readers = [Follow(pauseEvery: int.MaxValue), Follow(3), Follow(50)];
        byte[] piece = new byte[10_007];
        for (int at = 0; at < Total; at += piece.Length)
        {
            for (int i = 0; i < piece.Length; i++)
            {
                piece[i] = Pattern(at + i);
            }

            _log.Append(piece);
        }

        foreach (Task<long> reader in readers)
        {
            Assert.True(await reader.WaitAsync(TimeSpan.FromSeconds(60)) >= Total);
        }

        Task<long> Follow(int pauseEvery)
        {
            ConsoleReader reader = _log.OpenReader();
            return Task.Factory.StartNew(
                () => Check(reader, Total, pauseEvery), TaskCreationOptions.LongRunning);
        }
    }

    private static long Check(ConsoleReader reader, long total, int pauseEvery)
    {
        byte[] buffer = new byte[5000];
        long position = 0;
        for (int round = 1; position < total; round++)
        {
            int count = reader.Read(buffer, out long lost);
            position += lost;
            for (int i = 0; i < count; i++)
            {
                Assert.Equal(Pattern((int)position++), buffer[i]);
            }

            if (round % pauseEvery == 0)
            {
                Thread.Sleep(1);
            }
        }

        reader.Dispose();
        return position;
    }

    private static byte Pattern(int position) => (byte)((position * 2654435761u) >> 24);
}
