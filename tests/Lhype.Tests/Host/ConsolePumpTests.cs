// The pumps carry bytes unchanged, survive readers that go away or stop reading, and can always be stopped.

using System;
using System.Collections.Generic;
using System.IO;
using System.IO.Pipes;
using System.Runtime.InteropServices;
using System.Threading;
using Lhype.Host;
using Xunit;

namespace Lhype.Tests.Host;

public sealed class ConsolePumpTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(1000)]
    [InlineData(100_000)]
    public void OutputArrivesUnchangedThroughASmallRing(int length)
    {
        using AnonymousPipeServerStream reader = new(PipeDirection.In);
        byte[] sent = new byte[length];
        new Random(length).NextBytes(sent);
        byte[] received = new byte[length];
        Thread reading = new(() => reader.ReadExactly(received));
        reading.Start();

        using (OutputPump pump = new(Descriptor(reader.ClientSafePipeHandle), capacity: 64))
        {
            pump.Write(sent);
        }

        reading.Join();
        Assert.Equal(sent, received);
    }

    [Fact]
    public void ClosedReaderIsReportedOnceAndNeverBlocks()
    {
        AnonymousPipeServerStream reader = new(PipeDirection.In);
        List<string> failures = [];
        using AnonymousPipeClientStream writer = new(PipeDirection.Out, reader.ClientSafePipeHandle);
        int fd = Descriptor(writer.SafePipeHandle);
        reader.Dispose();
        using (OutputPump pump = new(fd, capacity: 64, failures.Add))
        {
            pump.Write(new byte[1000]);
        }

        Assert.Single(failures);
    }

    [Fact]
    public void AbandonFreesAProducerThatWaitsForAReader()
    {
        using AnonymousPipeServerStream reader = new(PipeDirection.In);
        OutputPump pump = new(Descriptor(reader.ClientSafePipeHandle), capacity: 64);
        Thread producer = new(() => pump.Write(new byte[1 << 20]));
        producer.Start();
        pump.Abandon();
        producer.Join();
        reader.DisposeLocalCopyOfClientHandle();
        reader.Dispose();
        pump.Dispose();
    }

    [Fact]
    public void InputArrivesAndItsEndIsTold()
    {
        using AnonymousPipeServerStream writer = new(PipeDirection.Out);
        MemoryStream received = new();
        using ManualResetEventSlim ended = new();
        using InputPump pump = new(Descriptor(writer.ClientSafePipeHandle), bytes =>
        {
            received.Write(bytes);
            if (bytes.IsEmpty)
            {
                ended.Set();
            }
        });
        byte[] sent = new byte[50_000];
        new Random(1).NextBytes(sent);
        writer.Write(sent);
        writer.Dispose();
        ended.Wait();
        Assert.Equal(sent, received.ToArray());
    }

    [Fact]
    public void InputStopsWhileNobodyTypes()
    {
        using AnonymousPipeServerStream writer = new(PipeDirection.Out);
        new InputPump(Descriptor(writer.ClientSafePipeHandle), _ => { }).Dispose();
    }

    [Fact]
    public void ClosedInputEnds()
    {
        using ManualResetEventSlim ended = new();
        using InputPump pump = new(9999, _ => ended.Set());
        ended.Wait();
    }

    [Fact]
    public void WakeIsNeverLost()
    {
        ThreadSleeper sleeper = new();
        sleeper.Wake();
        sleeper.Sleep(ThreadSleeper.Forever);

        int rounds = 0;
        int posted = 0;
        Thread waker = new(() =>
        {
            for (int i = 0; i < 20_000; i++)
            {
                Volatile.Write(ref posted, i + 1);
                sleeper.Wake();
            }
        });
        waker.Start();
        while (Volatile.Read(ref posted) < 20_000)
        {
            sleeper.Sleep(ThreadSleeper.Forever);
            rounds++;
        }

        waker.Join();
        Assert.InRange(rounds, 0, 20_001);
    }

    private static int Descriptor(SafeHandle handle) => (int)handle.DangerousGetHandle();
}
