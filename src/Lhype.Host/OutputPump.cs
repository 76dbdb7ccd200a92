// Carries what a guest prints to a file descriptor, byte for byte, on a thread of its own: the vCPU only
// stores into a ring and never waits for a terminal, unless the ring is full. After a burst the thread naps
// before it sleeps, so that a guest that prints character by character causes one system call per nap, not
// one per character.

using System;
using System.Numerics;
using System.Threading;

namespace Lhype.Host;

/// <summary>A bounded byte queue from one producer thread to a file descriptor.</summary>
public sealed unsafe class OutputPump : IDisposable
{
    private const ulong NapNs = 1_000_000;

    private readonly int _fd;
    private readonly byte[] _ring;
    private readonly Thread _thread;
    private readonly ThreadSleeper _consumer = new();
    private readonly ThreadSleeper _producer = new();
    private readonly Action<string>? _failed;
    private int _head;          // written by the producer, counts bytes ever stored (wraps)
    private int _tail;          // written by the pump's thread, counts bytes ever taken (wraps)
    private int _resting;       // the pump's thread is asleep until woken
    private int _finish;        // no more bytes will come
    private volatile bool _abandoned;

    /// <summary>Starts pumping to <paramref name="fd"/>, which stays the caller's.
    /// <paramref name="capacity"/> is a power of two. <paramref name="failed"/> is called once, on the pump's
    /// thread, if the descriptor no longer takes data (a closed pipe, a full disk); everything from then on
    /// is dropped.</summary>
    public OutputPump(int fd, int capacity = 1 << 16, Action<string>? failed = null)
    {
        Invariant.Check(BitOperations.IsPow2(capacity), "the capacity of an output ring is a power of two");
        _fd = fd;
        _ring = new byte[capacity];
        _failed = failed;
        _thread = new Thread(Run) { Name = "console out", IsBackground = true };
        _thread.Start();
    }

    /// <summary>Queues one byte. One producer thread only. Waits if the ring is full.</summary>
    public void Write(byte value)
    {
        int head = _head;
        while (head - Volatile.Read(ref _tail) == _ring.Length)
        {
            if (_abandoned)
            {
                return;
            }

            WakeConsumer();
            _producer.Sleep(ThreadSleeper.Forever);
        }

        _ring[head & (_ring.Length - 1)] = value;
        Volatile.Write(ref _head, head + 1);

        // A full barrier between the store of the head and the load of the flag; the consumer has its mirror
        // image.
        Interlocked.MemoryBarrier();
        if (_resting != 0)
        {
            WakeConsumer();
        }
    }

    /// <summary>Queues bytes. One producer thread only. Waits while the ring is full.</summary>
    public void Write(ReadOnlySpan<byte> bytes)
    {
        foreach (byte value in bytes)
        {
            Write(value);
        }
    }

    /// <summary>From any thread: drops what is queued and all that comes, and frees a waiting producer. For
    /// leaving at once when the reader has stopped reading.</summary>
    public void Abandon()
    {
        _abandoned = true;
        _producer.Wake();
        _consumer.Wake();
    }

    /// <summary>Waits until everything queued was written (or dropped), then ends the thread. After
    /// <see cref="Abandon"/> the thread may be stuck in a write; it is left behind.</summary>
    public void Dispose()
    {
        Volatile.Write(ref _finish, 1);
        _consumer.Wake();
        while (!_thread.Join(20) && !_abandoned)
        {
        }
    }

    private void WakeConsumer()
    {
        Volatile.Write(ref _resting, 0);
        _consumer.Wake();
    }

    private void Run()
    {
        bool broken = false;
        bool napped = true;
        while (true)
        {
            bool last = Volatile.Read(ref _finish) != 0;
            int tail = _tail;
            int count = Volatile.Read(ref _head) - tail;
            if (count != 0)
            {
                int start = tail & (_ring.Length - 1);
                count = Math.Min(count, _ring.Length - start);
                broken = broken || _abandoned || !WriteAll(_ring.AsSpan(start, count));
                Volatile.Write(ref _tail, tail + count);
                _producer.Wake();
                napped = false;
            }
            else if (last)
            {
                return;
            }
            else if (!napped)
            {
                napped = true;
                _consumer.Sleep(NapNs);
            }
            else
            {
                _resting = 1;
                Interlocked.MemoryBarrier();
                if (Volatile.Read(ref _head) == tail)
                {
                    _consumer.Sleep(ThreadSleeper.Forever);
                }

                _resting = 0;
            }
        }
    }

    private bool WriteAll(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty && !_abandoned)
        {
            nint count;
            fixed (byte* start = bytes)
            {
                count = Libc.write(_fd, start, (nuint)bytes.Length);
            }

            if (count >= 0)
            {
                bytes = bytes[(int)count..];
                continue;
            }

            int errno = Libc.Errno;
            if (errno == Libc.EAGAIN)
            {
                // Somebody else made the shared terminal or pipe non-blocking.
                Libc.pollfd_t wait = new() { fd = _fd, events = Libc.POLLOUT };
                _ = Libc.poll(&wait, 1, 100);
            }
            else if (errno != Libc.EINTR)
            {
                _failed?.Invoke(Libc.Describe(errno));
                return false;
            }
        }

        return true;
    }
}
