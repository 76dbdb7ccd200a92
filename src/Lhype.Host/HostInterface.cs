// Sets up a network interface of the host, as its administrator may (netdevice(7)): an address, a bridge, up.
// Called by Machine/Net/TapBackend for a tap interface that came without any.

using System;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Lhype.Host;

/// <summary>Requests to network interfaces.</summary>
public static unsafe class HostInterface
{
    /// <summary>Gives <paramref name="name"/> the IPv4 address <paramref name="address"/>, with the mask of
    /// its class, and brings it up. Throws LhypeException.</summary>
    public static void SetAddress(string name, IPAddress address)
    {
        // struct sockaddr_in: family, port, address.
        Libc.ifreq_t request = Named(name, Libc.AF_INET);
        Span<byte> bytes = new(request.rest + 2, 4);
        bool isIpv4 = address.TryWriteBytes(bytes, out int length) && length == bytes.Length;
        Invariant.Check(isIpv4, "an interface gets an IPv4 address");
        Send(Libc.SIOCSIFADDR, ref request, $"give {name} the address {address}");
        BringUp(name);
    }

    /// <summary>Makes <paramref name="name"/> a port of the host's bridge <paramref name="bridge"/> and
    /// brings it up. Throws LhypeException.</summary>
    public static void AddToBridge(string name, string bridge)
    {
        // The index takes the place of the flags, in both requests.
        Libc.ifreq_t index = Named(name, 0);
        Send(Libc.SIOCGIFINDEX, ref index, $"find {name}");
        Libc.ifreq_t request = Named(bridge, 0);
        new Span<byte>(&index.flags, sizeof(int)).CopyTo(new Span<byte>(&request.flags, sizeof(int)));
        Send(Libc.SIOCBRADDIF, ref request, $"connect {name} to the bridge {bridge}");
        BringUp(name);
    }

    private static void BringUp(string name)
    {
        Libc.ifreq_t request = Named(name, 0);
        Send(Libc.SIOCGIFFLAGS, ref request, $"bring {name} up");
        request.flags |= Libc.IFF_UP;
        Send(Libc.SIOCSIFFLAGS, ref request, $"bring {name} up");
    }

    private static Libc.ifreq_t Named(string name, short flags)
    {
        Libc.ifreq_t request = new() { flags = flags };
        if (!Encoding.UTF8.TryGetBytes(name, new Span<byte>(request.name, Libc.IFNAMSIZ - 1), out _))
        {
            throw new LhypeException($"The host's interface {name} cannot be: its name is too long.");
        }

        return request;
    }

    private static void Send(ulong code, ref Libc.ifreq_t request, string what)
    {
        using Socket socket = new(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        fixed (Libc.ifreq_t* pointer = &request)
        {
            if (Libc.device_ioctl((int)socket.Handle, code, pointer) != 0)
            {
                throw new LhypeException($"Cannot {what}: {Libc.Describe(Libc.Errno)}; set the interface up "
                    + "with 'ip' and use --net tap=NAME, or --net user, which needs no rights.");
            }
        }
    }
}
