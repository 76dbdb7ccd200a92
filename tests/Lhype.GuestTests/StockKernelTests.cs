// Stock Debian kernels in a busybox initramfs: they boot, take commands, and leave as a user expects.

using System;
using System.IO;
using System.Linq;
using System.Security.Cryptography;
using Xunit;

namespace Lhype.GuestTests;

public sealed class StockKernelTests
{
    [Theory]
    [InlineData("debian-i386", "256M")]
    [InlineData("debian-i386", "1G")]
    [InlineData("debian-i386-pae", "256M")]
    [InlineData("debian-i386-pae", "1G")]
    [InlineData("debian-i386-pae", "5G")]
    [InlineData("debian-amd64", "256M")]
    [InlineData("debian-amd64", "5G")]
    [InlineData("debian-amd64-generic", "256M")]
    [InlineData("debian-amd64-generic", "5G")]
    public void A_stock_kernel_boots_to_a_shell_and_powers_off(string image, string memory)
    {
        using GuestSession guest = GuestSession.Start("run", image, "-m", memory);
        guest.Expect(GuestSession.Prompt);
        Assert.Contains("Linux 6.1", guest.Command("uname -sr"), StringComparison.Ordinal);

        // Most of the memory is there: the kernel and its reserves take less than 64 MiB, its page structures
        // a sixty-fourth, and a 64-bit kernel sets 64 MiB aside for devices that cannot reach above 4 GiB.
        string[] free =
            guest.Command("grep MemTotal /proc/meminfo").Split(' ', StringSplitOptions.RemoveEmptyEntries);
        long wanted = memory switch { "5G" => 5L << 20, "1G" => 1 << 20, _ => 256 << 10 };
        Assert.InRange(long.Parse(free[1]), wanted - (64 << 10) - (wanted / 32), wanted);

        // Arithmetic, pipes, processes and the file system of the guest.
        Assert.Contains("5050", guest.Command("seq 100 | awk '{ s += $1 } END { print s }'"),
            StringComparison.Ordinal);
        Assert.Contains("e3b0c44298fc1c149afbf4c8996fb924", guest.Command("sha256sum /dev/null"),
            StringComparison.Ordinal);
        Assert.Contains("2.718281828",
            guest.Command("echo 'e(1)' | bc -l || awk 'BEGIN { print exp(1) }' OFMT=%.9f"),
            StringComparison.Ordinal);
        guest.Type("poweroff -f\r");
        Assert.Equal(0, guest.Wait());
    }

    [Theory]
    [InlineData("debian-i386")]
    [InlineData("debian-i386-pae")]
    [InlineData("debian-amd64")]
    [InlineData("debian-amd64-generic")]
    public void The_kernel_log_has_no_complaint_about_the_machine(string image)
    {
        using GuestSession guest = GuestSession.Start("run", image);
        guest.Expect(GuestSession.Prompt);
        string log = guest.Command("dmesg");
        string[] bad =
        [
            "BUG", "WARNING", "Oops", "Call Trace", "ACPI Error", "ACPI BIOS Error", "spurious",
                "nobody cared",
            "Clocksource tsc unstable", "lost interrupt", "rcu_sched", "soft lockup", "timer interrupt not",
        ];
        Assert.DoesNotContain(log.Split('\n'), line =>
            bad.Any(word => line.Contains(word, StringComparison.Ordinal)));
        guest.Type("poweroff -f\r");
        Assert.Equal(0, guest.Wait());
    }

    [Theory]
    [InlineData("debian-i386", true)]
    [InlineData("debian-i386-pae", true)]
    [InlineData("debian-amd64", false)]
    [InlineData("debian-amd64-generic", false)]
    public void A_profile_names_the_functions_of_a_stock_kernel(string image, bool hasFramePointers)
    {
        string file = Path.Combine(Path.GetTempPath(), $"lhype-profile-{Guid.NewGuid():N}");
        try
        {
            using GuestSession guest = GuestSession.Start("run", image, "--profile", file);
            guest.Expect(GuestSession.Prompt);
            guest.Type("poweroff -f\r");
            Assert.Equal(0, guest.Wait());

            // Every boot goes through these, in this order and for long.
            string folded = File.ReadAllText(file + ".folded");
            Assert.Contains("kernel;", folded, StringComparison.Ordinal);
            if (hasFramePointers)
            {
                Assert.Contains("start_kernel;", folded, StringComparison.Ordinal);
                Assert.Contains("kernel_init_freeable;", folded, StringComparison.Ordinal);
            }

            Assert.DoesNotContain(folded.TrimEnd('\n').Split('\n'),
                line => !long.TryParse(line.Split(' ')[^1], out long weight) || weight <= 0);
            string text = File.ReadAllText(file);
            Assert.Contains("kallsyms", text, StringComparison.Ordinal);
            Assert.Contains("translated code, kernel mode", text, StringComparison.Ordinal);
            Assert.Contains("\n  wrmsr ", text, StringComparison.Ordinal);
            Assert.Contains("\n  hlt ", text, StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(file);
            File.Delete(file + ".folded");
        }
    }

    [Fact]
    public void Time_passes_in_the_guest_as_on_the_host()
    {
        using GuestSession guest = GuestSession.Start("run");
        guest.Expect(GuestSession.Prompt);
        long before = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        long shown = long.Parse(guest.Command("date +%s").Trim());
        Assert.InRange(shown, before - 2, DateTimeOffset.UtcNow.ToUnixTimeSeconds() + 2);
        long started = Environment.TickCount64;
        guest.Command("sleep 2");
        Assert.True(Environment.TickCount64 - started >= 1900, "sleep 2 in the guest took less than 1.9 s");
        guest.Type("exit\r");
        Assert.Equal(0, guest.Wait());
    }

    [Fact]
    public void Ctrl_C_reaches_the_guest_and_the_terminal_is_restored()
    {
        using GuestSession guest = GuestSession.StartOnTerminal("run");
        guest.Expect(GuestSession.Prompt);
        // Printed by the process to be interrupted: the shell's own echo comes before it has the terminal.
        guest.Type("sh -c 'echo begin; exec sleep 1000'\r");
        guest.Expect("\nbegin");
        guest.Type("\x03");
        guest.Expect("^C");
        guest.Expect(GuestSession.Prompt);
        Assert.Contains("130", guest.Command("echo $?"), StringComparison.Ordinal);
        guest.Type("poweroff -f\r");
        Assert.Equal(0, guest.Wait());
    }

    [Fact]
    public void Ctrl_A_x_leaves_at_any_time()
    {
        using GuestSession early = GuestSession.StartOnTerminal("run");
        early.Expect("engine");
        early.Type("\x01x");
        int early_status = early.Wait();

        using GuestSession late = GuestSession.StartOnTerminal("run");
        late.Expect(GuestSession.Prompt);
        late.Type("yes > /dev/null\r\x01");
        late.Type("x");
        Assert.Equal(early_status, late.Wait());
    }

    [Fact]
    public void A_guest_that_reboots_or_panics_ends_the_run()
    {
        using GuestSession reboot = GuestSession.Start("run", "--no-reboot");
        reboot.Expect(GuestSession.Prompt);
        reboot.Type("reboot -f\r");
        Assert.Equal(0, reboot.Wait());
    }

    [Fact]
    public void Standard_output_is_the_guest_s_and_standard_error_ours()
    {
        using GuestSession guest = GuestSession.Start("run");
        guest.Expect(GuestSession.Prompt);
        guest.Type("poweroff -f\r");
        Assert.Equal(0, guest.Wait());
        Assert.DoesNotContain("lhype: ",
            guest.Output.Replace(GuestSession.Prompt, "", StringComparison.Ordinal),
            StringComparison.Ordinal);
        Assert.Contains("engine translator", guest.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("debian-i386", "256M")]
    [InlineData("debian-amd64", "256M")]
    [InlineData("debian-amd64", "5G")]
    [InlineData("debian-amd64-generic", "256M")]
    [InlineData("debian-amd64-generic", "5G")]
    public void Twenty_boots_in_a_row_never_hang(string image, string memory)
    {
        string script = "lhype.test=1";
        for (int boot = 0; boot < 20; boot++)
        {
            using GuestSession guest = GuestSession.Start(
                "run", image, "-m", memory, "-q", "--timeout", "100", "--", script);
            guest.Expect(GuestSession.Prompt);
            guest.Type("poweroff -f\r");
            Assert.Equal(0, guest.Wait());
        }
    }

    [Theory]
    [InlineData("debian-i386")]
    [InlineData("debian-amd64")]
    public void A_kernel_that_the_host_cannot_unpack_unpacks_itself(string image)
    {
        (_, string config, _) = GuestSession.Run("run", image, "--dry-run");
        string[] files = [.. config.Split('\n').Where(line => line.Contains(image, StringComparison.Ordinal)
            && line.Contains('/')).Select(line => line.Trim(' ', ',', '"').Split('"')[^1])];
        GuestSession.Start("run", image, "--timeout", "0.1").Wait();
        string kernel = Path.GetTempFileName();
        try
        {
            // Without payload_length (boot.rst) nobody but the kernel knows where its packed part is.
            byte[] bytes = File.ReadAllBytes(files[0]);
            bytes.AsSpan(0x24C, 4).Clear();
            File.WriteAllBytes(kernel, bytes);
            using GuestSession guest = GuestSession.Start("run", kernel, "-i", files[1]);
            guest.Expect(GuestSession.Prompt);
            guest.Type("poweroff -f\r");
            Assert.Equal(0, guest.Wait());
            Assert.Contains("unpacks itself", guest.Error, StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(kernel);
        }
    }

    [Fact]
    public void A_disk_keeps_what_the_guest_writes_unless_it_is_a_snapshot()
    {
        string disk = Path.GetTempFileName();
        try
        {
            using (FileStream file = File.OpenWrite(disk))
            {
                file.SetLength(8 << 20);
            }

            byte[] fresh = File.ReadAllBytes(disk);
            WriteFromGuest(disk, "--snapshot");
            Assert.Equal(fresh, File.ReadAllBytes(disk));

            WriteFromGuest(disk);
            byte[] written = File.ReadAllBytes(disk);
            Assert.Equal("hello disk"u8.ToArray(), written[4096..(4096 + 10)]);

            using GuestSession reader = GuestSession.Start("run", "-d", disk + ",ro,id=data");
            reader.Expect(GuestSession.Prompt);
            Assert.Contains("data", reader.Command("cat /sys/block/vda/serial; echo"),
                StringComparison.Ordinal);
            Assert.Contains("1", reader.Command("cat /sys/block/vda/ro"), StringComparison.Ordinal);
            Assert.Contains("hello disk",
                reader.Command("dd if=/dev/vda bs=4096 skip=1 count=1 2>/dev/null | head -c 10"),
                StringComparison.Ordinal);
            reader.Type("poweroff -f\r");
            Assert.Equal(0, reader.Wait());
        }
        finally
        {
            File.Delete(disk);
        }
    }

    [Theory]
    [InlineData("debian-i386-pae")]
    [InlineData("debian-amd64")]
    public void Memory_above_four_gibibytes_keeps_what_programs_and_disks_put_there(string image)
    {
        string disk = Path.GetTempFileName();
        try
        {
            byte[] content = new byte[64 << 20];
            new Random(20061122).NextBytes(content);
            File.WriteAllBytes(disk, content);
            using GuestSession guest =
                GuestSession.Start("run", image, "-m", "5G", "-d", disk + ",ro", "--", "root=");
            guest.Expect(GuestSession.Prompt);

            // More files than there is memory below 4 GiB, each with other content: the disk's, once less
            // and seven times whole, each copy shifted by the first.
            guest.Command("mkdir /m; mount -t tmpfs -o size=4G m /m; dd if=/dev/vda of=/b bs=1M count=16");
            guest.Command("f() { dd if=/b bs=97 count=$1 2>/dev/null; cat /b /b /b /b /b /b /b; }");
            guest.Command("n=$(seq 31); for i in $n; do f $i > /m/$i; done");
            Assert.InRange(int.Parse(guest.Command("ls /m | wc -l")), 31, 31);
            guest.Command("g() { [ \"$(f $1 | md5sum)\" = \"$(md5sum < /m/$1)\" ] || echo differs; }");
            Assert.DoesNotContain("differs", guest.Command("for i in $n; do g $i; done; echo compared"),
                StringComparison.Ordinal);
            Assert.Contains(Convert.ToHexStringLower(SHA256.HashData(content)),
                guest.Command("sha256sum /dev/vda"), StringComparison.Ordinal);
            guest.Type("poweroff -f\r");
            Assert.Equal(0, guest.Wait());
        }
        finally
        {
            File.Delete(disk);
        }
    }

    private static void WriteFromGuest(string disk, params string[] options)
    {
        using GuestSession guest = GuestSession.Start(["run", "-d", disk, .. options]);
        guest.Expect(GuestSession.Prompt);
        guest.Command("echo 'hello disk' | dd of=/dev/vda bs=4096 seek=1 conv=sync 2>/dev/null; sync");
        guest.Type("poweroff -f\r");
        Assert.Equal(0, guest.Wait());
    }
}
