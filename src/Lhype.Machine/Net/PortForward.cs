// The rule of --net user,hostfwd=RULE: tcp:[HOSTADDRESS]:PORT-[GUESTADDRESS]:PORT, as QEMU writes it. Parsed
// by UserNetwork when a machine is built.

using System;
using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Lhype.Host;

namespace Lhype.Machine.Net;

/// <summary>Reads forwarding rules.</summary>
public static class PortForward
{
    /// <summary>Reads <paramref name="rule"/>. No protocol is <c>tcp</c>, no host address is every address of
    /// the host, no guest address the one the guest gets by DHCP. Throws LhypeException.</summary>
    public static SlirpForward Parse(string rule)
    {
        int dash = rule.IndexOf('-', StringComparison.Ordinal);
        string[] host = dash < 0 ? [] : rule[..dash].Split(':');
        string[] guest = dash < 0 ? [] : rule[(dash + 1)..].Split(':');
        if (host.Length != 3 || guest.Length != 2 || host[0] is not ("tcp" or "udp" or ""))
        {
            throw new LhypeException($"--net user,hostfwd={rule} is not a rule like "
                + "tcp:127.0.0.1:2222-:22 (protocol, address and port of the host, address and port of the "
                + "guest).");
        }

        return new SlirpForward(host[0] == "udp", Address(rule, host[1]), Port(rule, host[2]),
            Address(rule, guest[0]), Port(rule, guest[1]), rule);
    }

    private static uint Address(string rule, string text)
    {
        if (text.Length == 0)
        {
            return 0;
        }

        // IPAddress also takes "1" and "0x7f.1".
        return text.Split('.').Length == 4 && IPAddress.TryParse(text, out IPAddress? address)
            && address.AddressFamily == AddressFamily.InterNetwork
            ? BinaryPrimitives.ReadUInt32LittleEndian(address.GetAddressBytes())
            : throw new LhypeException(
                $"--net user,hostfwd={rule}: '{text}' is not an IPv4 address; write one like 127.0.0.1.");
    }

    private static ushort Port(string rule, string text) =>
        ushort.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out ushort port) && port != 0
            ? port
            : throw new LhypeException(
                $"--net user,hostfwd={rule}: '{text}' is not a port; ports are 1 to 65535.");
}
