// Libc: clocks, futexes and thread attributes.

using System.Runtime.InteropServices;

namespace Lhype.Host;

internal static unsafe partial class Libc
{
    internal const int CLOCK_REALTIME = 0, CLOCK_MONOTONIC = 1;
    internal const long SYS_futex = 202;
    internal const int FUTEX_WAIT = 0, FUTEX_WAKE = 1, FUTEX_WAIT_PRIVATE = 128,
        FUTEX_WAKE_PRIVATE = 129;
    internal const int PR_SET_TIMERSLACK = 29;

    [StructLayout(LayoutKind.Sequential)]
    internal struct timespec_t
    {
        internal long tv_sec;
        internal long tv_nsec;
    }

    [LibraryImport("libc")]
    internal static partial int clock_gettime(int clock, timespec_t* time);

    /// <summary>futex(2): the C library has no wrapper, only syscall(2).</summary>
    [LibraryImport("libc", EntryPoint = "syscall")]
    internal static partial long futex(long number, int* word, long operation, long value,
        timespec_t* timeout);

    /// <summary>The same, keeping errno: memory shared with other processes may be gone.</summary>
    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true)]
    internal static partial long shared_futex(long number, int* word, long operation, long value,
        timespec_t* timeout);

    [LibraryImport("libc")]
    internal static partial int prctl(int option, ulong argument);

    [LibraryImport("libc")]
    internal static partial int gettid();

    [LibraryImport("libc")]
    internal static partial int tgkill(int process, int thread, int signal);

    [LibraryImport("libc")]
    internal static partial nint pthread_self();

    [LibraryImport("libc")]
    internal static partial int pthread_getcpuclockid(nint thread, out int clock);
}
