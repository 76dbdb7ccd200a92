// A frame ring keeps frames whole and in order across its end and across threads, and refuses what it has no
// room for.

using System;
using System.Threading;
using Lhype.Host;
using Xunit;

namespace Lhype.Tests.Host;

public sealed class FrameRingTests
{
    [Fact]
    public void FramesOfAllLengthsArriveInOrderFromAnotherThread()
    {
        const int Count = 200_000;
        FrameRing ring = new(1024);
        Thread writer = new(() =>
        {
            Random random = new(1);
            byte[] frame = new byte[ring.MaxFrame];
            for (int i = 0; i < Count; i++)
            {
                Span<byte> piece = frame.AsSpan(0, 1 + random.Next(ring.MaxFrame));
                piece.Fill((byte)i);
                while (!ring.TryWrite(piece))
                {
                    Thread.Yield();
                }
            }
        });
        writer.Start();
        Random expected = new(1);
        for (int i = 0; i < Count; i++)
        {
            ReadOnlySpan<byte> frame;
            while (!ring.TryPeek(out frame))
            {
                Thread.Yield();
            }

            Assert.Equal(1 + expected.Next(ring.MaxFrame), frame.Length);
            Assert.Equal(-1, frame.IndexOfAnyExcept((byte)i));
            ring.Consume();
        }

        writer.Join();
        Assert.True(ring.IsEmpty);
    }

    [Fact]
    public void WhatDoesNotFitIsRefusedAndChangesNothing()
    {
        FrameRing ring = new(64);
        Assert.False(ring.TryWrite([]));
        Assert.False(ring.TryWrite(new byte[ring.MaxFrame + 1]));
        Assert.True(ring.TryWrite(new byte[12]));
        Assert.True(ring.TryWrite(new byte[12]));
        Assert.True(ring.TryWrite(new byte[12]));
        Assert.True(ring.TryWrite([7, 8, 9]));
        Assert.False(ring.TryWrite(new byte[8]));

        Assert.True(ring.TryPeek(out ReadOnlySpan<byte> first));
        Assert.Equal(12, first.Length);
        ring.Consume();
        Assert.True(ring.TryWrite(new byte[4]));
        ring.Consume();
        ring.Consume();
        Assert.True(ring.TryPeek(out ReadOnlySpan<byte> small));
        Assert.Equal([7, 8, 9], small.ToArray());
        ring.Consume();
        Assert.True(ring.TryPeek(out ReadOnlySpan<byte> last));
        Assert.Equal(4, last.Length);
        ring.Consume();
        Assert.False(ring.TryPeek(out _));
    }
}
