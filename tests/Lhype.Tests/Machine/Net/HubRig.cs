// Ports of a hub in one process, each with an inbox that the test empties by hand and a card that keeps what
// it gets.

using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using Lhype.Machine;
using Lhype.Machine.Bus;
using Lhype.Machine.Net;
using Lhype.Tests.Machine.Devices;
using Xunit;

namespace Lhype.Tests.Machine.Net;

/// <summary>A card that keeps the frames it was given.</summary>
internal sealed class TestCard : INetworkCard
{
    public TestCard(MacAddress mac) => Mac = mac;

    public MacAddress Mac { get; set; }

    public List<(FrameHeader Header, byte[] Bytes)> Frames { get; } = [];

    public int Room { get; set; } = int.MaxValue;

    public bool Link { get; private set; } = true;

    public bool Receive(in FrameHeader header, ReadOnlySpan<byte> frame)
    {
        if (Room == 0)
        {
            return false;
        }

        Room--;
        Frames.Add((header, frame.ToArray()));
        return true;
    }

    public void EndReceive()
    {
    }

    public void SetLink(bool up) => Link = up;
}

/// <summary>An inbox for threads other than the test's.</summary>
internal sealed class ThreadInbox : IInbox, IDisposable
{
    private readonly BlockingCollection<Action> _work = [];

    public int Posts { get; private set; }

    public void Post(Action work) => _work.Add(work);

    public void Dispose() => _work.Dispose();

    /// <summary>Runs what is posted until <paramref name="done"/>; false if that does not come.</summary>
    public bool RunUntil(Func<bool> done, int patienceMs = 10_000)
    {
        for (int waited = 0; !done(); waited += 10)
        {
            if (waited >= patienceMs)
            {
                return false;
            }

            if (_work.TryTake(out Action? work, 10))
            {
                Posts++;
                work();
            }
        }

        return true;
    }
}

/// <summary>One port, its card and its inbox.</summary>
internal sealed class HubPort : IDisposable
{
    public HubPort(string file, int number)
    {
        MacAddress mac = Address(number);
        Card = new TestCard(mac);
        NetworkHost host = new(Inbox, Clock.Clock, Reports.Add);
        Backend = HubBackend.Open(file, mac, host);
        Backend.Connect(Card);
    }

    public ThreadInbox Inbox { get; } = new();

    public FakeClock Clock { get; } = new();

    public TestCard Card { get; }

    public HubBackend Backend { get; }

    public List<string> Reports { get; } = [];

    public static MacAddress Address(int number) => MacAddress.ForDomain($"{number}", 0);

    /// <summary>A frame from one to another, told apart by <paramref name="tag"/>.</summary>
    public static byte[] Frame(MacAddress to, MacAddress from, int tag, int bytes = 60)
    {
        byte[] frame = new byte[bytes];
        for (int i = 16; i < bytes; i++)
        {
            frame[i] = (byte)((tag * 7) + i);
        }

        to.Write(frame);
        from.Write(frame.AsSpan(6));
        frame[12] = 0x88;
        frame[13] = 0xB5;
        frame[14] = (byte)tag;
        return frame;
    }

    public void Send(MacAddress to, int tag, int bytes = 60)
    {
        Backend.Send(default, Frame(to, Card.Mac, tag, bytes));
        Backend.EndSend();
    }

    public void Expect(int frames) =>
        Assert.True(Inbox.RunUntil(() => Card.Frames.Count >= frames), $"{Card.Frames.Count} of {frames}");

    /// <summary>Runs what is posted for a moment; nothing is expected to come.</summary>
    public void ExpectNoMoreThan(int frames)
    {
        Inbox.RunUntil(() => false, 50);
        Assert.Equal(frames, Card.Frames.Count);
    }

    public void Dispose()
    {
        Backend.Dispose();
        Inbox.Dispose();
    }
}
