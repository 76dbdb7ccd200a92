// A whole Debian 12 user land on an ext4 disk: its own init, a login, real programs, a clean shutdown, and a
// file system that fsck finds clean. The image is made once per run by tests/guests/make-debian-rootfs.

using System;
using System.Diagnostics;
using System.IO;
using System.Security.Cryptography;
using Xunit;

namespace Lhype.GuestTests;

/// <summary>Makes the disk image, and deletes it after the tests.</summary>
public class DebianDisk : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("lhype-debian-").FullName;

    public DebianDisk()
        : this("i386", "sysvinit")
    {
    }

    protected DebianDisk(string architecture, string init)
    {
        Image = Path.Combine(_directory, "debian.img");
        string script = Path.Combine(GuestProgram.SourceTree, "tests", "guests", "make-debian-rootfs");
        (int status, string output) = Run(script, Image, architecture, init);
        Assert.True(status == 0, $"{script} failed:\n{output}");
    }

    /// <summary>The pristine image.</summary>
    public string Image { get; }

    /// <summary>A copy that a test may write to.</summary>
    public string Copy()
    {
        string copy = Path.Combine(_directory, Path.GetRandomFileName());
        File.Copy(Image, copy);
        return copy;
    }

    public void Dispose()
    {
        Directory.Delete(_directory, recursive: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Runs a program of the host and returns its status and everything it said.</summary>
    internal static (int Status, string Output) Run(string program, params string[] arguments)
    {
        ProcessStartInfo start = new("/bin/sh", ["-c", "exec \"$@\" 2>&1", "sh", program, .. arguments])
        {
            RedirectStandardOutput = true,
            RedirectStandardInput = true,
        };
        start.Environment["PATH"] = Environment.GetEnvironmentVariable("PATH") + ":/usr/sbin:/sbin";
        using Process process = Process.Start(start)!;
        process.StandardInput.Close();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output);
    }
}

/// <summary>Tests that share one disk image.</summary>
[CollectionDefinition(Name)]
public sealed class DebianCollection : ICollectionFixture<DebianDisk>
{
    public const string Name = "Debian";
}

[Collection(DebianCollection.Name)]
public sealed class DebianTests(DebianDisk disk)
{
    internal static readonly string Threads =
        "perl -Mthreads -e 'print join(\"+\", map { $_->join } map { my $n = $_; threads->create("
        + "sub { my $s = 0; $s += $_ * $n for 1..50000; $s }) } 1..4), \"\\n\"'";

    internal static readonly string FloatingPoint =
        "perl -e 'my $s = 0; $s += 1 / ($_ * $_) for 1..20000; printf \"%.9f %.9f %.9f\\n\", "
        + "$s, atan2(1, 1) * 4, exp(1)'";

    // Sends each line back to front, one per connection; returns when it listens.
    private const string ReversingServer =
        "perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalPort => 7, Listen => 5) or die; "
        + "fork and exit; "
        + "while ($c = $s->accept) { chomp($l = <$c>); print $c scalar reverse $l; close $c }'";

    [Fact]
    public void Debian_boots_works_and_leaves_a_clean_disk()
    {
        string image = disk.Copy();
        using DebianGuest guest =
            DebianGuest.Boot("run", "-m", "512M", "-d", image, "--", "root=/dev/vda", "rw");
        Assert.Contains("apt 2.", guest.Command("apt-get --version"), StringComparison.Ordinal);
        Assert.Contains("1250025000+2500050000+3750075000+5000100000", guest.Command(Threads),
            StringComparison.Ordinal);
        Assert.Contains("1.644884068 3.141592654 2.718281828", guest.Command(FloatingPoint),
            StringComparison.Ordinal);
        Assert.Contains("0e10426a1d5bddffcef02f1345787128",
            guest.Command("seq 200000 | sort --parallel=4 -R | sort -n | md5sum"), StringComparison.Ordinal);
        Assert.Contains("/dev/vda on / type ext4", guest.Command("mount"), StringComparison.Ordinal);
        guest.Command("echo kept >/root/kept");
        guest.PowerOff();

        (int status, string report) = DebianDisk.Run("e2fsck", "-fn", image);
        Assert.True(status == 0, report);
        Assert.Contains("kept", DebianDisk.Run("debugfs", "-R", "cat /root/kept", image).Output,
            StringComparison.Ordinal);
    }

    [Fact]
    public void With_a_snapshot_the_disk_stays_as_it_was()
    {
        byte[] before = Hash(disk.Image);
        using DebianGuest guest = DebianGuest.Boot(
            "run", "-m", "512M", "-d", disk.Image, "--snapshot", "--", "root=/dev/vda", "rw");
        guest.Command("dd if=/dev/urandom of=/root/noise bs=1M count=20; sync");
        guest.PowerOff();
        Assert.Equal(before, Hash(disk.Image));
    }

    [Fact]
    public void The_power_button_shuts_Debian_down_in_good_order()
    {
        string image = disk.Copy();
        string name = $"button-{Environment.ProcessId}";
        using DebianGuest guest = DebianGuest.Boot(
            "run", "--name", name, "-m", "512M", "-d", image, "--", "root=/dev/vda", "rw");
        guest.Command("echo kept >/root/kept");
        (int stopped, _, string error) = GuestSession.Run("stop", name);
        Assert.True(stopped == 0, error);
        Assert.Equal(0, guest.Session.Wait());
        (int status, string report) = DebianDisk.Run("e2fsck", "-fn", image);
        Assert.True(status == 0, report);
        Assert.Contains("kept", DebianDisk.Run("debugfs", "-R", "cat /root/kept", image).Output,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Debian_reaches_the_host_s_loopback_and_answers_on_a_forwarded_port()
    {
        byte[] page = RandomNumberGenerator.GetBytes(4 << 20);
        using LoopbackServer server = new(page);
        int port = LoopbackServer.FreePort();
        using DebianGuest guest = DebianGuest.Boot("run", "-m", "512M", "-d", disk.Image, "--snapshot",
            "--net", $"user,hostfwd=tcp:127.0.0.1:{port}-:7", "--", "root=/dev/vda", "rw");
        guest.Command("ifup eth0");
        Assert.Contains("inet 10.0.2.15/24", guest.Command("ip address show eth0"),
            StringComparison.Ordinal);

        // bash speaks TCP itself; sed drops the header of the answer.
        string get = $"exec 3<>/dev/tcp/10.0.2.2/{server.Port}; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; "
            + "sed '1,/^\\r$/d' <&3 | sha256sum; exec 3<&-";
        Assert.Contains(Convert.ToHexStringLower(SHA256.HashData(page)), guest.Command(get),
            StringComparison.Ordinal);

        guest.Command(ReversingServer);
        Assert.Equal("epyhl olleh"u8, LoopbackServer.Ask(port, "hello lhype\n"));
        guest.PowerOff();
    }

    private static byte[] Hash(string file)
    {
        using FileStream stream = File.OpenRead(file);
        return SHA256.HashData(stream);
    }
}
