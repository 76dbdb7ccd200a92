// 64-bit guests beyond their boot: a whole Debian with systemd on a disk, 32-bit programs on a 64-bit kernel,
// and programs whose results depend on every register being kept while the CPU is taken away from them.

using System;
using System.IO;
using Xunit;

namespace Lhype.GuestTests;

/// <summary>The disk of <see cref="Amd64Tests"/>.</summary>
public sealed class Amd64Disk() : DebianDisk("amd64", "systemd");

public sealed class Amd64Tests(Amd64Disk disk) : IClassFixture<Amd64Disk>, IDisposable
{
    private const string Rounds = "5000";

    private readonly string _directory = Directory.CreateTempSubdirectory("lhype-amd64-test-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public void Debian_with_systemd_boots_works_and_leaves_a_clean_disk()
    {
        string image = disk.Copy();
        string wide = Build("-m64"), narrow = Build("-m32");
        Succeeds("debugfs", "-w", "-R", $"write {wide} /root/preempt-64", image);
        Succeeds("debugfs", "-w", "-R", $"write {narrow} /root/preempt-32", image);
        using DebianGuest guest = DebianGuest.Boot(
            "run", "debian-amd64", "-m", "512M", "-d", image, "--", "root=/dev/vda", "rw");
        Assert.Contains("running", guest.Command("systemctl is-system-running --wait"),
            StringComparison.Ordinal);
        Assert.Contains("x86_64", guest.Command("uname -m"), StringComparison.Ordinal);
        Assert.Contains("apt 2.6.1 (amd64)", guest.Command("apt-get --version"), StringComparison.Ordinal);
        Assert.Contains("1250025000+2500050000+3750075000+5000100000", guest.Command(DebianTests.Threads),
            StringComparison.Ordinal);
        Assert.Contains("1.644884068 3.141592654 2.718281828", guest.Command(DebianTests.FloatingPoint),
            StringComparison.Ordinal);
        guest.Command("chmod 755 /root/preempt-*; echo kept >/root/kept");
        foreach (string program in (string[])[wide, narrow])
        {
            string name = Path.GetFileName(program);
            Assert.Contains(Succeeds(program, "sse2", Rounds).Trim(),
                guest.Command($"/root/{name} sse2 {Rounds}"), StringComparison.Ordinal);
        }

        guest.PowerOff();
        (int status, string report) = DebianDisk.Run("e2fsck", "-fn", image);
        Assert.True(status == 0, report);
        Assert.Contains("kept", DebianDisk.Run("debugfs", "-R", "cat /root/kept", image).Output,
            StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("debian-i386", "-m32", "base", "sse2")]
    [InlineData("debian-amd64", "-m32", "base", "sse2")]
    [InlineData("debian-amd64", "-m64", "base", "sse2")]
    [InlineData("debian-amd64-generic", "-m64", "base", "sse2")]
    [InlineData("debian-i386", "-m32", "v3", "avx2")]
    [InlineData("debian-amd64", "-m32", "v3", "avx2")]
    [InlineData("debian-amd64", "-m64", "v3", "avx2")]
    [InlineData("debian-amd64", "-m64", "v3", "sse2")]
    [InlineData("debian-amd64", "-m64", "host", "avx2")]
    public void Threads_keep_their_registers_when_the_CPU_is_taken_from_them(
        string image, string target, string cpu, string vectors)
    {
        if (cpu is "v3" or "host" && !HostHasAvx2)
        {
            // There is nothing to run: the host says no to v3.
            using GuestSession refused = GuestSession.Start("run", image, "--cpu", "v3");
            Assert.Equal(1, refused.Wait());
            return;
        }

        string program = Build(target);
        string expected = Succeeds(program, vectors, Rounds).Trim();
        RunAsDisk(image, cpu, program, guest =>
        {
            for (int time = 0; time < 3; time++)
            {
                Assert.Contains(expected, guest.Command($"/p {vectors} {Rounds}"), StringComparison.Ordinal);
            }
        });
    }

    /// <summary>Threads, floating point, signals: see tests/guests/compute.c.</summary>
    [Theory]
    [InlineData("debian-i386", "-m32")]
    [InlineData("debian-amd64", "-m32")]
    [InlineData("debian-amd64", "-m64")]
    [InlineData("debian-amd64-generic", "-m64")]
    public void Programs_print_what_they_print_on_the_host(string image, string target)
    {
        string program = Build(target, "compute");
        string[] expected = Succeeds(program).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.True(expected.Length > 15);
        RunAsDisk(image, "base", program, guest =>
        {
            string[] found = guest.Command("/p").Split('\n', StringSplitOptions.TrimEntries);
            Assert.All(expected, line => Assert.Contains(line, found));
        });
    }

    /// <summary>Boots an image in memory with the program as its /p: it comes as a disk.</summary>
    private static void RunAsDisk(string image, string cpu, string program, Action<GuestSession> test)
    {
        using (FileStream file = File.OpenWrite(program))
        {
            file.SetLength((file.Length + 511) & ~511L);
        }

        using GuestSession guest = GuestSession.Start(
            "run", image, "--cpu", cpu, "-d", program + ",ro", "--", "root=");
        guest.Expect(GuestSession.Prompt);
        guest.Command("cat /dev/vda >/p; chmod 755 /p");
        test(guest);
        guest.Type("poweroff -f\r");
        Assert.Equal(0, guest.Wait());
    }

    private static bool HostHasAvx2 => File.ReadAllText("/proc/cpuinfo").Contains(
        " avx2 ", StringComparison.Ordinal);

    private string Build(string target, string name = "preempt")
    {
        string source = Path.Combine(GuestProgram.SourceTree, "tests", "guests", name + ".c");
        string program = Path.Combine(_directory, $"{name}-{target[2..]}");
        Succeeds("gcc", target, "-O2", "-msse2", "-mfpmath=sse", "-ffp-contract=off", "-static", "-pthread",
            "-o", program, source, "-lm");
        return program;
    }

    private static string Succeeds(params string[] command)
    {
        (int status, string output) = DebianDisk.Run(command[0], command[1..]);
        Assert.True(status == 0, output);
        return output;
    }
}
