// Reads a file descriptor (standard input) on a thread of its own and hands the bytes on. It waits in
// poll(2), together with an event descriptor, so that it can be stopped while nobody types. Terminals, pipes,
// files and closed descriptors all work; what cannot be read is the end of input.

using System;
using System.Threading;

namespace Lhype.Host;

/// <summary>Receives what <see cref="InputPump"/> read, on the pump's thread; an empty span is the end of
/// input. It may wait: nothing is read meanwhile.</summary>
public delegate void InputReceiver(ReadOnlySpan<byte> bytes);

/// <summary>A thread that reads a descriptor until it ends or the pump is disposed.</summary>
public sealed unsafe class InputPump : IDisposable
{
    private readonly int _fd;
    private readonly int _stop;
    private readonly InputReceiver _receive;
    private readonly Thread _thread;
    private int _disposed;

    /// <summary>Starts reading <paramref name="fd"/>, which stays the caller's. Throws
    /// LhypeException.</summary>
    public InputPump(int fd, InputReceiver receive)
    {
        _fd = fd;
        _receive = receive;
        _stop = Libc.eventfd(0, Libc.EFD_CLOEXEC);
        if (_stop < 0)
        {
            throw new LhypeException($"Cannot read the console: {Libc.Describe(Libc.Errno)}.");
        }

        _thread = new Thread(Run) { Name = "console in", IsBackground = true };
        _thread.Start();
    }

    /// <summary>True if standard descriptor <paramref name="fd"/> came from whoever started this process. One
    /// that was closed then may since have become some file of our own; those, unlike inherited ones, all
    /// carry the close-on-exec flag.</summary>
    public static bool WasInherited(int fd)
    {
        int flags = Libc.fcntl(fd, Libc.F_GETFD, null);
        return flags >= 0 && (flags & Libc.FD_CLOEXEC) == 0;
    }

    /// <summary>Stops reading. Must not be called from the receiver.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
        {
            return;
        }

        ulong one = 1;
        _ = Libc.write(_stop, (byte*)&one, sizeof(ulong));
        if (_thread.Join(1000))
        {
            _ = Libc.close(_stop);
        }
    }

    private void Run()
    {
        byte[] buffer = new byte[4096];
        Libc.pollfd_t* wait = stackalloc Libc.pollfd_t[2];
        wait[0] = new Libc.pollfd_t { fd = _fd, events = Libc.POLLIN };
        wait[1] = new Libc.pollfd_t { fd = _stop, events = Libc.POLLIN };
        while (true)
        {
            if (Libc.poll(wait, 2, -1) < 0)
            {
                if (Libc.Errno == Libc.EINTR)
                {
                    continue;
                }

                break;
            }

            if (wait[1].revents != 0)
            {
                return;
            }

            nint count;
            fixed (byte* bytes = buffer)
            {
                count = Libc.read(_fd, bytes, (nuint)buffer.Length);
            }

            if (count > 0)
            {
                _receive(buffer.AsSpan(0, (int)count));
            }
            else if (count == 0 || Libc.Errno is not (Libc.EINTR or Libc.EAGAIN))
            {
                break;
            }
        }

        _receive([]);
    }
}
