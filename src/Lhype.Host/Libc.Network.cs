// Libc: tap interfaces (linux/if.h, linux/if_tun.h).

using System.Runtime.InteropServices;

namespace Lhype.Host;

internal static unsafe partial class Libc
{
    internal const int IFNAMSIZ = 16;
    internal const short IFF_TAP = 2, IFF_NO_PI = 0x1000, IFF_VNET_HDR = 0x4000;
    internal const ulong TUNSETIFF = 0x4004_54CA, TUNSETOFFLOAD = 0x4004_54D0;
    internal const ulong SIOCGIFFLAGS = 0x8913, SIOCSIFFLAGS = 0x8914, SIOCSIFADDR = 0x8916,
        SIOCGIFINDEX = 0x8933, SIOCBRADDIF = 0x89A2;
    internal const short IFF_UP = 1, AF_INET = 2;

    /// <summary>struct ifreq with its flags, 40 bytes.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct ifreq_t
    {
        internal fixed byte name[IFNAMSIZ];
        internal short flags;
        internal fixed byte rest[22];
    }

    [LibraryImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    internal static partial int device_ioctl(int fd, ulong request, void* argument);
}
