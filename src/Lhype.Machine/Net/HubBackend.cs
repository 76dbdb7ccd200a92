// Connects a network card to a hub file (--net hub=FILE): every guest with the same file is on one Ethernet.
// Each port is its own switch: it puts a frame into the rings of the ports it is for and wakes them. The
// rings are written and read on the vCPU's thread; a second thread only sleeps until another guest rings and
// then posts to the inbox. A receiver that does not keep up loses frames; nobody ever waits for it.

using System;
using System.Numerics;
using System.Threading;
using Lhype.Host;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Net;

/// <summary>A card's place on a hub.</summary>
public sealed class HubBackend : INetworkBackend
{
    /// <summary>Frames taken from one port before the next gets its turn, and in one go before the guest
    /// does.</summary>
    private const int TurnFrames = 64, GoFrames = 4096;

    /// <summary>How long the guest runs between two such goes.</summary>
    private const ulong RestNs = 100_000;

    /// <summary>How often a port looks whether the file is still what it was.</summary>
    private const long HeartbeatNs = 1_000_000_000;

    private readonly HubFile _hub;
    private readonly NetworkHost _host;
    private readonly Thread _listener;
    private readonly Action _drain;
    private readonly ClockTimer _rest;
    private readonly byte[] _frame = new byte[INetworkBackend.MaxFrame];
    private readonly MacAddress[] _addresses = new MacAddress[HubLayout.Ports];
    private readonly LearnedAddresses _learned = new();
    private INetworkCard? _card;
    private ulong _used;            // ports in use but ours, one bit each
    private ulong _touched;         // ports that have frames they were not told of
    private ulong _waiting;         // ports whose rings may hold frames for us
    private uint _generation;
    private ulong _publishedMac;
    private bool _known;            // the table of ports was read at least once
    private bool _blocked;          // the card has no room
    private bool _broken;
    private volatile bool _stop;

    private HubBackend(HubFile hub, MacAddress mac, NetworkHost host)
    {
        _hub = hub;
        _host = host;
        _publishedMac = mac.Bits;
        _drain = Drain;
        _rest = host.Clock.CreateTimer(Drain);
        _listener = new Thread(Listen) { Name = "hub", IsBackground = true };
        _listener.Start();
    }

    /// <inheritdoc/>
    public NetworkOffloads SendOffloads => NetworkOffloads.All;

    /// <summary>Joins the hub in <paramref name="path"/>. Throws LhypeException.</summary>
    public static HubBackend Open(string path, MacAddress mac, NetworkHost host) =>
        new(HubFile.Join(path, mac), mac, host);

    /// <inheritdoc/>
    public void Connect(INetworkCard card) => _card = card;

    /// <inheritdoc/>
    public void Send(in FrameHeader header, ReadOnlySpan<byte> frame)
    {
        if (_broken || !RefreshTable())
        {
            return;
        }

        for (ulong left = Targets(MacAddress.Read(frame)); left != 0; left &= left - 1)
        {
            int port = BitOperations.TrailingZeroCount(left);
            if (_hub.Writers[port].Write(header, frame) == RingResult.Gone)
            {
                Break();
                return;
            }

            // Told even if its ring was full: maybe its owner does not know how full it is.
            _touched |= 1UL << port;
        }
    }

    /// <inheritdoc/>
    public void EndSend()
    {
        for (; _touched != 0 && !_broken; _touched &= _touched - 1)
        {
            if (!_hub.Ring(BitOperations.TrailingZeroCount(_touched)))
            {
                Break();
            }
        }
    }

    /// <inheritdoc/>
    public void CardReady()
    {
        if (_blocked)
        {
            _blocked = false;
            Drain();
        }
    }

    /// <inheritdoc/>
    public void MacChanged()
    {
        if (_card != null && !_broken)
        {
            Volatile.Write(ref _publishedMac, _card.Mac.Bits);
            if (!_hub.Publish(_card.Mac))
            {
                Break();
            }
        }
    }

    /// <summary>Leaves the hub.</summary>
    public void Dispose()
    {
        _stop = true;
        _hub.WakeSelf();
        _listener.Join();
        _rest.Disarm();
        _hub.Dispose();
    }

    /// <summary>The listener's thread: it never touches the card or the rings.</summary>
    private void Listen()
    {
        using IDisposable stack = FaultHandler.PrepareThread();
        long nextCheck = HostClock.MonotonicNs() + HeartbeatNs;
        while (!_stop)
        {
            HubWait wait = _hub.Wait((ulong)HeartbeatNs);
            bool good = wait != HubWait.Gone;
            if (good && HostClock.MonotonicNs() >= nextCheck)
            {
                good = CheckFile();
                nextCheck = HostClock.MonotonicNs() + HeartbeatNs;
            }

            if (!good)
            {
                _host.Inbox.Post(Break);
                return;
            }

            if (wait == HubWait.Rung && !_stop)
            {
                _host.Inbox.Post(_drain);
            }
        }
    }

    /// <summary>Puts back what somebody scribbled over. False: the file is no hub any more.</summary>
    private bool CheckFile()
    {
        MacAddress mac = new(Volatile.Read(ref _publishedMac));
        return _hub.TryGetGeneration(out _) && _hub.TryGetLength(out long length)
            && _hub.TryGetPort(_hub.Port, length, out bool used, out MacAddress shown)
            && ((used && shown == mac) || _hub.Publish(mac));
    }

    private bool RefreshTable()
    {
        if (!_hub.TryGetGeneration(out uint generation))
        {
            Break();
            return false;
        }

        if (_known && generation == _generation)
        {
            return true;
        }

        if (!_hub.TryGetLength(out long length))
        {
            Break();
            return false;
        }

        _used = 0;
        for (int port = 0; port < HubLayout.Ports; port++)
        {
            if (port == _hub.Port)
            {
                continue;
            }

            if (!_hub.TryGetPort(port, length, out bool used, out _addresses[port]))
            {
                Break();
                return false;
            }

            _used |= used ? 1UL << port : 0;
        }

        _generation = generation;
        _known = true;
        return true;
    }

    /// <summary>The ports a frame is for, one bit each: all for a group, the owner of the address, the port
    /// behind which it was seen, or all again.</summary>
    private ulong Targets(MacAddress destination)
    {
        if (destination.IsGroup)
        {
            return _used;
        }

        ulong owners = 0;
        for (ulong left = _used; left != 0; left &= left - 1)
        {
            int port = BitOperations.TrailingZeroCount(left);
            owners |= _addresses[port] == destination ? 1UL << port : 0;
        }

        if (owners != 0)
        {
            return owners;
        }

        int behind = _learned.Find(destination);
        ulong learned = behind < 0 ? 0 : _used & (1UL << behind);
        return learned != 0 ? learned : _used;
    }

    /// <summary>Gives the card what waits in the rings, the ports in turn.</summary>
    private void Drain()
    {
        if (_card == null || _broken || _blocked)
        {
            return;
        }

        int budget = GoFrames;
        bool asleep = false;
        while (!asleep && !_blocked && !_broken && budget > 0)
        {
            if (!_hub.TryTakePending(out ulong pending))
            {
                Break();
                break;
            }

            _waiting |= pending & ~(1UL << _hub.Port);
            for (ulong turn = _waiting; turn != 0 && !_blocked && !_broken && budget > 0; turn &= turn - 1)
            {
                budget -= DrainPort(BitOperations.TrailingZeroCount(turn));
            }

            if (_waiting == 0 && !_broken)
            {
                if (!_hub.TryFallAsleep(out bool again))
                {
                    Break();
                }

                asleep = !again;
            }
        }

        _card.EndReceive();
        if (!asleep && !_blocked && !_broken)
        {
            _rest.Arm(_host.Clock.NowNs + RestNs);
        }
    }

    /// <summary>A turn of one port. Returns the frames taken, at least 1.</summary>
    private int DrainPort(int port)
    {
        RingReader ring = _hub.Readers[port];
        for (int taken = 0; taken < TurnFrames; taken++)
        {
            RingResult result = ring.Read(_frame, out FrameHeader header, out int length);
            if (result != RingResult.Done)
            {
                // Somebody may have rung in the name of a port that never was.
                _waiting &= ~(1UL << port);
                if (result == RingResult.Gone ? _hub.HasRings(port) : !ring.Publish())
                {
                    Break();
                }

                return taken + 1;
            }

            ReadOnlySpan<byte> frame = _frame.AsSpan(0, length);
            if (!_card!.Receive(header, frame))
            {
                _blocked = true;
                return taken + 1;
            }

            MacAddress source = MacAddress.Read(frame[MacAddress.Bytes..]);
            if (source != _addresses[port] && source.IsStation)
            {
                _learned.Learn(source, port);
            }

            if (!ring.Advance())
            {
                Break();
                return taken + 1;
            }
        }

        return TurnFrames;
    }

    private void Break()
    {
        if (!_broken)
        {
            _broken = true;
            _card?.SetLink(false);
            _host.Report($"the hub file {_hub.Path} is broken: another process truncated it or wrote "
                + "over it, or its disk is full; this guest has no network until it is started again");
        }
    }
}
