// The quickstart of 2006 with a stock Debian kernel: a disk, 32 MiB, one netfile. The kernel is given as a
// file whose drivers are modules, as a user's copy of /boot/vmlinuz would be.

using System;
using System.Buffers.Binary;
using System.IO;
using System.Linq;
using Xunit;

namespace Lhype.GuestTests;

[Collection(DebianCollection.Name)]
public sealed class AddTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("lhype-add-").FullName;

    // Two numbers that no other guest of this user is likely to have.
    private readonly int _id = Random.Shared.Next(2000, 32000) * 2;
    private readonly DebianDisk _disk;
    private readonly string _kernel;

    public AddTests(DebianDisk disk)
    {
        _disk = disk;
        _kernel = Path.Combine(_directory, "vmlinux");
        File.Copy(ImageKernel(), _kernel);
    }

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public void The_line_of_2006_boots_a_disk_with_32M_and_threads_keep_their_storage()
    {
        string disk = _disk.Copy();
        AddThreadProgram(disk);
        using DebianGuest guest =
            DebianGuest.Boot("add", "32M", $"{_id}", _kernel, disk, NetFile(), "root=/dev/lhba");
        string error = guest.Session.Error;
        Assert.Contains("root=/dev/lhba is /dev/vda here", error, StringComparison.Ordinal);
        Assert.Contains("vmlinux is the kernel of debian-i386", error, StringComparison.Ordinal);
        Assert.Contains("/dev/vda on / type ext4 (rw", guest.Command("mount"), StringComparison.Ordinal);
        Assert.Contains($"02:00:{_id >> 8:x2}:{_id & 0xFF:x2}:00:00", guest.Command("ip link show eth0"),
            StringComparison.Ordinal);
        Assert.Contains("tls ok: 8 threads", guest.Command("/root/tls-threads"), StringComparison.Ordinal);
        guest.PowerOff();
    }

    [Fact]
    public void The_root_of_a_partitioned_disk_is_found()
    {
        string disk = Partitioned();
        using DebianGuest guest =
            DebianGuest.Boot("add", "64", $"{_id}", "debian-i386", disk, "--snapshot", "rw");
        Assert.Contains("disk.mbr is partitioned; its root is /dev/vda2 (ext4, labelled debian).",
            guest.Session.Error, StringComparison.Ordinal);
        Assert.Contains("/dev/vda2 on / type ext4 (rw", guest.Command("mount"), StringComparison.Ordinal);
        guest.PowerOff();
    }

    [Fact]
    public void Guests_on_one_netfile_talk_and_outlive_each_other()
    {
        string net = NetFile();
        using DebianGuest one = Boot(1, net);
        using (DebianGuest two = Boot(2, net))
        {
            Assert.Contains("3 packets received", one.Command("busybox ping -c 3 192.168.19.2"),
                StringComparison.Ordinal);
            two.Command("mkdir /tmp/www; head -c 20000000 /dev/urandom >/tmp/www/file");
            two.Command("busybox httpd -p 80 -h /tmp/www");
            string sum = two.Command("md5sum </tmp/www/file").Trim();
            string got = one.Command("busybox wget -q -O - http://192.168.19.2/file | md5sum").Trim();
            Assert.Equal(sum, got);
            (int status, string output, string error) =
                GuestSession.Run("add", "64M", $"{_id + 1}", _kernel, "ro");
            Assert.True(status == 1 && error.Contains("running already", StringComparison.Ordinal),
                output + error);
        }

        // The second one was killed. Another takes its place.
        using DebianGuest again = Boot(2, net);
        Assert.Contains("3 packets received", again.Command("busybox ping -c 3 192.168.19.1"),
            StringComparison.Ordinal);
        again.PowerOff();
        one.PowerOff();
    }

    [Fact]
    public void Too_little_memory_is_named_as_the_reason()
    {
        using GuestSession guest = GuestSession.Start("add", "32M", $"{_id}", "debian-i386");
        guest.Expect(GuestSession.Prompt);
        guest.Command("sysctl -w vm.panic_on_oom=1");
        guest.Type("tail /dev/zero\r");
        Assert.Equal(3, guest.Wait());
        Assert.Contains("memory was too small", guest.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void A_kernel_whose_modules_are_nowhere_is_told_of()
    {
        byte[] kernel = File.ReadAllBytes(_kernel);

        // Another version text than the one of the image.
        int release = kernel.AsSpan().IndexOf("6.1.0-"u8);
        kernel[release + 2] = (byte)'7';
        File.WriteAllBytes(_kernel, kernel);
        string disk = Path.Combine(_directory, "disk");
        File.WriteAllBytes(disk, new byte[1 << 20]);
        (_, _, string error) = GuestSession.Run("add", "64M", $"{_id}", _kernel, disk, "ro", "--dry-run");
        Assert.Contains("vmlinux has no driver for its disk built in", error, StringComparison.Ordinal);
    }

    [Fact]
    public void A_program_called_lhype_add_is_lhype_add()
    {
        string link = Path.Combine(_directory, "lhype_add");
        File.CreateSymbolicLink(link, GuestProgram.Path);
        (int status, string output) = DebianDisk.Run(link, "32M", "5", _kernel, "--dry-run");
        Assert.Equal(0, status);
        Assert.Contains("\"name\": \"vmlinux-5\"", output, StringComparison.Ordinal);
    }

    private DebianGuest Boot(int number, string net)
    {
        DebianGuest guest = DebianGuest.Boot("add", "64M", $"{_id + number - 1}", _kernel, _disk.Image, net,
            "root=/dev/lhba", "--snapshot");
        guest.Command($"ip address add 192.168.19.{number}/24 dev eth0; ip link set eth0 up");
        return guest;
    }

    private string NetFile()
    {
        string file = Path.Combine(_directory, "netfile");
        File.WriteAllBytes(file, new byte[4096]);
        return file;
    }

    private static string ImageKernel()
    {
        (int status, _, string error) = GuestSession.Run(
            "run", "debian-i386", "--append", "lhype.test", "--timeout", "0.1");
        Assert.True(status == 4, error);
        (_, string config, _) = GuestSession.Run("run", "debian-i386", "--dry-run");
        string[] lines = config.Split('\n');
        return lines.First(line => line.Contains("\"kernel\"", StringComparison.Ordinal)).Split('"')[3];
    }

    private void AddThreadProgram(string disk)
    {
        string source = Path.Combine(GuestProgram.SourceTree, "tests", "guests", "tls-threads.c");
        string program = Path.Combine(_directory, "tls-threads");
        string library = Path.Combine(_directory, "libtls.so");
        Succeeds("gcc", "-m32", "-O1", "-pthread", "-o", program, source);
        Succeeds("gcc", "-m32", "-O1", "-shared", "-fPIC", "-DLIBRARY", "-o", library, source);
        Succeeds("debugfs", "-w", "-R", $"write {program} /root/tls-threads", disk);
        Succeeds("debugfs", "-w", "-R", $"write {library} /root/libtls.so", disk);
    }

    private static void Succeeds(params string[] command)
    {
        (int status, string output) = DebianDisk.Run(command[0], command[1..]);
        Assert.True(status == 0, output);
    }

    /// <summary>The Debian disk as second partition of a disk with an MBR; the first is for
    /// swapping.</summary>
    private string Partitioned()
    {
        const int sector = 512, first = 2048, second = 8192;
        string disk = Path.Combine(_directory, "disk.mbr");
        using FileStream image = File.OpenRead(_disk.Image);
        using FileStream output = File.Create(disk);
        byte[] record = new byte[sector];
        Entry(record, 0, 0x82, first, second - first);
        Entry(record, 1, 0x83, second, (uint)(image.Length / sector));
        record[510] = 0x55;
        record[511] = 0xAA;
        output.Write(record);
        output.Position = second * sector;
        image.CopyTo(output);
        return disk;
    }

    private static void Entry(byte[] record, int index, byte type, uint start, uint length)
    {
        Span<byte> entry = record.AsSpan(0x1BE + (index * 16), 16);
        entry[4] = type;
        BinaryPrimitives.WriteUInt32LittleEndian(entry[8..], start);
        BinaryPrimitives.WriteUInt32LittleEndian(entry[12..], length);
    }
}
