// Ethernet frames of the guest at 10.0.2.15, byte by byte, for the tests of the user network.

using System;
using System.Buffers.Binary;
using System.Collections.Generic;

namespace Lhype.Tests.Machine.Net;

internal static class HandMadeFrames
{
    public const int UdpProtocol = 17, TcpProtocol = 6, IcmpProtocol = 1;

    private static readonly byte[] GatewayMac = [0x52, 0x55, 10, 0, 2, 2];
    private static readonly byte[] EveryMac = [255, 255, 255, 255, 255, 255];

    /// <summary>The guest's address.</summary>
    public static byte[] Mac => [0x02, 0, 0, 1, 0, 0];

    public static byte[] Tcp(int from, int to, uint sequence, uint acknowledge, byte flags, byte[] payload)
    {
        byte[] segment = new byte[20 + payload.Length];
        Put(segment, 0, from);
        Put(segment, 2, to);
        BinaryPrimitives.WriteUInt32BigEndian(segment.AsSpan(4), sequence);
        BinaryPrimitives.WriteUInt32BigEndian(segment.AsSpan(8), acknowledge);
        segment[12] = 5 << 4;
        segment[13] = flags;
        Put(segment, 14, 0xFFFF);
        payload.CopyTo(segment, 20);
        return Ip(HandMadeGuest.Gateway, TcpProtocol, segment);
    }

    public static byte[] Udp(int from, int to, byte[] payload, uint destination)
    {
        byte[] datagram = new byte[8 + payload.Length];
        Put(datagram, 0, from);
        Put(datagram, 2, to);
        Put(datagram, 4, datagram.Length);
        payload.CopyTo(datagram, 8);
        return Ip(destination, UdpProtocol, datagram);
    }

    /// <summary>An echo request to the gateway.</summary>
    public static byte[] Ping(byte[] payload)
    {
        byte[] message = new byte[8 + payload.Length];
        message[0] = 8;
        payload.CopyTo(message, 8);
        return Ip(HandMadeGuest.Gateway, IcmpProtocol, message);
    }

    /// <summary>An IPv4 frame in pieces of 1480 bytes.</summary>
    public static List<byte[]> Fragments(byte[] frame, int identification)
    {
        const int Most = 1480;
        List<byte[]> fragments = [];
        for (int at = 34; at < frame.Length; at += Most)
        {
            int end = Math.Min(frame.Length, at + Most);
            byte[] fragment = [.. frame[..34], .. frame[at..end]];
            Put(fragment, 16, fragment.Length - 14);
            Put(fragment, 18, identification);
            Put(fragment, 20, ((at - 34) / 8) | (end == frame.Length ? 0 : 0x2000));
            Put(fragment, 24, 0);
            Put(fragment, 24, Sum(fragment.AsSpan(14, 20), 0));
            fragments.Add(fragment);
        }

        return fragments;
    }

    public static byte[] Arp(int operation, uint sender, byte[] targetMac, uint target)
    {
        byte[] frame = new byte[42];
        (operation == 1 ? EveryMac : targetMac).CopyTo(frame, 0);
        Mac.CopyTo(frame, 6);
        byte[] kind = [8, 6, 0, 1, 8, 0, 6, 4, 0, (byte)operation];
        kind.CopyTo(frame, 12);
        Mac.CopyTo(frame, 22);
        BinaryPrimitives.WriteUInt32BigEndian(frame.AsSpan(28), sender);
        targetMac.CopyTo(frame, 32);
        BinaryPrimitives.WriteUInt32BigEndian(frame.AsSpan(38), target);
        return frame;
    }

    /// <summary>Makes the checksums of an IPv4 frame good again, as far as its lengths allow.</summary>
    public static void FixChecksums(byte[] frame)
    {
        int header = Math.Min((frame[14] & 15) * 4, frame.Length - 14);
        Put(frame, 24, 0);
        Put(frame, 24, Sum(frame.AsSpan(14, header), 0));
        int checksum = 14 + header + frame[23] switch
        {
            TcpProtocol => 16,
            UdpProtocol => 6,
            _ => 2,
        };
        if (checksum + 2 > frame.Length)
        {
            return;
        }

        Span<byte> body = frame.AsSpan(14 + header);
        uint pseudo = 0;
        for (int i = 26; frame[23] != IcmpProtocol && i < 34; i += 2)
        {
            pseudo += BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(i));
        }

        pseudo += frame[23] == IcmpProtocol ? 0 : frame[23] + (uint)body.Length;
        Put(frame, checksum, 0);
        Put(frame, checksum, Sum(body, pseudo));
    }

    private static byte[] Ip(uint destination, int protocol, byte[] body)
    {
        bool broadcast = destination == HandMadeGuest.Broadcast;
        byte[] frame = new byte[34 + body.Length];
        (broadcast ? EveryMac : GatewayMac).CopyTo(frame, 0);
        Mac.CopyTo(frame, 6);
        Put(frame, 12, 0x0800);
        frame[14] = 0x45;
        Put(frame, 16, 20 + body.Length);
        frame[22] = 64;
        frame[23] = (byte)protocol;
        BinaryPrimitives.WriteUInt32BigEndian(frame.AsSpan(26), broadcast ? 0 : HandMadeGuest.Address);
        BinaryPrimitives.WriteUInt32BigEndian(frame.AsSpan(30), destination);
        body.CopyTo(frame, 34);
        FixChecksums(frame);
        return frame;
    }

    private static void Put(byte[] bytes, int offset, int value) =>
        BinaryPrimitives.WriteUInt16BigEndian(bytes.AsSpan(offset), (ushort)value);

    // The Internet checksum (RFC 1071).
    private static int Sum(ReadOnlySpan<byte> bytes, uint sum)
    {
        for (int i = 0; i < bytes.Length; i++)
        {
            sum += (uint)bytes[i] << ((i & 1) == 0 ? 8 : 0);
        }

        while (sum > 0xFFFF)
        {
            sum = (sum >> 16) + (sum & 0xFFFF);
        }

        return (int)(~sum & 0xFFFF);
    }
}
