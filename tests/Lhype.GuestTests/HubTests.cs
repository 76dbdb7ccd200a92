// Stock Debian guests on one netfile: they reach each other, one is killed in the middle of a transfer and
// comes back, and the file is damaged under them.

using System;
using System.IO;
using System.Linq;
using System.Threading;
using Xunit;

namespace Lhype.GuestTests;

public sealed class HubTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("lhype-hub-").FullName;

    private string NetFile => Path.Combine(_directory, "netfile");

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public void Two_guests_ping_each_other_and_move_data()
    {
        // As the quickstart of 2006 made it: dd if=/dev/zero of=netfile bs=1024 count=4
        File.WriteAllBytes(NetFile, new byte[4096]);
        string capture = Path.Combine(_directory, "one.pcap");
        using GuestSession one = Start(1, "--pcap", capture);
        using GuestSession two = Start(2);
        Boot(one, two);
        Assert.Contains("02:00:00:01:00:00", one.Command("cat /sys/class/net/eth0/address"),
            StringComparison.Ordinal);
        AssertReaches(one, 2);
        AssertReaches(two, 1);
        Transfer(one, two, megabytes: 8);
        Transfer(two, one, megabytes: 2);
        PowerOff(one, two);

        // Nanosecond pcap, with at least the data in it, whole records to the end.
        byte[] bytes = File.ReadAllBytes(capture);
        Assert.Equal(0xA1B23C4Du, BitConverter.ToUInt32(bytes));
        int at = 24;
        while (at < bytes.Length)
        {
            at += 16 + BitConverter.ToInt32(bytes, at + 8);
        }

        Assert.Equal(bytes.Length, at);
        Assert.InRange(at, 10 << 20, 20 << 20);
    }

    [Fact]
    public void Of_five_guests_one_is_killed_and_comes_back_and_the_others_go_on()
    {
        GuestSession[] guests = [.. Enumerable.Range(1, 5).Select(number => Start(number))];
        try
        {
            Boot(guests);
            for (int number = 2; number <= 5; number++)
            {
                AssertReaches(guests[0], number);
                AssertReaches(guests[number - 1], (number % 5) + 1);
            }

            // Guest 3 takes all it can get from guest 1, and dies of it.
            guests[0].Command("nc -ll -p 5000 -e sh -c 'cat /dev/zero 2>/dev/null' &");
            guests[2].Command("nc 10.0.0.1 5000 </dev/null >/dev/null &");
            int looks = 0;
            while (Received(guests[2]) < 1 << 20)
            {
                Assert.True(++looks < 100, guests[2].Output);
                Thread.Sleep(100);
            }

            guests[2].Dispose();
            AssertReaches(guests[0], 2);
            Transfer(guests[3], guests[4], megabytes: 2);
            Transfer(guests[0], guests[1], megabytes: 2);

            guests[2] = Start(3);
            Boot(guests[2]);
            AssertReaches(guests[2], 5);
            AssertReaches(guests[4], 3);
            Transfer(guests[0], guests[2], megabytes: 2);
            PowerOff(guests);
        }
        finally
        {
            foreach (GuestSession guest in guests)
            {
                guest.Dispose();
            }
        }
    }

    [Fact]
    public void A_netfile_truncated_or_scribbled_over_stops_no_guest()
    {
        using GuestSession one = Start(1);
        using GuestSession two = Start(2);
        Boot(one, two);
        AssertReaches(one, 2);

        // Rings full of noise: frames are lost, and then it works again.
        using (FileStream file = new(NetFile, FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
        {
            byte[] noise = new byte[file.Length - 16384];
            new Random(1).NextBytes(noise);
            file.Position = 16384;
            file.Write(noise);
        }

        one.Command("ping -c 1 -w 1 10.0.0.2");
        two.Command("ping -c 1 -w 1 10.0.0.1");
        AssertReaches(one, 2);
        AssertReaches(two, 1);

        // No hub any more: reported once, and both live on without a network.
        using (FileStream file = new(NetFile, FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
        {
            file.SetLength(4096);
        }

        Assert.Contains("100% packet loss", one.Command("ping -c 2 -w 2 10.0.0.2"), StringComparison.Ordinal);
        two.Command("ping -c 2 -w 2 10.0.0.1");
        Assert.Contains("0", one.Command("cat /sys/class/net/eth0/carrier"), StringComparison.Ordinal);
        PowerOff(one, two);
        Assert.Equal(2, one.Error.Split("netfile is broken").Length);
        Assert.Equal(2, two.Error.Split("netfile is broken").Length);
    }

    [Fact]
    public void The_same_address_twice_is_refused()
    {
        using GuestSession one = Start(1);
        Boot(one);
        (int status, _, string error) = GuestSession.Run("run", "--name", "another", "--net",
            $"hub={NetFile},mac=02:00:00:01:00:00");
        Assert.Equal(1, status);
        Assert.Contains("02:00:00:01:00:00 is on it already", error, StringComparison.Ordinal);
        PowerOff(one);
    }

    private GuestSession Start(int number, params string[] options) => GuestSession.Start(
    [
        "run", "--name", $"{number}", "-m", "96M", "--net", $"hub={NetFile}", .. options,
        "--", $"ip=10.0.0.{number}/24",
    ]);

    private static void Boot(params GuestSession[] guests)
    {
        foreach (GuestSession guest in guests)
        {
            guest.Expect(GuestSession.Prompt);
        }
    }

    private static void PowerOff(params GuestSession[] guests)
    {
        foreach (GuestSession guest in guests)
        {
            guest.Type("poweroff -f\r");
            Assert.Equal(0, guest.Wait());
        }
    }

    private static void AssertReaches(GuestSession guest, int number) => Assert.Contains(
        "3 packets received", guest.Command($"ping -c 3 -i 0.1 10.0.0.{number}"), StringComparison.Ordinal);

    /// <summary>Serves random bytes from one guest to another and compares their checksums.</summary>
    private static void Transfer(GuestSession from, GuestSession to, int megabytes)
    {
        from.Command($"dd if=/dev/urandom of=/tmp/data bs=1M count={megabytes}");
        from.Command("pidof httpd || httpd -p 80 -h /tmp");
        string address = from.Command("ip -4 -o address show eth0 | grep -o '10[.0-9]*'").Split('\n')[0];
        string sum = from.Command("md5sum /tmp/data");
        to.Command($"wget -q -O /tmp/data http://{address}/data");
        Assert.Equal(sum, to.Command("md5sum /tmp/data"));
        to.Command("rm /tmp/data");
        from.Command("rm /tmp/data");
    }

    private static long Received(GuestSession guest)
    {
        // The shell may have something to say about a job before it.
        string printed = guest.Command("cat /sys/class/net/eth0/statistics/rx_bytes").Trim();
        return long.Parse(printed.Split('\n')[^1]);
    }
}
