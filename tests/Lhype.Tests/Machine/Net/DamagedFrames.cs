// Frames a broken or hostile guest may send, from a seed: good ones with some bytes changed, mostly with
// checksums that are right all the same, so that they get as far as they can. Addresses and ports stay, so
// that nothing but the test's own sockets hears of them.

using System;
using System.Collections.Generic;

namespace Lhype.Tests.Machine.Net;

internal sealed class DamagedFrames(int seed, int udpPort, int tcpPort)
{
    private readonly Random _random = new(seed);
    private Queue<byte[]> _fragments = new();

    public byte[] Next()
    {
        byte[] frame = Good();
        bool isIp = frame[13] == 0;
        bool isFragment = isIp && (frame[20] & 0x3F | frame[21]) != 0;
        for (int change = isFragment ? 0 : _random.Next(4); change > 0; change--)
        {
            // Not the IP addresses and the ports behind a header of the usual length.
            int at = 12 + _random.Next(frame.Length - 12);
            if (!isIp || at is < 26 or >= 38)
            {
                frame[at] = (byte)_random.Next(256);
            }
        }

        // Options would move the ports.
        if (isIp)
        {
            frame[14] = (byte)((frame[14] & 0xF0) | Math.Min(frame[14] & 15, 5));
            if (!isFragment && _random.Next(10) != 0)
            {
                HandMadeFrames.FixChecksums(frame);
            }
        }

        return _random.Next(10) == 0 ? frame[.._random.Next(14, frame.Length)] : frame;
    }

    // The next fragment of a datagram or ping, mostly in order, so that some become whole.
    private byte[] Fragment()
    {
        if (_fragments.Count == 0)
        {
            byte[] payload = new byte[_random.Next(65_507)];
            byte[] whole = _random.Next(2) == 0
                ? HandMadeFrames.Udp(5000, udpPort, payload, HandMadeGuest.Gateway)
                : HandMadeFrames.Ping(payload);
            _fragments = new Queue<byte[]>(HandMadeFrames.Fragments(whole, _random.Next(4)));
        }

        byte[] fragment = _fragments.Dequeue();
        if (_random.Next(50) == 0)
        {
            fragment[20] = (byte)_random.Next(64);
            fragment[21] = (byte)_random.Next(256);
            _fragments.Clear();
        }

        return fragment;
    }

    private byte[] Good()
    {
        byte[] payload = new byte[_random.Next(1400)];
        _random.NextBytes(payload);
        int from = 5000 + _random.Next(10);
        switch (_random.Next(6))
        {
            case 0:
                return HandMadeFrames.Arp(1, HandMadeGuest.Address, new byte[6], HandMadeGuest.Gateway);
            case 1:
                byte[] dhcp = new byte[300];
                byte[] start = [1, 1, 6, 0];
                byte[] options = [99, 130, 83, 99, 53, 1, (byte)_random.Next(9), 50, 4, 10, 0, 2, 15, 255];
                start.CopyTo(dhcp, 0);
                HandMadeFrames.Mac.CopyTo(dhcp, 28);
                options.CopyTo(dhcp, 236);
                return HandMadeFrames.Udp(68, 67, dhcp, HandMadeGuest.Broadcast);
            case 2:
                return HandMadeFrames.Udp(from, udpPort, payload, HandMadeGuest.Gateway);
            case 3:
                return HandMadeFrames.Ping(payload);
            case 4:
                return Fragment();
            default:
                return HandMadeFrames.Tcp(from, tcpPort, (uint)_random.Next(3000), (uint)_random.Next(),
                    (byte)_random.Next(64), payload);
        }
    }
}
