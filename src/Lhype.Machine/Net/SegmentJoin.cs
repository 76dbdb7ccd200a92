// Joins consecutive TCP segments on their way to the guest into one large frame, the inverse of Segmentation:
// a guest that takes large frames then does the work of a packet once per up to 64 KiB. Used by UserNetwork,
// whose library sends segments of 1460 bytes, with checksums that are right.

using System;
using System.Buffers.Binary;

namespace Lhype.Machine.Net;

/// <summary>One frame in the making.</summary>
public sealed class SegmentJoin
{
    private const int Network = 14, Transport = 34, Payload = 54;
    private const int MaxPacket = 65535;
    private const int LengthOffset = Network + 2, AddressOffset = Network + 12;
    private const int SequenceOffset = Transport + 4, AcknowledgeOffset = Transport + 8,
        FlagsOffset = Transport + 13, WindowOffset = Transport + 14, TcpChecksum = 16;
    private const ushort Ipv4 = 0x0800;
    private const byte Version4NoOptions = 0x45, Tcp = 6, Push = 8, Acknowledge = 0x10;

    private readonly byte[] _frame = new byte[INetworkBackend.MaxFrame];
    private int _length;
    private int _segmentBytes;
    private bool _joined;
    private bool _closed;

    /// <summary>True if there is nothing to take.</summary>
    public bool IsEmpty => _length == 0;

    /// <summary>Adds a finished frame. False: it does not go together with what is here; take that
    /// first.</summary>
    public bool TryAdd(ReadOnlySpan<byte> frame)
    {
        bool mayJoin = MayJoin(frame, out int payload);
        if (_length == 0)
        {
            frame.CopyTo(_frame);
            _length = frame.Length;
            _segmentBytes = payload;
            _joined = false;
            _closed = !mayJoin || IsPush(frame);
            return true;
        }

        if (_closed || !mayJoin || payload > _segmentBytes || !Continues(frame)
            || _length + payload - Network > MaxPacket)
        {
            return false;
        }

        frame.Slice(Payload, payload).CopyTo(_frame.AsSpan(_length));
        _length += payload;
        _joined = true;

        // Only the last segment may be shorter, or tell the receiver not to wait for more.
        _closed = payload < _segmentBytes || IsPush(frame);
        _frame[FlagsOffset] |= frame[FlagsOffset];
        return true;
    }

    /// <summary>The frame, and what a receiver needs to know to see it as what was joined.</summary>
    public ReadOnlySpan<byte> Peek(out FrameHeader header)
    {
        Span<byte> frame = _frame.AsSpan(0, _length);
        header = new FrameHeader { Flags = FrameHeader.DataValid };
        if (_joined)
        {
            Finish(frame);
            header = new FrameHeader(FrameHeader.NeedsChecksum, FrameHeader.GsoTcp4, Payload,
                (ushort)_segmentBytes, Transport, TcpChecksum);
        }

        return frame;
    }

    /// <summary>Forgets the frame.</summary>
    public void Clear() => _length = 0;

    private static bool IsPush(ReadOnlySpan<byte> frame) => (frame[FlagsOffset] & Push) != 0;

    // A segment with payload and nothing special: no options, no SYN, FIN, RST or URG.
    private static bool MayJoin(ReadOnlySpan<byte> frame, out int payload)
    {
        payload = 0;
        if (frame.Length <= Payload || BinaryPrimitives.ReadUInt16BigEndian(frame[12..]) != Ipv4
            || frame[Network] != Version4NoOptions || frame[Network + 9] != Tcp
            || frame[Transport + 12] != 5 << 4 || (frame[FlagsOffset] & ~Push) != Acknowledge)
        {
            return false;
        }

        payload = BinaryPrimitives.ReadUInt16BigEndian(frame[LengthOffset..]) - (Payload - Network);
        return payload > 0 && Payload + payload == frame.Length;
    }

    private bool Continues(ReadOnlySpan<byte> frame)
    {
        ReadOnlySpan<byte> first = _frame.AsSpan(0, _length);
        uint next = BinaryPrimitives.ReadUInt32BigEndian(first[SequenceOffset..]) + (uint)(_length - Payload);
        return next == BinaryPrimitives.ReadUInt32BigEndian(frame[SequenceOffset..])
            && first[AddressOffset..SequenceOffset].SequenceEqual(frame[AddressOffset..SequenceOffset])
            && Same(first, frame, AcknowledgeOffset, 4) && Same(first, frame, WindowOffset, 2)
            && Same(first, frame, 0, Network) && first[Network + 1] == frame[Network + 1];
    }

    private static bool Same(ReadOnlySpan<byte> first, ReadOnlySpan<byte> second, int offset, int count) =>
        first.Slice(offset, count).SequenceEqual(second.Slice(offset, count));

    // The IP header of the whole, and of TCP's checksum the pseudo header only.
    private static void Finish(Span<byte> frame)
    {
        Span<byte> network = frame[Network..Transport];
        InternetChecksum.FinishIpv4(network, frame.Length - Network);
        ulong pseudo = InternetChecksum.PseudoSum(network, frame.Length - Transport);
        BinaryPrimitives.WriteUInt16LittleEndian(frame[(Transport + TcpChecksum)..],
            (ushort)~InternetChecksum.Fold(pseudo));
    }
}
