// Libc: terminals. struct termios is the C library's on x86-64.

using System.Runtime.InteropServices;

namespace Lhype.Host;

internal static unsafe partial class Libc
{
    internal const int TCSANOW = 0, TCSADRAIN = 1;
    internal const ulong TIOCGWINSZ = 0x5413;

    [StructLayout(LayoutKind.Sequential)]
    internal struct termios_t
    {
        internal uint c_iflag;
        internal uint c_oflag;
        internal uint c_cflag;
        internal uint c_lflag;
        internal byte c_line;
        internal fixed byte c_cc[32];
        internal uint c_ispeed;
        internal uint c_ospeed;
    }

    [StructLayout(LayoutKind.Sequential)]
    internal struct winsize_t
    {
        internal ushort ws_row;
        internal ushort ws_col;
        internal ushort ws_xpixel;
        internal ushort ws_ypixel;
    }

    [LibraryImport("libc")]
    internal static partial int isatty(int fd);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int tcgetattr(int fd, termios_t* attributes);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int tcsetattr(int fd, int actions, termios_t* attributes);

    [LibraryImport("libc")]
    internal static partial void cfmakeraw(termios_t* attributes);

    [LibraryImport("libc")]
    internal static partial int tcgetpgrp(int fd);

    [LibraryImport("libc")]
    internal static partial int getpgrp();

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int ioctl(int fd, ulong request, winsize_t* size);
}
