// A port of a hub, in the file that all guests of the hub share: taking and leaving it, the table of ports,
// and waking other ports. Used by HubBackend. Whoever holds the lock of a port's byte owns the port; the
// kernel drops the lock with the process, however that ends, and the next to join cleans up. Nothing in the
// file is believed without a check: any process that can open it may have written it.

using System;
using System.Buffers.Binary;
using System.Threading;
using Lhype.Host;

namespace Lhype.Machine.Net;

/// <summary>How <see cref="HubFile.Wait"/> ended.</summary>
internal enum HubWait
{
    /// <summary>There may be frames for this port.</summary>
    Rung,
    /// <summary>Nothing in particular happened.</summary>
    Nothing,
    /// <summary>The file is broken.</summary>
    Gone,
}

/// <summary>One port of a hub.</summary>
internal sealed class HubFile : IDisposable
{
    /// <summary>States of a port's word: its owner is at work and will look at what is pending; it sleeps;
    /// it was woken and has not noticed.</summary>
    internal const uint Awake = 0, Asleep = 1, Woken = 2;

    /// <summary>An empty file as long as this is still taken for one that nobody uses.</summary>
    private const int MaxEmptyBytes = 1 << 20;

    private const int JoinPatienceMs = 5000, JoinNapMs = 10;

    private readonly SharedFile _file;
    private long _longest;

    private HubFile(SharedFile file, int port)
    {
        _file = file;
        Port = port;
        long length = file.Length;
        _longest = length;
        for (int peer = 0; peer < HubLayout.Ports; peer++)
        {
            if (peer != port)
            {
                bool exists = length >= HubLayout.RingsOf(Math.Max(peer, port) + 1);
                Writers[peer] = new RingWriter(file, HubLayout.Ring(port, peer), exists);
                Readers[peer] = new RingReader(file, HubLayout.Ring(peer, port), exists);
            }
        }
    }

    /// <summary>The file's name.</summary>
    internal string Path => _file.Path;

    /// <summary>Number of this port.</summary>
    internal int Port { get; }

    /// <summary>Rings to the other ports; nothing at <see cref="Port"/>.</summary>
    internal RingWriter[] Writers { get; } = new RingWriter[HubLayout.Ports];

    /// <summary>Rings from the other ports; nothing at <see cref="Port"/>.</summary>
    internal RingReader[] Readers { get; } = new RingReader[HubLayout.Ports];

    /// <summary>Takes a free port of the hub in <paramref name="path"/>, which is made if it is not there or
    /// empty. Throws LhypeException.</summary>
    internal static HubFile Join(string path, MacAddress mac)
    {
        SharedFile file = SharedFile.Open(path);
        try
        {
            LockForJoin(file);
            Prepare(file);
            int port = TakePort(file);
            CleanTable(file, port, mac);
            if (port > 0)
            {
                file.Extend(HubLayout.RingsOf(port), HubLayout.RingsOf(port + 1));
            }

            HubFile hub = new(file, port);
            if (!hub.Open(mac))
            {
                throw Refuse(file, "it was truncated a moment ago");
            }

            file.Unlock(HubLayout.JoinLock);
            return hub;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Reads how long the file is. False: it has shrunk, so it is broken.</summary>
    internal bool TryGetLength(out long length)
    {
        length = _file.Length;
        long longest = Interlocked.Read(ref _longest);
        while (length > longest)
        {
            longest = Interlocked.CompareExchange(ref _longest, length, longest);
        }

        return length >= longest;
    }

    /// <summary>True if the file has, or had, the rings between this port and another.</summary>
    internal bool HasRings(int port) => !TryGetLength(out long length)
        || length >= HubLayout.RingsOf(Math.Max(port, Port) + 1);

    /// <summary>Reads the number that changes with the table of ports. False: the file is broken.</summary>
    internal bool TryGetGeneration(out uint generation)
    {
        bool good = _file.TryLoad(HubLayout.MagicOffset, out ulong magic)
            & _file.TryLoad(HubLayout.GenerationOffset, out ulong value);
        generation = (uint)value;
        return good && magic == HubLayout.Magic;
    }

    /// <summary>Reads whether and with which address a port is used, in a file of
    /// <paramref name="length"/>: a port without rings is nobody's. False: the file is broken.</summary>
    internal bool TryGetPort(int port, long length, out bool used, out MacAddress mac)
    {
        bool good = _file.TryLoad(HubLayout.Address(port), out ulong word);
        used = (word & HubLayout.PortUsed) != 0 && length >= HubLayout.RingsOf(port + 1);
        mac = new MacAddress(word & 0xFFFF_FFFF_FFFF);
        return good;
    }

    /// <summary>Shows the others this port's address. False: the file is broken.</summary>
    internal bool Publish(MacAddress mac) => SetAddress(_file, Port, mac.Bits | HubLayout.PortUsed);

    /// <summary>Tells a port that there is something in its ring, and wakes its owner if it sleeps. False:
    /// the file is broken.</summary>
    internal bool Ring(int port)
    {
        uint state = 0;
        if (!_file.TryOr(HubLayout.Pending(port), 1UL << Port) || !TryGetState(port, ref state))
        {
            return false;
        }

        if (state == Asleep && _file.TryCompareExchange(HubLayout.Word(port), ref state, Woken)
            && state == Asleep)
        {
            _file.Wake(HubLayout.Word(port));
        }

        return true;
    }

    /// <summary>Takes the set of ports that rang. False: the file is broken.</summary>
    internal bool TryTakePending(out ulong pending)
    {
        pending = 0;
        return _file.TryExchange(HubLayout.Pending(Port), ref pending);
    }

    /// <summary>Lets others wake this port from now on; <paramref name="again"/> if somebody rang meanwhile
    /// and nobody will wake it. False: the file is broken.</summary>
    internal bool TryFallAsleep(out bool again)
    {
        again = false;
        ulong word = Asleep;
        if (!_file.TryExchange(HubLayout.Word(Port), ref word)
            || !_file.TryLoad(HubLayout.Pending(Port), out ulong pending))
        {
            return false;
        }

        if (pending != 0)
        {
            uint state = Asleep;
            if (!_file.TryCompareExchange(HubLayout.Word(Port), ref state, Awake))
            {
                return false;
            }

            again = state == Asleep;
        }

        return true;
    }

    /// <summary>For the thread that waits: sleeps until this port is woken, which makes it awake, or until
    /// <paramref name="nanoseconds"/> are over.</summary>
    internal HubWait Wait(ulong nanoseconds)
    {
        uint state = 0;
        if (!TryGetState(Port, ref state))
        {
            return HubWait.Gone;
        }

        if (state == Woken)
        {
            bool good = _file.TryCompareExchange(HubLayout.Word(Port), ref state, Awake);
            return good ? HubWait.Rung : HubWait.Gone;
        }

        return _file.Wait(HubLayout.Word(Port), state, nanoseconds) switch
        {
            SharedWait.Gone => HubWait.Gone,
            SharedWait.TimedOut => Look(state),
            _ => HubWait.Nothing,
        };
    }

    /// <summary>From any thread: ends a present or coming <see cref="Wait"/>.</summary>
    internal void WakeSelf()
    {
        ulong word = Woken;
        _ = _file.TryExchange(HubLayout.Word(Port), ref word);
        _file.Wake(HubLayout.Word(Port));
    }

    /// <summary>Leaves the hub. Nobody may be in another call.</summary>
    public void Dispose()
    {
        _ = SetAddress(_file, Port, 0);
        _file.Dispose();
    }

    private static void LockForJoin(SharedFile file)
    {
        for (int waited = 0; !file.TryLock(HubLayout.JoinLock); waited += JoinNapMs)
        {
            if (waited >= JoinPatienceMs)
            {
                throw Refuse(file, "another process keeps it locked, or its file system has no locks");
            }

            Thread.Sleep(JoinNapMs);
        }
    }

    /// <summary>Makes an empty file a hub, and refuses one that is something else.</summary>
    private static void Prepare(SharedFile file)
    {
        byte[] start = new byte[MaxEmptyBytes];
        long length = file.Length;
        int read = file.Read(0, start.AsSpan(0, (int)Math.Min(length, MaxEmptyBytes)));
        bool isHub = read >= 8 && BinaryPrimitives.ReadUInt64LittleEndian(start) == HubLayout.Magic;
        if (!isHub && (length > MaxEmptyBytes || start.AsSpan(0, read).ContainsAnyExcept((byte)0)))
        {
            throw Refuse(file, "it holds something else; name a new file");
        }

        file.Extend(0, HubLayout.HeaderBytes);
        file.Map(HubLayout.FullBytes);
        if (!file.TryStore(HubLayout.MagicOffset, HubLayout.Magic))
        {
            throw Refuse(file, "it was truncated a moment ago");
        }
    }

    private static int TakePort(SharedFile file)
    {
        for (int port = 0; port < HubLayout.Ports; port++)
        {
            if (file.TryLock(HubLayout.PortLock(port)))
            {
                return port;
            }
        }

        throw Refuse(file, $"{HubLayout.Ports} guests are on it already");
    }

    /// <summary>Clears the ports of the dead, and sees that no living one has our address.</summary>
    private static void CleanTable(SharedFile file, int own, MacAddress mac)
    {
        for (int port = 0; port < HubLayout.Ports; port++)
        {
            if (!file.TryLoad(HubLayout.Address(port), out ulong word))
            {
                throw Refuse(file, "it was truncated a moment ago");
            }

            if ((word & HubLayout.PortUsed) == 0)
            {
                continue;
            }

            if (port == own || !file.IsLocked(HubLayout.PortLock(port)))
            {
                _ = SetAddress(file, port, 0);
            }
            else if (word == (mac.Bits | HubLayout.PortUsed))
            {
                throw Refuse(file,
                    $"a guest with address {mac} is on it already; use another ID or --name, or mac=");
            }
        }
    }

    private static bool SetAddress(SharedFile file, int port, ulong word)
    {
        if (!file.TryStore(HubLayout.Address(port), word))
        {
            return false;
        }

        // Others may change it at the same time; a few attempts reach any honest value.
        uint seen = 0;
        for (int attempt = 0; attempt < HubLayout.Ports; attempt++)
        {
            uint expected = seen;
            if (!file.TryCompareExchange(HubLayout.GenerationOffset, ref seen, expected + 1))
            {
                return false;
            }

            if (seen == expected)
            {
                break;
            }
        }

        return true;
    }

    private static LhypeException Refuse(SharedFile file, string why) =>
        new($"{file.Path} cannot be used as a network hub: {why}.");

    private bool Open(MacAddress mac) =>
        _file.TryStore(HubLayout.Pending(Port), 0) && _file.TryStore(HubLayout.Word(Port), Asleep)
        && Publish(mac);

    // Nobody rang for long. If there is work all the same, a wake-up was lost: somebody scribbled on the
    // word.
    private HubWait Look(uint state)
    {
        if (!_file.TryLoad(HubLayout.Pending(Port), out ulong pending))
        {
            return HubWait.Gone;
        }

        return pending != 0 || state > Woken ? HubWait.Rung : HubWait.Nothing;
    }

    private bool TryGetState(int port, ref uint state)
    {
        bool good = _file.TryLoad(HubLayout.Word(port), out ulong word);
        state = (uint)word;
        return good;
    }
}
