// Libc: users, sessions, and who owns a file. struct stat is the C library's on x86-64.

using System.Runtime.InteropServices;

namespace Lhype.Host;

internal static unsafe partial class Libc
{
    internal const int O_WRONLY = 1, O_DIRECTORY = 0x1_0000, O_NOFOLLOW = 0x2_0000;
    internal const int ENOENT = 2, EEXIST = 17, ENOTDIR = 20, ELOOP = 40;

    [StructLayout(LayoutKind.Sequential)]
    internal struct stat_t
    {
        internal ulong st_dev;
        internal ulong st_ino;
        internal ulong st_nlink;
        internal uint st_mode;
        internal uint st_uid;
        internal uint st_gid;
        private fixed ulong _rest[15];
    }

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int fstat(int fd, stat_t* status);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int mkdir(string path, uint mode);

    [LibraryImport("libc")]
    internal static partial uint geteuid();

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int setsid();

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int dup2(int from, int to);
}
