// The network of --net user: libslirp on a thread of its own. The guest's frames reach it through one ring,
// its frames reach the guest through another; it never touches a device. Made by UserNetwork for each card.
//
// libslirp keeps no locks: after construction every call of it comes from this one thread. It is a part of
// the host's network, outside the machine, so its time-outs run on the host's clock and not on the guest's.

using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Threading;
using static Lhype.Host.SlirpLibrary;

namespace Lhype.Host;

/// <summary>A private network 10.0.2.0/24 with one guest, whose traffic leaves the host through ordinary
/// sockets.</summary>
public sealed unsafe partial class SlirpStack : IDisposable
{
    // Addresses in network byte order, as a little-endian machine sees them. They are the ones of QEMU, which
    // guides for guests take for granted.
    private const uint Network = 0x0002_000A, Mask = 0x00FF_FFFF, Gateway = 0x0202_000A,
        NameServer = 0x0302_000A, FirstGuest = 0x0F02_000A;

    private const int RingBytes = 1 << 20;

    // Frames taken from the guest between two looks at the sockets.
    private const int BatchFrames = 64;

    private readonly FrameRing _fromGuest = new(RingBytes);
    private readonly FrameRing _toGuest = new(RingBytes);
    private readonly SlirpCb* _callbacks;
    private readonly nint _slirp;
    private readonly int _wake;
    private readonly int _maxSockets;
    private GCHandle _self;
    private Thread? _thread;
    private Action? _framesWaiting;
    private Libc.pollfd_t* _polls;
    private int _pollCapacity = 16;
    private int _pollCount;
    private int _resting;           // this thread sleeps, or is about to: wake it through the descriptor
    private int _announced;         // the receiver knows that frames wait
    private volatile bool _stop;

    /// <summary>Makes the network and listens on the forwarded ports. The guest may have about
    /// <paramref name="maxSockets"/> sockets, or half of the descriptors this process may open. Throws
    /// LhypeException if the library is missing or a port cannot be had.</summary>
    public SlirpStack(IReadOnlyList<SlirpForward> forwards, int? maxSockets = null)
    {
        if (!NativeLibrary.TryLoad(FileName, out _))
        {
            throw new LhypeException($"--net user needs {FileName}, which this host lacks; "
                + "install it: apt-get install libslirp0.");
        }

        _wake = Libc.eventfd(0, Libc.EFD_CLOEXEC);
        if (_wake < 0)
        {
            throw new LhypeException($"--net user: cannot start: {Libc.Describe(Libc.Errno)}.");
        }

        _self = GCHandle.Alloc(this);
        _maxSockets = maxSockets ?? HalfOfDescriptorLimit();
        _polls = (Libc.pollfd_t*)NativeMemory.AllocZeroed((nuint)_pollCapacity, (nuint)sizeof(Libc.pollfd_t));
        _callbacks = (SlirpCb*)NativeMemory.AllocZeroed((nuint)sizeof(SlirpCb));
        FillCallbacks(_callbacks);
        SlirpConfig config = new()
        {
            version = ConfigVersion,
            in_enabled = 1,
            vnetwork = Network,
            vnetmask = Mask,
            vhost = Gateway,
            vdhcp_start = FirstGuest,
            vnameserver = NameServer,
        };
        _slirp = slirp_new(&config, _callbacks, GCHandle.ToIntPtr(_self));
        Invariant.Check(_slirp != 0, "libslirp accepts our configuration");
        try
        {
            foreach (SlirpForward forward in forwards)
            {
                Listen(forward);
            }
        }
        catch
        {
            Free();
            throw;
        }
    }

    /// <summary>Starts the network's thread. It calls <paramref name="framesWaiting"/> when frames for the
    /// guest have come, and then not again before <see cref="StartReceiving"/>.</summary>
    public void Start(Action framesWaiting)
    {
        _framesWaiting = framesWaiting;
        _thread = new Thread(Run) { Name = "user network", IsBackground = true };
        _thread.Start();
    }

    /// <summary>From one thread, the vCPU's: room for a frame of the guest with <paramref name="length"/>
    /// bytes, to be filled before <see cref="Send"/>. False if it is too long, or if too many wait
    /// already.</summary>
    public bool TryReserve(int length, out Span<byte> room) => _fromGuest.TryReserve(length, out room);

    /// <summary>From that same thread: hands the frame reserved last to the network.</summary>
    public void Send() => _fromGuest.Publish();

    /// <summary>From that same thread, after one or several frames: makes the network look at
    /// them.</summary>
    public void Flush()
    {
        // A full barrier between the store of the frame and the load of the flag; Wait has its mirror image.
        Interlocked.MemoryBarrier();
        if (_resting != 0)
        {
            Wake();
        }
    }

    /// <summary>From that same thread: frames that come from now on are announced again. Take what waits
    /// afterwards.</summary>
    public void StartReceiving() => Interlocked.Exchange(ref _announced, 0);

    /// <summary>From that same thread: the next frame for the guest, good until
    /// <see cref="Received"/>.</summary>
    public bool TryPeek(out ReadOnlySpan<byte> frame) => _toGuest.TryPeek(out frame);

    /// <summary>From that same thread: drops the frame <see cref="TryPeek"/> showed.</summary>
    public void Received() => _toGuest.Consume();

    /// <summary>Closes every socket and ends the thread; what the guest has sent is passed on first. Nobody
    /// may send any more.</summary>
    public void Dispose()
    {
        if (_stop)
        {
            return;
        }

        _stop = true;
        Wake();
        _thread?.Join();
        Free();
    }

    private void Run()
    {
        while (!_stop)
        {
            bool failed = !Wait();

            // Before the sockets, because that call also sends what waited for the guest's answer to ARP.
            TakeFromGuest(BatchFrames);
            slirp_pollfds_poll(_slirp, failed ? 1 : 0, &GetEvents, GCHandle.ToIntPtr(_self));
            Announce();
        }

        TakeFromGuest(int.MaxValue);
    }

    // Sleeps until a socket, a timer of the library or the guest has something. False if that was
    // interrupted.
    private bool Wait()
    {
        uint timeout = uint.MaxValue;
        _pollCount = 1;
        _polls[0] = new Libc.pollfd_t { fd = _wake, events = Libc.POLLIN };
        slirp_pollfds_fill(_slirp, &timeout, &AddPoll, GCHandle.ToIntPtr(_self));

        // Mirror image of Flush: the flag before the last look at the ring.
        Interlocked.Exchange(ref _resting, 1);
        bool busy = _stop || !_fromGuest.IsEmpty;
        int patience = busy ? 0 : timeout > int.MaxValue ? -1 : (int)timeout;
        int ready = Libc.poll(_polls, (nuint)_pollCount, patience);
        _resting = 0;
        if (ready > 0 && _polls[0].revents != 0)
        {
            ulong count;
            _ = Libc.read(_wake, (byte*)&count, sizeof(ulong));
        }

        return ready >= 0;
    }

    private void TakeFromGuest(int limit)
    {
        for (int i = 0; i < limit && _fromGuest.TryPeek(out ReadOnlySpan<byte> frame); i++)
        {
            if (_pollCount < _maxSockets || !MayOpenSocket(frame))
            {
                fixed (byte* bytes = frame)
                {
                    slirp_input(_slirp, bytes, frame.Length);
                }
            }

            _fromGuest.Consume();
        }
    }

    private void Announce()
    {
        if (!_toGuest.IsEmpty && Interlocked.Exchange(ref _announced, 1) == 0)
        {
            _framesWaiting!();
        }
    }

    private void Wake()
    {
        ulong one = 1;
        _ = Libc.write(_wake, (byte*)&one, sizeof(ulong));
    }

    // The library opens a socket for each connection and each UDP port of the guest, without a limit of its
    // own; a guest must not starve the rest of this process.
    private static int HalfOfDescriptorLimit()
    {
        Libc.rlimit_t limit;
        bool known = Libc.getrlimit(Libc.RLIMIT_NOFILE, &limit) == 0;
        return (int)Math.Min(known ? limit.rlim_cur / 2 : 256, 1 << 16);
    }

    // Everything but ARP and the later segments of a TCP connection.
    private static bool MayOpenSocket(ReadOnlySpan<byte> frame)
    {
        const int EthernetBytes = 14, ProtocolOffset = 9, FlagsOffset = 13, Tcp = 6, Syn = 2, Ack = 0x10;
        if (frame.Length < EthernetBytes + 20 || frame[12] != 8 || frame[13] != 0)
        {
            return false;
        }

        ReadOnlySpan<byte> packet = frame[EthernetBytes..];
        int header = (packet[0] & 15) * 4;
        return packet[ProtocolOffset] != Tcp || packet.Length <= header + FlagsOffset
            || (packet[header + FlagsOffset] & (Syn | Ack)) == Syn;
    }

    private void Listen(SlirpForward forward)
    {
        if (slirp_add_hostfwd(_slirp, forward.Udp ? 1 : 0, forward.HostAddress, forward.HostPort,
            forward.GuestAddress, forward.GuestPort) == 0)
        {
            return;
        }

        int errno = Libc.Errno;
        string protocol = forward.Udp ? "UDP" : "TCP";
        string reason = errno switch
        {
            Libc.EADDRINUSE => $"{protocol} port {forward.HostPort} of the host is in use; choose another.",
            Libc.EACCES => $"{protocol} port {forward.HostPort} of the host is not for ordinary users; "
                + "choose one from 1024 up.",
            Libc.EADDRNOTAVAIL => "the host does not have that address; leave it out for all it has.",
            _ => $"cannot listen on {protocol} port {forward.HostPort}: {Libc.Describe(errno)}.",
        };
        throw new LhypeException($"--net user,hostfwd={forward.Text}: {reason}");
    }

    private void Free()
    {
        slirp_cleanup(_slirp);
        NativeMemory.Free(_callbacks);
        NativeMemory.Free(_polls);
        _self.Free();
        _ = Libc.close(_wake);
    }
}

/// <summary>A port of the host that leads to one of the guest. Addresses are in network byte order as a
/// little-endian number; 0 is every address of the host, or the guest's first one. <paramref name="Text"/> is
/// how the user wrote it.</summary>
public sealed record SlirpForward(
    bool Udp, uint HostAddress, ushort HostPort, uint GuestAddress, ushort GuestPort, string Text);
