// Joined segments come apart again, by Segmentation, into what they were; what does not belong together stays
// apart.

using System;
using System.Collections.Generic;
using Lhype.Machine.Net;
using Xunit;

namespace Lhype.Tests.Machine.Net;

public sealed class SegmentJoinTests
{
    private const int SegmentBytes = 1460;
    private const uint First = 0xFFFF_F000;     // the sequence number wraps on the way
    private const byte Ack = HandMadeGuest.Ack, Psh = HandMadeGuest.Psh;

    [Theory]
    [InlineData(2 * SegmentBytes)]
    [InlineData((2 * SegmentBytes) + 1)]
    [InlineData(20_001)]
    [InlineData(44 * SegmentBytes)]
    public void Joined_segments_come_apart_into_the_same_ones(int bytes)
    {
        SegmentJoin join = new();
        List<byte[]> segments = Cut(bytes);
        foreach (byte[] segment in segments)
        {
            Assert.True(join.TryAdd(segment));
        }

        ReadOnlySpan<byte> whole = join.Peek(out FrameHeader header);
        Assert.Equal(54 + bytes, whole.Length);
        Assert.Equal(NetworkOffloads.Checksum | NetworkOffloads.Tso4, header.Required(whole.Length));
        Segmentation apart = new();
        Assert.True(apart.Start(header, whole));
        for (int i = 0; i < segments.Count; i++)
        {
            Assert.True(apart.Next(out ReadOnlySpan<byte> segment));
            Assert.Equal(Convert.ToHexString(Comparable(segments[i], i)), Convert.ToHexString(segment));
            apart.Done();
        }

        Assert.False(apart.Next(out _));
        join.Clear();
        Assert.True(join.IsEmpty);
    }

    [Fact]
    public void A_frame_alone_stays_as_it_is()
    {
        SegmentJoin join = new();
        byte[] arp = HandMadeFrames.Arp(1, HandMadeGuest.Address, new byte[6], HandMadeGuest.Gateway);
        Assert.True(join.TryAdd(arp));
        Assert.Equal(arp, join.Peek(out FrameHeader header).ToArray());
        Assert.Equal(new FrameHeader { Flags = FrameHeader.DataValid }, header);
        Assert.False(join.TryAdd(arp));
    }

    [Fact]
    public void What_does_not_continue_the_frame_is_refused()
    {
        byte[] full = new byte[SegmentBytes];
        uint next = First + SegmentBytes;
        byte[][] strangers =
        [
            HandMadeFrames.Tcp(1, 2, next + 1, 7, Ack, full),
            HandMadeFrames.Tcp(1, 3, next, 7, Ack, full),
            HandMadeFrames.Tcp(1, 2, next, 8, Ack, full),
            HandMadeFrames.Tcp(1, 2, next, 7, Ack | HandMadeGuest.Fin, full),
            HandMadeFrames.Tcp(1, 2, next, 7, Ack, new byte[SegmentBytes + 1]),
            HandMadeFrames.Tcp(1, 2, next, 7, Ack, []),
            HandMadeFrames.Udp(1, 2, full, HandMadeGuest.Gateway),
            HandMadeFrames.Ping(full),
        ];
        foreach (byte[] stranger in strangers)
        {
            SegmentJoin join = new();
            byte[] first = HandMadeFrames.Tcp(1, 2, First, 7, Ack, full);
            Assert.True(join.TryAdd(first));
            Assert.False(join.TryAdd(stranger));
            Assert.Equal(first, join.Peek(out _).ToArray());
        }
    }

    [Theory]
    [InlineData(Ack, SegmentBytes - 1)]
    [InlineData(Ack | Psh, SegmentBytes)]
    public void A_short_segment_or_a_push_is_the_last(byte flags, int length)
    {
        SegmentJoin join = new();
        uint next = First + SegmentBytes;
        Assert.True(join.TryAdd(HandMadeFrames.Tcp(1, 2, First, 7, Ack, new byte[SegmentBytes])));
        Assert.True(join.TryAdd(HandMadeFrames.Tcp(1, 2, next, 7, flags, new byte[length])));
        Assert.False(join.TryAdd(HandMadeFrames.Tcp(1, 2, next + (uint)length, 7, Ack, new byte[100])));
    }

    [Fact]
    public void No_frame_grows_beyond_an_ip_packet()
    {
        SegmentJoin join = new();
        uint next = First;
        while (join.TryAdd(HandMadeFrames.Tcp(1, 2, next, 7, Ack, new byte[SegmentBytes])))
        {
            next += SegmentBytes;
        }

        Assert.InRange(join.Peek(out _).Length, 65_535 + 14 - SegmentBytes, 65_535 + 14);
    }

    private static List<byte[]> Cut(int bytes)
    {
        byte[] payload = new byte[bytes];
        new Random(bytes).NextBytes(payload);
        List<byte[]> segments = [];
        for (int at = 0; at < bytes; at += SegmentBytes)
        {
            int end = Math.Min(bytes, at + SegmentBytes);
            byte flags = end == bytes ? (byte)(Ack | Psh) : Ack;
            segments.Add(HandMadeFrames.Tcp(1, 2, First + (uint)at, 7, flags, payload[at..end]));
        }

        return segments;
    }

    // Segmentation counts the identification up; the library's segments have their own, which nobody reads.
    private static byte[] Comparable(byte[] segment, int index)
    {
        byte[] copy = [.. segment];
        copy[19] = (byte)index;
        HandMadeFrames.FixChecksums(copy);
        return copy;
    }
}
