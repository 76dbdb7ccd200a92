// How one thread sleeps and others wake it, without locks and without lost wake-ups: a futex word with three
// states. A wake-up that comes while the thread is awake costs one atomic exchange and makes the next Sleep
// return at once; only a thread that really sleeps costs the waker a system call. Used by the vCPU's run loop
// and the console pumps.

using System;
using System.Runtime.CompilerServices;
using System.Threading;

namespace Lhype.Host;

/// <summary>Lets one thread sleep until a time-out or until another thread calls
/// <see cref="Wake"/>.</summary>
public sealed unsafe class ThreadSleeper
{
    private const int Awake = 0, Woken = 1, Asleep = 2;

    // Pinned, so that the kernel and late wakers always see live memory; a cache line of its own.
    private readonly int[] _words = GC.AllocateArray<int>(32, pinned: true);

    /// <summary>Time-out of <see cref="Sleep"/> that never comes.</summary>
    public const ulong Forever = ulong.MaxValue;

    private ref int Word => ref _words[16];

    /// <summary>Sleeps for at most <paramref name="nanoseconds"/>. Returns at once if <see cref="Wake"/> was
    /// called since the last return; may return early. Only one thread may sleep here.</summary>
    public void Sleep(ulong nanoseconds)
    {
        if (Interlocked.CompareExchange(ref Word, Asleep, Awake) == Awake)
        {
            Libc.timespec_t timeout = new()
            {
                tv_sec = (long)(nanoseconds / 1_000_000_000),
                tv_nsec = (long)(nanoseconds % 1_000_000_000),
            };
            _ = Libc.futex(Libc.SYS_futex, (int*)Unsafe.AsPointer(ref Word), Libc.FUTEX_WAIT_PRIVATE, Asleep,
                nanoseconds == Forever ? null : &timeout);
        }

        // A full barrier: work queued before a Wake that this exchange swallows is seen by whoever called
        // Sleep.
        Interlocked.Exchange(ref Word, Awake);
    }

    /// <summary>From any thread: ends the present sleep, or the next one before it begins.</summary>
    public void Wake()
    {
        if (Interlocked.Exchange(ref Word, Woken) == Asleep)
        {
            int* word = (int*)Unsafe.AsPointer(ref Word);
            _ = Libc.futex(Libc.SYS_futex, word, Libc.FUTEX_WAKE_PRIVATE, 1, null);
        }
    }
}
