// --net user with a stock kernel and busybox: the guest gets its address, reaches the host's loopback through
// the gateway, answers on forwarded ports, and does so again after a reset.

using System;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using Xunit;

namespace Lhype.GuestTests;

public sealed class UserNetworkTests
{
    [Fact]
    public void A_guest_loads_a_page_from_the_host_and_serves_it_on_a_forwarded_port()
    {
        byte[] page = RandomNumberGenerator.GetBytes(8 << 20);
        using LoopbackServer server = new(page);
        int port = LoopbackServer.FreePort();
        using GuestSession guest = Boot("run", "--net", $"user,hostfwd=tcp:127.0.0.1:{port}-:80");
        Assert.Contains("default via 10.0.2.2", guest.Command("ip route"), StringComparison.Ordinal);
        Assert.Contains("10.0.2.3", guest.Command("cat /etc/resolv.conf"), StringComparison.Ordinal);
        guest.Command($"wget -q -O /tmp/page http://10.0.2.2:{server.Port}/");
        Assert.Contains(Convert.ToHexStringLower(SHA256.HashData(page)),
            guest.Command("sha256sum /tmp/page"), StringComparison.Ordinal);

        guest.Command("httpd -p 80 -h /tmp");
        byte[] answer = LoopbackServer.Ask(port, "GET /page HTTP/1.0\r\n\r\n");
        Assert.True(answer.AsSpan().EndsWith(page), $"{answer.Length} bytes came back, not the page");
        PowerOff(guest);
    }

    [Fact]
    public void The_forwarded_port_leads_to_the_guest_again_after_a_reset()
    {
        int port = LoopbackServer.FreePort();
        using GuestSession guest = Boot("run", "--net", $"user,hostfwd=tcp:127.0.0.1:{port}-:80",
            "--no-auto-cmdline", "--append", "console=ttyS0");
        AnswersAsWebServer(guest, port);
        guest.Type("reboot -f\r");
        guest.Expect(GuestSession.Prompt);
        WaitForAddress(guest);
        AnswersAsWebServer(guest, port);
        PowerOff(guest);
    }

    [Fact]
    public void A_port_in_use_is_an_error_with_option_and_port()
    {
        using TcpListener taken = new(IPAddress.Loopback, 0);
        taken.Start();
        int port = ((IPEndPoint)taken.LocalEndpoint).Port;
        (int status, _, string error) =
            GuestSession.Run("run", "--net", $"user,hostfwd=tcp:127.0.0.1:{port}-:22");
        Assert.Equal(1, status);
        Assert.EndsWith($"lhype: --net user,hostfwd=tcp:127.0.0.1:{port}-:22: TCP port {port} of the host is "
            + "in use; choose another.\n", error, StringComparison.Ordinal);
    }

    private static GuestSession Boot(params string[] arguments)
    {
        GuestSession guest = GuestSession.Start(arguments);
        guest.Expect(GuestSession.Prompt);
        WaitForAddress(guest);
        return guest;
    }

    private static void WaitForAddress(GuestSession guest) =>
        guest.Command("until ip address show eth0 | grep 10.0.2.15/24; do sleep 0.1; done");

    private static void AnswersAsWebServer(GuestSession guest, int port)
    {
        guest.Command("httpd -p 80 -h /etc");
        string answer = System.Text.Encoding.ASCII.GetString(
            LoopbackServer.Ask(port, "GET /passwd HTTP/1.0\r\n\r\n"));
        Assert.Contains("root::0:0:root:/root:/bin/sh", answer, StringComparison.Ordinal);
    }

    private static void PowerOff(GuestSession guest)
    {
        guest.Type("poweroff -f\r");
        Assert.Equal(0, guest.Wait());
    }
}
