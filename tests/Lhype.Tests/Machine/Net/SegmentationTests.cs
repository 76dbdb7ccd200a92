// Checksums and segmentation against values from elsewhere (RFC 1071, a real IP header) and against a second,
// slower way of adding that knows nothing of the code under test.

using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using CsCheck;
using Lhype.Machine.Net;
using Xunit;

namespace Lhype.Tests.Machine.Net;

public sealed class SegmentationTests
{
    [Fact]
    public void SumsLikeTheExampleOfRfc1071()
    {
        byte[] bytes = [0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7];
        ushort checksum = InternetChecksum.Fold(InternetChecksum.Sum(bytes));
        Assert.Equal(0x220D, BinaryPrimitives.ReverseEndianness(checksum));
    }

    [Fact]
    public void KnowsTheChecksumOfARealIpHeader()
    {
        byte[] header = Convert.FromHexString("450000730000400040110000C0A80001C0A800C7");
        ushort checksum = InternetChecksum.Fold(InternetChecksum.Sum(header));
        Assert.Equal(0xB861, BinaryPrimitives.ReverseEndianness(checksum));
    }

    [Fact]
    public void SumsAnyBytesAsTheSlowWayDoes() => Gen.Byte.Array[0, 300].Sample(bytes =>
        Assert.Equal(SlowChecksum(bytes, 0), BinaryPrimitives.ReverseEndianness(
            InternetChecksum.Fold(InternetChecksum.Sum(bytes)))));

    [Fact]
    public void AllOnesDoNotOverflow()
    {
        byte[] bytes = new byte[65536];
        Array.Fill(bytes, (byte)0xFF);
        Assert.Equal(0, InternetChecksum.Fold(InternetChecksum.Sum(bytes)));
    }

    [Theory]
    [InlineData(false, 0, 1448, 4000)]
    [InlineData(false, 1, 1448, 65000)]
    [InlineData(false, 0, 100, 100)]
    [InlineData(false, 2, 536, 1073)]
    [InlineData(true, 0, 1428, 30000)]
    [InlineData(true, 1, 48, 2001)]
    public void CutsTcpAsTheWireWantsIt(bool ipv6, int tags, int segmentBytes, int payloadBytes)
    {
        TcpFrame frame = new(ipv6, tags, payloadBytes, sequence: 0xFFFF_F000, flags: 0x99);
        Segmentation segmentation = new();
        Assert.True(segmentation.Start(frame.Header((ushort)segmentBytes), frame.Bytes));
        List<byte[]> segments = Collect(segmentation);
        Assert.Equal((payloadBytes + segmentBytes - 1) / segmentBytes, segments.Count);

        List<byte> payload = [];
        for (int i = 0; i < segments.Count; i++)
        {
            byte[] segment = segments[i];
            bool last = i == segments.Count - 1;
            Assert.Equal(frame.Bytes[..frame.Network], segment[..frame.Network]);
            frame.AssertNetworkHeader(segment, i);
            ReadOnlySpan<byte> tcp = segment.AsSpan(frame.Transport);
            Assert.Equal(0xFFFF_F000 + (uint)payload.Count, BinaryPrimitives.ReadUInt32BigEndian(tcp[4..]));

            // CWR only in the first, FIN and PSH only in the last, ACK in all.
            int flags = 0x10 | (i == 0 ? 0x80 : 0) | (last ? 0x09 : 0);
            Assert.Equal(flags, tcp[13]);
            Assert.Equal(0, SlowChecksum(tcp, frame.PseudoSum(tcp.Length)));
            payload.AddRange(tcp[32..]);
        }

        Assert.Equal(frame.Payload, payload);
    }

    [Theory]
    [InlineData(17, 6)]
    [InlineData(6, 16)]
    public void AddsAMissingChecksum(byte protocol, ushort offset)
    {
        byte[] frame = new byte[14 + 20 + 45];
        new Random(7).NextBytes(frame);
        uint pseudo = protocol + 45u;
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(34 + offset), (ushort)pseudo);
        FrameHeader header = new(FrameHeader.NeedsChecksum, 0, 0, 0, 34, offset);
        Segmentation segmentation = new();
        Assert.True(segmentation.Start(header, frame));
        byte[] finished = Assert.Single(Collect(segmentation));
        Assert.Equal(0, SlowChecksum(finished.AsSpan(34), pseudo));
        Assert.NotEqual(0, finished[34 + offset] | finished[34 + offset + 1]);
    }

    [Fact]
    public void AFinishedUdpChecksumIsNeverZero()
    {
        // Everything sums to FFFF, whose complement is 0: "no checksum" in UDP.
        byte[] frame = new byte[14 + 20 + 10];
        frame[34] = 0xFF;
        frame[35] = 0xFF;
        Segmentation segmentation = new();
        Assert.True(segmentation.Start(new FrameHeader(1, 0, 0, 0, 34, 6), frame));
        Assert.Equal([0xFF, 0xFF], Assert.Single(Collect(segmentation))[40..42]);
    }

    [Fact]
    public void RefusesWhatDoesNotAddUp()
    {
        TcpFrame frame = new(false, 0, 5000, 1, 0x18);
        FrameHeader good = frame.Header(1000);
        Segmentation segmentation = new();
        Assert.True(segmentation.Start(good, frame.Bytes));
        Assert.False(segmentation.Start(good with { SegmentBytes = 0 }, frame.Bytes));
        Assert.False(segmentation.Start(good with { SegmentBytes = 47 }, frame.Bytes));
        Assert.False(segmentation.Start(good with { SegmentBytes = 1500 }, frame.Bytes));
        Assert.False(segmentation.Start(good with { ChecksumStart = 35 }, frame.Bytes));
        Assert.False(segmentation.Start(good with { ChecksumStart = 60000 }, frame.Bytes));
        Assert.False(segmentation.Start(good with { ChecksumOffset = 6 }, frame.Bytes));
        Assert.False(segmentation.Start(good with { GsoType = FrameHeader.GsoTcp6 }, frame.Bytes));
        Assert.False(segmentation.Start(good with { GsoType = 3 }, frame.Bytes));
        Assert.False(segmentation.Start(good with { Flags = 0 }, frame.Bytes));
        Assert.False(segmentation.Start(good, frame.Bytes.AsSpan(0, 50)));
        Assert.False(segmentation.Start(default, new byte[INetworkBackend.MaxPlainFrame + 1]));
        Assert.False(segmentation.Next(out _));
    }

    [Fact]
    public void HostileFramesEndSoonAndStaySmall()
    {
        Gen.Int.Sample(seed =>
        {
            Random random = new(seed);
            TcpFrame frame = new(random.Next(2) == 0, random.Next(3), random.Next(1, 65000), 1, 0xFF);
            FrameHeader header = frame.Header((ushort)random.Next(1, 2000));
            for (int flips = random.Next(6); flips > 0; flips--)
            {
                frame.Bytes[random.Next(Math.Min(80, frame.Bytes.Length))] = (byte)random.Next(256);
            }

            header = random.Next(4) switch
            {
                0 => header with { ChecksumStart = (ushort)random.Next(65536) },
                1 => header with { ChecksumOffset = (ushort)random.Next(65536) },
                2 => header with { GsoType = (byte)random.Next(256), Flags = (byte)random.Next(256) },
                _ => header,
            };
            Segmentation segmentation = new();
            if (segmentation.Start(header, frame.Bytes))
            {
                List<byte[]> segments = Collect(segmentation);
                Assert.InRange(segments.Count, 1, 1400);
                Assert.All(segments, one => Assert.InRange(one.Length, 14, INetworkBackend.MaxPlainFrame));
            }
        }, iter: 2000, threads: 1);
    }

    private static List<byte[]> Collect(Segmentation segmentation)
    {
        List<byte[]> segments = [];
        while (segmentation.Next(out ReadOnlySpan<byte> segment))
        {
            segments.Add(segment.ToArray());
            segmentation.Done();
        }

        return segments;
    }

    /// <summary>The checksum as RFC 791 words it, in network order; 0 for bytes that hold a right
    /// one.</summary>
    internal static ushort SlowChecksum(ReadOnlySpan<byte> bytes, uint start)
    {
        uint sum = start;
        for (int i = 0; i < bytes.Length; i++)
        {
            sum += (uint)bytes[i] << (i % 2 == 0 ? 8 : 0);
            sum = (sum & 0xFFFF) + (sum >> 16);
        }

        sum = (sum & 0xFFFF) + (sum >> 16);
        return (ushort)~sum;
    }
}

/// <summary>An unsegmented TCP packet with 12 bytes of options.</summary>
internal sealed class TcpFrame
{
    private readonly bool _ipv6;

    public TcpFrame(bool ipv6, int tags, int payloadBytes, uint sequence, byte flags)
    {
        _ipv6 = ipv6;
        Network = 14 + (4 * tags);
        Transport = Network + (ipv6 ? 40 : 20);
        Bytes = new byte[Transport + 32 + payloadBytes];
        new Random(payloadBytes).NextBytes(Bytes);
        Span<byte> bytes = Bytes;
        for (int at = 12; at < Network - 2; at += 4)
        {
            BinaryPrimitives.WriteUInt16BigEndian(bytes[at..], 0x8100);
        }

        BinaryPrimitives.WriteUInt16BigEndian(bytes[(Network - 2)..], (ushort)(ipv6 ? 0x86DD : 0x0800));
        Span<byte> ip = bytes[Network..];
        ip[0] = (byte)(ipv6 ? 0x60 : 0x45);
        ip[ipv6 ? 6 : 9] = 6;
        Span<byte> tcp = bytes[Transport..];
        BinaryPrimitives.WriteUInt32BigEndian(tcp[4..], sequence);
        tcp[12] = 0x80;
        tcp[13] = flags;
    }

    public byte[] Bytes { get; }

    public int Network { get; }

    public int Transport { get; }

    public byte[] Payload => Bytes[(Transport + 32)..];

    public FrameHeader Header(ushort segmentBytes) => new(FrameHeader.NeedsChecksum,
        (byte)((_ipv6 ? FrameHeader.GsoTcp6 : FrameHeader.GsoTcp4) | FrameHeader.GsoEcn),
        (ushort)(Transport + 32), segmentBytes, (ushort)Transport, 16);

    /// <summary>The sum of the pseudo header, for TCP of so many bytes.</summary>
    public uint PseudoSum(int tcpBytes)
    {
        ReadOnlySpan<byte> addresses = Bytes.AsSpan(Network + (_ipv6 ? 8 : 12), _ipv6 ? 32 : 8);
        uint sum = 6u + (uint)tcpBytes;
        for (int i = 0; i < addresses.Length; i += 2)
        {
            sum += BinaryPrimitives.ReadUInt16BigEndian(addresses[i..]);
        }

        return sum;
    }

    /// <summary>Checks lengths, identification and checksum of the IP header of segment
    /// <paramref name="index"/>.</summary>
    public void AssertNetworkHeader(byte[] segment, int index)
    {
        ReadOnlySpan<byte> ip = segment.AsSpan(Network);
        ReadOnlySpan<byte> original = Bytes.AsSpan(Network);
        if (_ipv6)
        {
            Assert.Equal(ip.Length - 40, BinaryPrimitives.ReadUInt16BigEndian(ip[4..]));
            Assert.True(ip[6..40].SequenceEqual(original[6..40]));
            return;
        }

        Assert.Equal(ip.Length, BinaryPrimitives.ReadUInt16BigEndian(ip[2..]));
        Assert.Equal((ushort)(BinaryPrimitives.ReadUInt16BigEndian(original[4..]) + index),
            BinaryPrimitives.ReadUInt16BigEndian(ip[4..]));
        Assert.Equal(0, SegmentationTests.SlowChecksum(ip[..20], 0));
        Assert.True(ip[12..20].SequenceEqual(original[12..20]));
    }
}
