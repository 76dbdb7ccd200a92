// libslirp (Debian: libslirp0), a TCP/IP stack in user space that turns a guest's connections into sockets of
// this process. Its functions and structures as of configuration version 1, which every version since 4.1
// understands; C names kept. Called only by SlirpStack. The library is loaded when --net user is asked for.

using System.Runtime.InteropServices;

namespace Lhype.Host;

internal static unsafe partial class SlirpLibrary
{
    internal const string FileName = "libslirp.so.0";
    internal const uint ConfigVersion = 1;

    internal const int SLIRP_POLL_IN = 1, SLIRP_POLL_OUT = 2, SLIRP_POLL_PRI = 4, SLIRP_POLL_ERR = 8,
        SLIRP_POLL_HUP = 16;

    /// <summary>struct SlirpConfig. Addresses are in network byte order, zero pointers mean "none".</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct SlirpConfig
    {
        internal uint version;
        internal int restricted;
        internal byte in_enabled;
        internal uint vnetwork;
        internal uint vnetmask;
        internal uint vhost;
        internal byte in6_enabled;
        internal In6Addr vprefix_addr6;
        internal byte vprefix_len;
        internal In6Addr vhost6;
        internal byte* vhostname;
        internal byte* tftp_server_name;
        internal byte* tftp_path;
        internal byte* bootfile;
        internal uint vdhcp_start;
        internal uint vnameserver;
        internal In6Addr vnameserver6;
        internal byte** vdnssearch;
        internal byte* vdomainname;
        internal nuint if_mtu;
        internal nuint if_mru;
        internal byte disable_host_loopback;
        internal byte enable_emu;
    }

    /// <summary>struct in6_addr.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct In6Addr
    {
        internal fixed uint words[4];
    }

    /// <summary>struct SlirpCb. The last argument of each function is the "opaque" of slirp_new.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct SlirpCb
    {
        internal delegate* unmanaged[Cdecl]<byte*, nuint, nint, nint> send_packet;
        internal delegate* unmanaged[Cdecl]<byte*, nint, void> guest_error;
        internal delegate* unmanaged[Cdecl]<nint, long> clock_get_ns;
        internal delegate* unmanaged[Cdecl]<nint, nint, nint, nint> timer_new;
        internal delegate* unmanaged[Cdecl]<nint, nint, void> timer_free;
        internal delegate* unmanaged[Cdecl]<nint, long, nint, void> timer_mod;
        internal delegate* unmanaged[Cdecl]<int, nint, void> register_poll_fd;
        internal delegate* unmanaged[Cdecl]<int, nint, void> unregister_poll_fd;
        internal delegate* unmanaged[Cdecl]<nint, void> notify;
    }

    [LibraryImport(FileName)]
    internal static partial nint slirp_new(SlirpConfig* config, SlirpCb* callbacks, nint opaque);

    [LibraryImport(FileName)]
    internal static partial void slirp_cleanup(nint slirp);

    [LibraryImport(FileName)]
    internal static partial void slirp_pollfds_fill(nint slirp, uint* timeoutMs,
        delegate* unmanaged[Cdecl]<int, int, nint, int> add_poll, nint opaque);

    [LibraryImport(FileName)]
    internal static partial void slirp_pollfds_poll(nint slirp, int select_error,
        delegate* unmanaged[Cdecl]<int, nint, int> get_revents, nint opaque);

    [LibraryImport(FileName)]
    internal static partial void slirp_input(nint slirp, byte* frame, int length);

    [LibraryImport(FileName, SetLastError = true)]
    internal static partial int slirp_add_hostfwd(nint slirp, int is_udp, uint host_addr, int host_port,
        uint guest_addr, int guest_port);
}
