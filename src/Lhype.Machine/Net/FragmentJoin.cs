// Puts IPv4 packets together that the guest sends in fragments (RFC 791, 3.2), so that libslirp, whose own
// code for that cannot stand a hostile guest, never sees one. Used by UserNetwork. A sender emits the
// fragments of a packet in order, one packet after the other: whatever else comes is dropped, and one buffer
// is enough.

using System;
using System.Buffers.Binary;

namespace Lhype.Machine.Net;

/// <summary>One packet in the making.</summary>
public sealed class FragmentJoin
{
    private const int Network = 14, Payload = 34;
    private const int MaxPacket = 65535;
    private const int LengthOffset = Network + 2, IdentificationOffset = Network + 4,
        FragmentOffset = Network + 6, ProtocolOffset = Network + 9,
        AddressOffset = Network + 12;
    private const ushort Ipv4 = 0x0800, MoreFragments = 0x2000, OffsetMask = 0x1FFF;

    private readonly byte[] _frame = new byte[Network + MaxPacket];
    private int _length;            // bytes of the frame so far; 0: none

    /// <summary>True for a frame that belongs to <see cref="Add"/>: a fragment of an IPv4 packet without
    /// options.</summary>
    public static bool IsFragment(ReadOnlySpan<byte> frame) =>
        frame.Length > Payload && BinaryPrimitives.ReadUInt16BigEndian(frame[12..]) == Ipv4
        && frame[Network] == 0x45
        && (BinaryPrimitives.ReadUInt16BigEndian(frame[FragmentOffset..])
            & (MoreFragments | OffsetMask)) != 0;

    /// <summary>Takes a fragment. Gives the whole frame if it was the last one, good until the next call;
    /// nothing otherwise.</summary>
    public ReadOnlySpan<byte> Add(ReadOnlySpan<byte> frame)
    {
        ushort word = BinaryPrimitives.ReadUInt16BigEndian(frame[FragmentOffset..]);
        bool more = (word & MoreFragments) != 0;
        int at = Payload + ((word & OffsetMask) * 8);
        int bytes = BinaryPrimitives.ReadUInt16BigEndian(frame[LengthOffset..]) - (Payload - Network);
        if (at == Payload)
        {
            frame[..Payload].CopyTo(_frame);
            _length = Payload;
        }

        bool continues = at == _length && bytes > 0 && Payload + bytes <= frame.Length
            && at + bytes <= _frame.Length && (!more || bytes % 8 == 0) && SamePacket(frame);
        if (!continues)
        {
            _length = 0;
            return default;
        }

        frame.Slice(Payload, bytes).CopyTo(_frame.AsSpan(at));
        _length += bytes;
        return more ? default : Finish();
    }

    private bool SamePacket(ReadOnlySpan<byte> frame) =>
        frame.Slice(IdentificationOffset, 2).SequenceEqual(_frame.AsSpan(IdentificationOffset, 2))
        && frame[ProtocolOffset] == _frame[ProtocolOffset]
        && frame[AddressOffset..Payload].SequenceEqual(_frame.AsSpan(AddressOffset, Payload - AddressOffset));

    private ReadOnlySpan<byte> Finish()
    {
        Span<byte> frame = _frame.AsSpan(0, _length);
        _length = 0;
        BinaryPrimitives.WriteUInt16BigEndian(frame[FragmentOffset..], 0);
        InternetChecksum.FinishIpv4(frame[Network..Payload], frame.Length - Network);
        return frame;
    }
}
