// Libc: what only the user network (SlirpStack) needs.

using System.Runtime.InteropServices;

namespace Lhype.Host;

internal static unsafe partial class Libc
{
    internal const short POLLPRI = 2, POLLERR = 8, POLLHUP = 16;
    internal const int EADDRINUSE = 98, EADDRNOTAVAIL = 99;
    internal const int RLIMIT_NOFILE = 7;

    [StructLayout(LayoutKind.Sequential)]
    internal struct rlimit_t
    {
        internal ulong rlim_cur;
        internal ulong rlim_max;
    }

    [LibraryImport("libc")]
    internal static partial int getrlimit(int resource, rlimit_t* limit);
}
