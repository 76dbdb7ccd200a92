// CPU time of child processes, in nanoseconds: of a running one through its CPU clock, of finished ones
// through the kernel's books. CPU time and not wall time, because a busy host must not change the figures.
// Used by GuestProcess.

using System.Runtime.InteropServices;

namespace Lhype.Bench;

/// <summary>CPU time used by child processes, all threads, user and system together.</summary>
internal static class HostCpuTime
{
    private const int RusageChildren = -1;

    /// <summary>Nanoseconds used so far by the running process <paramref name="pid"/>; 0 if it has
    /// gone.</summary>
    public static long OfProcess(int pid) =>
        clock_getcpuclockid(pid, out int clock) == 0 && clock_gettime(clock, out Timespec time) == 0
            ? (time.Seconds * 1_000_000_000) + time.Nanoseconds
            : 0;

    /// <summary>Nanoseconds used by all children that have ended and been waited for.</summary>
    public static long OfEndedChildren() =>
        getrusage(RusageChildren, out Rusage usage) == 0
            ? ((usage.UserSeconds + usage.SystemSeconds) * 1_000_000_000)
                + ((usage.UserMicroseconds + usage.SystemMicroseconds) * 1000)
            : 0;

    [DllImport("libc")]
    private static extern int clock_getcpuclockid(int pid, out int clock);

    [DllImport("libc")]
    private static extern int clock_gettime(int clock, out Timespec time);

    [DllImport("libc")]
    private static extern int getrusage(int who, out Rusage usage);

    [StructLayout(LayoutKind.Sequential)]
    private struct Timespec
    {
        public long Seconds;
        public long Nanoseconds;
    }

    [StructLayout(LayoutKind.Sequential, Size = 144)]
    private struct Rusage
    {
        public long UserSeconds;
        public long UserMicroseconds;
        public long SystemSeconds;
        public long SystemMicroseconds;
    }
}
