// The checksum of IP, TCP and UDP (RFC 1071). Used by whatever finishes or changes frames: Segmentation,
// SegmentJoin, FragmentJoin and UserFrameCheck. Fields are as they lie in memory, little-endian.

using System;
using System.Buffers.Binary;

namespace Lhype.Machine.Net;

/// <summary>Computes Internet checksums.</summary>
public static class InternetChecksum
{
    private const int Ipv4LengthOffset = 2, Ipv4ProtocolOffset = 9, Ipv4ChecksumOffset = 10,
        Ipv4AddressOffset = 12, Ipv4Header = 20;

    /// <summary>The Internet checksum of <paramref name="bytes"/> before the final complement, added to
    /// <paramref name="sum"/> (RFC 1071).</summary>
    public static ulong Sum(ReadOnlySpan<byte> bytes, ulong sum = 0)
    {
        // Ones' complement addition does not care for width: eight bytes at a time, carries added back.
        while (bytes.Length >= 8)
        {
            ulong word = BinaryPrimitives.ReadUInt64LittleEndian(bytes);
            sum += word;
            sum += sum < word ? 1UL : 0;
            bytes = bytes[8..];
        }

        ulong rest = 0;
        for (int i = 0; i < bytes.Length; i++)
        {
            rest |= (ulong)bytes[i] << (8 * i);
        }

        sum += rest;
        return sum + (sum < rest ? 1UL : 0);
    }

    /// <summary>Folds a sum of <see cref="Sum"/> to 16 bits and complements it: the two bytes of a checksum
    /// field as they lie in memory, little-endian.</summary>
    public static ushort Fold(ulong sum)
    {
        sum = (sum & uint.MaxValue) + (sum >> 32);
        sum = (sum & 0xFFFF) + ((sum >> 16) & 0xFFFF) + (sum >> 32);
        sum = (sum & 0xFFFF) + (sum >> 16);
        sum = (sum & 0xFFFF) + (sum >> 16);
        return (ushort)~sum;
    }

    /// <summary><see cref="Fold"/> for a field where 0 means "none", as in UDP; its other form is as good for
    /// everybody.</summary>
    public static ushort FoldToNonZero(ulong sum) => Fold(sum) is not 0 and ushort checksum
        ? checksum : (ushort)0xFFFF;

    /// <summary>The sum of the pseudo header of a segment or datagram of <paramref name="bytes"/> behind an
    /// IPv4 header (RFC 9293, 3.1).</summary>
    public static ulong PseudoSum(ReadOnlySpan<byte> ipv4, int bytes) =>
        Sum(ipv4[Ipv4AddressOffset..Ipv4Header],
            BinaryPrimitives.ReverseEndianness((ushort)bytes) + ((ulong)ipv4[Ipv4ProtocolOffset] << 8));

    /// <summary>Gives an IPv4 header, options included, the length of its packet and its
    /// checksum.</summary>
    public static void FinishIpv4(Span<byte> header, int packetBytes)
    {
        BinaryPrimitives.WriteUInt16BigEndian(header[Ipv4LengthOffset..], (ushort)packetBytes);
        BinaryPrimitives.WriteUInt16LittleEndian(header[Ipv4ChecksumOffset..], 0);
        BinaryPrimitives.WriteUInt16LittleEndian(header[Ipv4ChecksumOffset..], Fold(Sum(header)));
    }
}
