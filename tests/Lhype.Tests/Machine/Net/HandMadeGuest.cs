// A guest without a kernel for the tests of the user network: it sends Ethernet frames byte by byte and looks
// at the answers. It is the card of the back end, and the machine's inbox, whose work runs on the test's
// thread.

using System;
using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Collections.Generic;
using Lhype.Machine.Bus;
using Lhype.Machine.Net;

namespace Lhype.Tests.Machine.Net;

internal sealed class HandMadeGuest : INetworkCard, IInbox, IDisposable
{
    public const uint Address = 0x0A00_020F, Gateway = 0x0A00_0202, Broadcast = 0xFFFF_FFFF;
    public const byte Fin = 1, Syn = 2, Rst = 4, Psh = 8, Ack = 16;

    private const int PatienceMs = 10_000;

    private readonly BlockingCollection<Action> _inbox = [];
    private readonly Queue<(FrameHeader Header, byte[] Frame)> _received = new();

    public HandMadeGuest(string? forward = null, int? maxSockets = null)
    {
        Network = UserNetwork.Open(forward is null ? [] : [forward], this, maxSockets);
        Network.Connect(this);
    }

    public UserNetwork Network { get; }

    /// <summary>Buffers the card has for frames.</summary>
    public int Room { get; set; } = int.MaxValue;

    public int FramesWaiting => _received.Count;

    MacAddress INetworkCard.Mac => MacAddress.Read(HandMadeFrames.Mac);

    public void Post(Action work) => _inbox.Add(work);

    bool INetworkCard.Receive(in FrameHeader header, ReadOnlySpan<byte> frame)
    {
        if (Room == 0)
        {
            return false;
        }

        Room--;
        _received.Enqueue((header, frame.ToArray()));
        return true;
    }

    void INetworkCard.EndReceive()
    {
    }

    void INetworkCard.SetLink(bool up)
    {
    }

    public void Dispose() => Network.Dispose();

    /// <summary>The header of the frame that was expected last.</summary>
    public FrameHeader LastHeader { get; private set; }

    public void Send(byte[] frame, FrameHeader header = default)
    {
        Network.Send(header, frame);
        Network.EndSend();
    }

    /// <summary>Runs what was posted, for at most <paramref name="milliseconds"/>; false if nothing
    /// was.</summary>
    public bool Work(int milliseconds)
    {
        if (!_inbox.TryTake(out Action? work, milliseconds))
        {
            return false;
        }

        work();
        return true;
    }

    /// <summary>The next frame that satisfies <paramref name="wanted"/>; others are dropped. Questions for
    /// the guest's address are answered on the way.</summary>
    public byte[] Expect(Func<byte[], bool> wanted)
    {
        long deadline = Environment.TickCount64 + PatienceMs;
        while (Environment.TickCount64 < deadline)
        {
            while (_received.TryDequeue(out (FrameHeader Header, byte[] Frame) next))
            {
                AnswerArp(next.Frame);
                if (wanted(next.Frame))
                {
                    LastHeader = next.Header;
                    return next.Frame;
                }
            }

            Work(100);
        }

        throw new InvalidOperationException("The expected frame did not come.");
    }

    /// <summary>The next TCP segment to <paramref name="port"/> with <paramref name="flags"/>
    /// set.</summary>
    public Segment ExpectTcp(int port, byte flags) => new(Expect(frame =>
        IsIp(frame, HandMadeFrames.TcpProtocol) && Word(frame, 36) == port && (frame[47] & flags) == flags));

    /// <summary>The payload of the next UDP packet to <paramref name="port"/>, and the port it comes
    /// from.</summary>
    public (int From, byte[] Payload) ExpectUdp(int port)
    {
        byte[] frame = Expect(frame => IsIp(frame, HandMadeFrames.UdpProtocol) && Word(frame, 36) == port);
        return (Word(frame, 34), frame[42..(34 + Word(frame, 38))]);
    }

    public void SendTcp(
        int from, int to, uint sequence, uint acknowledge, byte flags, byte[]? payload = null) =>
        Send(HandMadeFrames.Tcp(from, to, sequence, acknowledge, flags, payload ?? []));

    public void SendUdp(int from, int to, byte[] payload, uint destination = Gateway) =>
        Send(HandMadeFrames.Udp(from, to, payload, destination));

    /// <summary>Asks who has <paramref name="address"/>.</summary>
    public void SendArp(uint address) =>
        Send(HandMadeFrames.Arp(operation: 1, Address, new byte[6], address));

    public static bool IsIp(byte[] frame, int protocol) =>
        frame.Length >= 34 && Word(frame, 12) == 0x0800 && frame[23] == protocol;

    public static bool IsArp(byte[] frame, int operation) =>
        frame.Length >= 42 && Word(frame, 12) == 0x0806 && Word(frame, 20) == operation;

    public static int Word(byte[] bytes, int offset) =>
        BinaryPrimitives.ReadUInt16BigEndian(bytes.AsSpan(offset));

    private void AnswerArp(byte[] frame)
    {
        if (IsArp(frame, 1) && BinaryPrimitives.ReadUInt32BigEndian(frame.AsSpan(38)) == Address)
        {
            uint asker = BinaryPrimitives.ReadUInt32BigEndian(frame.AsSpan(28));
            Send(HandMadeFrames.Arp(operation: 2, Address, frame[22..28], asker));
        }
    }

    /// <summary>A TCP segment the guest received.</summary>
    internal sealed class Segment(byte[] frame)
    {
        public int From => Word(frame, 34);

        public byte Flags => frame[47];

        public uint Sequence => BinaryPrimitives.ReadUInt32BigEndian(frame.AsSpan(38));

        public uint Acknowledge => BinaryPrimitives.ReadUInt32BigEndian(frame.AsSpan(42));

        public byte[] Payload => frame[(34 + ((frame[46] >> 4) * 4))..(14 + Word(frame, 16))];
    }
}
