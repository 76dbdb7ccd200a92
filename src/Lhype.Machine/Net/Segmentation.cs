// Finishes in software what a sender left undone and a receiver will not do: checksums, and the cutting of
// large TCP packets. Used by VirtioNet for guests that did not agree to unfinished frames, once per frame,
// segment by segment as the guest has room. The frame may come from a hostile stranger, so every offset in
// it is checked here.

using System;
using System.Buffers.Binary;

namespace Lhype.Machine.Net;

/// <summary>Turns one frame at a time into finished frames.</summary>
public sealed class Segmentation
{
    private const int EthernetHeader = 14, VlanTag = 4;
    private const int Ipv4Header = 20, Ipv6Header = 40, TcpHeader = 20;
    private const int TcpChecksum = 16, TcpFlags = 13, TcpSequence = 4;
    private const byte ProtocolTcp = 6;
    private const byte Fin = 1, Push = 8, CongestionReduced = 0x80;

    /// <summary>The least payload per segment: what the smallest packet every host must take leaves
    /// (Linux TCP_MIN_SND_MSS), so that one frame never becomes tens of thousands.</summary>
    private const int MinSegmentBytes = 48;

    private readonly byte[] _frame = new byte[INetworkBackend.MaxFrame];
    private readonly byte[] _segment = new byte[INetworkBackend.MaxPlainFrame];
    private int _length;
    private int _next;              // payload bytes that were put into segments
    private int _built;             // bytes in _segment, or 0
    private int _segmentBytes;      // payload per segment; 0: the frame is the only segment
    private int _network;           // where the IP header starts
    private int _transport;         // where the TCP header starts
    private int _payload;           // where its payload starts
    private int _count;             // segments built before this one

    /// <summary>Takes a frame to finish. False, with nothing taken: it is malformed.</summary>
    public bool Start(in FrameHeader header, ReadOnlySpan<byte> frame)
    {
        Drop();
        if (frame.Length > _frame.Length || header.Required(frame.Length) is null)
        {
            return false;
        }

        frame.CopyTo(_frame);
        _length = frame.Length;
        _next = 0;
        _count = 0;
        _segmentBytes = header.GsoType == FrameHeader.GsoNone ? 0 : header.SegmentBytes;
        bool good = _segmentBytes == 0
            ? _length <= INetworkBackend.MaxPlainFrame && FinishPlain(header)
            : FindHeaders(header);
        if (!good)
        {
            Drop();
        }

        return good;
    }

    /// <summary>The next finished frame, the same one until <see cref="Done"/>; false at the end.</summary>
    public bool Next(out ReadOnlySpan<byte> segment)
    {
        if (_length == 0)
        {
            segment = default;
            return false;
        }

        if (_segmentBytes == 0)
        {
            segment = _frame.AsSpan(0, _length);
            return true;
        }

        if (_built == 0)
        {
            Build();
        }

        segment = _segment.AsSpan(0, _built);
        return true;
    }

    /// <summary>Moves past the frame that <see cref="Next"/> gave.</summary>
    public void Done()
    {
        _next += _built - _payload;
        _built = 0;
        _count++;
        if (_segmentBytes == 0 || _payload + _next >= _length)
        {
            Drop();
        }
    }

    /// <summary>Forgets the frame.</summary>
    public void Drop()
    {
        _length = 0;
        _built = 0;
    }

    private bool FinishPlain(in FrameHeader header)
    {
        if ((header.Flags & FrameHeader.NeedsChecksum) != 0)
        {
            ReadOnlySpan<byte> summed = _frame.AsSpan(header.ChecksumStart, _length - header.ChecksumStart);
            Store(_frame, header.ChecksumStart + header.ChecksumOffset,
                InternetChecksum.FoldToNonZero(InternetChecksum.Sum(summed)));
        }

        return true;
    }

    /// <summary>Finds where the headers lie, and that they are what the frame claims.</summary>
    private bool FindHeaders(in FrameHeader header)
    {
        const ushort Vlan = 0x8100, ServiceVlan = 0x88A8;
        ReadOnlySpan<byte> frame = _frame.AsSpan(0, _length);
        _network = EthernetHeader;
        for (int tags = 0; tags < 2 && _network + VlanTag <= _length
            && BinaryPrimitives.ReadUInt16BigEndian(frame[(_network - 2)..]) is Vlan or ServiceVlan; tags++)
        {
            _network += VlanTag;
        }

        _transport = header.ChecksumStart;
        if (_transport + TcpHeader > _length || header.ChecksumOffset != TcpChecksum
            || _segmentBytes < MinSegmentBytes)
        {
            return false;
        }

        bool ipv4 = (header.GsoType & ~FrameHeader.GsoEcn) == FrameHeader.GsoTcp4;
        if (_transport < _network + (ipv4 ? Ipv4Header : Ipv6Header))
        {
            return false;
        }

        // IPv6 may have extension headers before TCP; they are repeated as they are.
        byte version = frame[_network];
        bool good = ipv4
            ? version >> 4 == 4 && _network + (4 * (version & 15)) == _transport
                && frame[_network + 9] == ProtocolTcp
            : version >> 4 == 6;
        int tcpBytes = 4 * (frame[_transport + 12] >> 4);
        _payload = _transport + tcpBytes;
        return good && tcpBytes >= TcpHeader && _payload < _length
            && _payload + _segmentBytes <= INetworkBackend.MaxPlainFrame;
    }

    private void Build()
    {
        int bytes = Math.Min(_segmentBytes, _length - _payload - _next);
        bool last = _payload + _next + bytes == _length;
        _built = _payload + bytes;
        Span<byte> segment = _segment.AsSpan(0, _built);
        _frame.AsSpan(0, _payload).CopyTo(segment);
        _frame.AsSpan(_payload + _next, bytes).CopyTo(segment[_payload..]);

        Span<byte> tcp = segment[_transport..];
        uint sequence = BinaryPrimitives.ReadUInt32BigEndian(tcp[TcpSequence..]);
        BinaryPrimitives.WriteUInt32BigEndian(tcp[TcpSequence..], sequence + (uint)_next);
        tcp[TcpFlags] &= (byte)~((last ? 0 : Fin | Push) | (_count == 0 ? 0 : CongestionReduced));
        Store(segment, _transport + TcpChecksum, 0);
        Store(segment, _transport + TcpChecksum,
            InternetChecksum.Fold(InternetChecksum.Sum(tcp, FinishNetwork(segment))));
    }

    /// <summary>Adapts the IP header to the segment. Returns the sum of TCP's pseudo header.</summary>
    private ulong FinishNetwork(Span<byte> segment)
    {
        Span<byte> ip = segment[_network..];
        int tcpBytes = segment.Length - _transport;
        if (ip[0] >> 4 == 6)
        {
            ulong pseudo = BinaryPrimitives.ReverseEndianness((ushort)tcpBytes) + ((ulong)ProtocolTcp << 8);
            BinaryPrimitives.WriteUInt16BigEndian(ip[4..], (ushort)(ip.Length - Ipv6Header));
            return InternetChecksum.Sum(ip[8..Ipv6Header], pseudo);
        }

        ushort identification = BinaryPrimitives.ReadUInt16BigEndian(ip[4..]);
        BinaryPrimitives.WriteUInt16BigEndian(ip[4..], (ushort)(identification + _count));
        InternetChecksum.FinishIpv4(ip[..(_transport - _network)], ip.Length);
        return InternetChecksum.PseudoSum(ip, tcpBytes);
    }

    private static void Store(Span<byte> bytes, int at, ushort value) =>
        BinaryPrimitives.WriteUInt16LittleEndian(bytes[at..], value);
}
