// What of a guest's frames libslirp gets to see. The library is written in C, runs in this process and takes
// a lot on trust (headers that are cut short, fragments that overlap), so a hostile guest must not reach that
// code: only what is whole and plain passes. Used by UserNetwork for every frame the guest sends.

using System;
using System.Buffers.Binary;

namespace Lhype.Machine.Net;

/// <summary>Checks frames on their way from the guest to the user network.</summary>
public static class UserFrameCheck
{
    /// <summary>Bytes of the Ethernet header, and of the IPv4 header, which comes without options.</summary>
    public const int EthernetHeader = 14, Ipv4Header = 20;

    private const ushort Ipv4 = 0x0800, Arp = 0x0806;
    private const byte Icmp = 1, Tcp = 6, Udp = 17;
    private const int TcpHeader = 20, UdpHeader = 8, IcmpHeader = 8;

    /// <summary>True for an ARP packet, and for an IPv4 packet in one piece, without options, as long as it
    /// says, that holds a TCP segment, a UDP datagram (but for TFTP, which this network does not offer) or
    /// an ICMP echo request.</summary>
    public static bool Passes(ReadOnlySpan<byte> frame)
    {
        if (frame.Length < EthernetHeader)
        {
            return false;
        }

        ReadOnlySpan<byte> packet = frame[EthernetHeader..];
        return BinaryPrimitives.ReadUInt16BigEndian(frame[12..]) switch
        {
            Arp => packet.Length >= 28 && packet.StartsWith("\0\x01\x08\0\x06\x04"u8),
            Ipv4 => PassesIpv4(packet),
            _ => false,
        };
    }

    /// <summary>Computes the checksum of the TCP segment or UDP datagram in a frame that
    /// <see cref="Passes"/>.</summary>
    public static void Complete(Span<byte> frame)
    {
        const int TcpChecksum = 16, UdpChecksum = 6;
        Span<byte> packet = frame[EthernetHeader..];
        byte protocol = packet[9];
        if (BinaryPrimitives.ReadUInt16BigEndian(frame[12..]) != Ipv4 || protocol is not (Tcp or Udp))
        {
            return;
        }

        Span<byte> body = packet[Ipv4Header..BinaryPrimitives.ReadUInt16BigEndian(packet[2..])];
        Span<byte> checksum = body[(protocol == Tcp ? TcpChecksum : UdpChecksum)..];
        BinaryPrimitives.WriteUInt16LittleEndian(checksum, 0);
        ulong sum = InternetChecksum.Sum(body, InternetChecksum.PseudoSum(packet, body.Length));
        BinaryPrimitives.WriteUInt16LittleEndian(checksum, InternetChecksum.FoldToNonZero(sum));
    }

    private static bool PassesIpv4(ReadOnlySpan<byte> packet)
    {
        const byte VersionAndLength = 0x45;
        const ushort MoreFragmentsOrOffset = 0x3FFF;
        if (packet.Length < Ipv4Header || packet[0] != VersionAndLength
            || (BinaryPrimitives.ReadUInt16BigEndian(packet[6..]) & MoreFragmentsOrOffset) != 0)
        {
            return false;
        }

        int length = BinaryPrimitives.ReadUInt16BigEndian(packet[2..]);
        if (length < Ipv4Header || length > packet.Length)
        {
            return false;
        }

        ReadOnlySpan<byte> body = packet[Ipv4Header..length];
        return packet[9] switch
        {
            Tcp => body.Length >= TcpHeader && (body[12] >> 4) * 4 is >= TcpHeader and int header
                && header <= body.Length,
            Udp => body.Length >= UdpHeader && PassesUdp(body),
            Icmp => body.Length >= IcmpHeader && body[0] == 8,
            _ => false,
        };
    }

    private static bool PassesUdp(ReadOnlySpan<byte> datagram)
    {
        const ushort Tftp = 69;
        return BinaryPrimitives.ReadUInt16BigEndian(datagram[4..]) == datagram.Length
            && BinaryPrimitives.ReadUInt16BigEndian(datagram[2..]) != Tftp;
    }
}
