// A tap interface of the host: Ethernet frames to and from the host's own network stack, each behind a
// virtio_net_hdr (Linux Documentation/networking/tuntap.rst). Used by Machine/Net/TapBackend, which reads and
// writes on the vCPU's thread; a thread here only waits for something to read.

using System;
using System.Text;
using System.Threading;

namespace Lhype.Host;

/// <summary>An attached tap interface.</summary>
public sealed unsafe class TapInterface : IDisposable
{
    /// <summary>Bytes of the virtio_net_hdr before each frame.</summary>
    public const int HeaderBytes = 10;

    private readonly ThreadSleeper _armed = new();
    private int _fd;
    private int _stop = -1;
    private Thread? _watcher;
    private volatile bool _stopping;

    private TapInterface(int fd, string name)
    {
        _fd = fd;
        Name = name;
    }

    /// <summary>The interface's name.</summary>
    public string Name { get; }

    /// <summary>Attaches to interface <paramref name="name"/>, which is created if the user has the right to;
    /// an empty name creates one. Throws LhypeException.</summary>
    public static TapInterface Open(string name)
    {
        name = name.Length == 0 ? "tap%d" : name;
        int fd = Libc.open("/dev/net/tun", Libc.O_RDWR | Libc.O_NONBLOCK | Libc.O_CLOEXEC, 0);
        if (fd < 0)
        {
            throw Refuse(name, $"/dev/net/tun: {Libc.Describe(Libc.Errno)}");
        }

        Libc.ifreq_t request = new() { flags = Libc.IFF_TAP | Libc.IFF_NO_PI | Libc.IFF_VNET_HDR };
        Span<byte> bytes = new(request.name, Libc.IFNAMSIZ);
        bool fits = Encoding.UTF8.TryGetBytes(name, bytes[..(Libc.IFNAMSIZ - 1)], out _);
        if (fits && Libc.device_ioctl(fd, Libc.TUNSETIFF, &request) == 0)
        {
            int length = bytes.IndexOf((byte)0);
            return new TapInterface(fd, Encoding.UTF8.GetString(bytes[..length]));
        }

        int errno = fits ? Libc.Errno : Libc.EINVAL;
        _ = Libc.close(fd);
        throw Refuse(name, errno switch
        {
            Libc.EBUSY => "another program uses it",
            Libc.EINVAL => "that is no tap interface",
            _ => Libc.Describe(errno),
        });
    }

    /// <summary>Says which frames may come unfinished: bits TUN_F_CSUM (1), TSO4 (2), TSO6 (4), TSO_ECN
    /// (8). An old kernel may not know all; then it finishes more than it need.</summary>
    public void SetOffloads(int bits) => _ = Libc.device_ioctl(_fd, Libc.TUNSETOFFLOAD, (void*)bits);

    /// <summary>Reads one frame with its header. Returns its length, or 0: there is none.</summary>
    public int Read(Span<byte> destination)
    {
        fixed (byte* bytes = destination)
        {
            return (int)Math.Max(0, Libc.read(_fd, bytes, (nuint)destination.Length));
        }
    }

    /// <summary>Sends one frame. What the host does not take at once is lost.</summary>
    public void Write(ReadOnlySpan<byte> header, ReadOnlySpan<byte> frame)
    {
        fixed (byte* first = header)
        {
            fixed (byte* second = frame)
            {
                Libc.iovec_t* parts = stackalloc Libc.iovec_t[2];
                parts[0] = new Libc.iovec_t { iov_base = first, iov_len = (nuint)header.Length };
                parts[1] = new Libc.iovec_t { iov_base = second, iov_len = (nuint)frame.Length };
                _ = Libc.writev(_fd, parts, 2);
            }
        }
    }

    /// <summary>Calls <paramref name="readable"/> on another thread when there is something to read; again
    /// only after <see cref="Rearm"/>. Called once. Throws LhypeException.</summary>
    public void Watch(Action readable)
    {
        _stop = Libc.eventfd(0, Libc.EFD_CLOEXEC);
        if (_stop < 0)
        {
            throw new LhypeException($"Cannot wait for a tap interface: {Libc.Describe(Libc.Errno)}.");
        }

        _watcher = new Thread(() => Wait(readable)) { Name = "tap", IsBackground = true };
        _watcher.Start();
    }

    /// <summary>All was read: watch again.</summary>
    public void Rearm() => _armed.Wake();

    /// <summary>Detaches from the interface.</summary>
    public void Dispose()
    {
        if (_fd < 0)
        {
            return;
        }

        _stopping = true;
        _armed.Wake();
        if (_watcher != null)
        {
            ulong one = 1;
            _ = Libc.write(_stop, (byte*)&one, sizeof(ulong));
            _watcher.Join();
            _ = Libc.close(_stop);
        }

        _ = Libc.close(_fd);
        _fd = -1;
    }

    private static LhypeException Refuse(string name, string why) => new(
        $"Cannot attach to tap interface {name}: {why}; root can make one for you with 'ip tuntap add "
        + $"{name} mode tap user NAME', and --net user needs no rights.");

    private void Wait(Action readable)
    {
        Libc.pollfd_t* wait = stackalloc Libc.pollfd_t[2];
        wait[0] = new Libc.pollfd_t { fd = _fd, events = Libc.POLLIN };
        wait[1] = new Libc.pollfd_t { fd = _stop, events = Libc.POLLIN };
        while (!_stopping)
        {
            // POLLERR: the interface is down or was deleted; look again once in a while.
            int count = Libc.poll(wait, 2, -1);
            if (_stopping)
            {
                return;
            }

            if (count > 0 && (wait[0].revents & Libc.POLLIN) != 0)
            {
                readable();
                _armed.Sleep(ThreadSleeper.Forever);
            }
            else if (count > 0)
            {
                _armed.Sleep(1_000_000_000);
            }
        }
    }
}
