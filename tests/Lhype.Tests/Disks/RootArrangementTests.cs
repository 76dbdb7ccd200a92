// How kernel, disks and root= come together: names of other hypervisors, root partitions, and where the
// drivers of a stock kernel come from. Kernels and disks are made up; what they do in a guest is for the
// guest tests.

using System;
using System.Collections.Generic;
using System.IO;
using System.Text;
using System.Text.Json;
using Lhype.Disks;
using Lhype.Images;
using Lhype.Machine;
using Lhype.Tests.Machine.Boot;
using Xunit;

namespace Lhype.Tests.Disks;

public sealed class RootArrangementTests : IDisposable
{
    private static readonly byte[] TwoParts = TestDisks.Mbr(new byte[4096], TestDisks.Ext("ext4", "system"));

    private readonly string _directory = Directory.CreateTempSubdirectory("lhype-test-").FullName;
    private readonly List<string> _said = [];

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Theory]
    [InlineData("root=/dev/lhba", "root=/dev/vda")]
    [InlineData("a root=/dev/lgbb2 ro", "a root=/dev/vdb2 ro")]
    [InlineData("root=/dev/lhba -- root=/dev/lhba", "root=/dev/vda -- root=/dev/lhba")]
    public void Old_names_become_the_driver_s(string given, string expected)
    {
        Assert.Equal(expected, Arrange(given, Kernel("virtio_blk"), TestDisks.Ext("ext4")).Append);
        Assert.Contains("here: the guest's own driver calls the disk so.", Assert.Single(_said),
            StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("root=/dev/vda")]
    [InlineData("root=LABEL=lhba")]
    [InlineData("root=/dev/lhba1x")]
    [InlineData("root=/dev/lhb")]
    [InlineData("init=\"/dev/lhba  x\"")]
    public void Other_words_stay_as_they_are(string given)
    {
        Assert.Equal(given, Arrange(given, Kernel("virtio_blk"), TestDisks.Ext("ext4")).Append);
        Assert.Empty(_said);
    }

    [Fact]
    public void A_kernel_of_lguest_s_first_days_has_its_own_name()
    {
        MachineConfig config = Arrange("root=/dev/lhba1", Kernel("GenuineLguest"), TestDisks.Ext("ext4"));
        Assert.Equal("root=/dev/lgba1", config.Append);
        Assert.Equal("/dev/lgba", Arrange("", Kernel("GenuineLguest"), TestDisks.Ext("ext4")).Root);
    }

    [Fact]
    public void The_root_partition_is_found_and_told()
    {
        MachineConfig config = Arrange("", Kernel("virtio_blk"), TwoParts);
        Assert.Equal("/dev/vda2", config.Root);
        Assert.Equal("disk0 is partitioned; its root is /dev/vda2 (ext4, labelled system).",
            Assert.Single(_said));
        Assert.Equal("root=/dev/vda2", Arrange("root=/dev/lhba", Kernel("virtio_blk"), TwoParts).Append);
        Assert.Equal("root=/dev/vda1", Arrange("root=/dev/lhba1", Kernel("virtio_blk"), TwoParts).Append);
        Assert.Equal("root=/dev/vdb2",
            Arrange("root=/dev/vdb", Kernel("virtio_blk"), TestDisks.Ext("ext4"), TwoParts).Append);
    }

    [Fact]
    public void Without_a_choice_the_user_is_asked()
    {
        byte[] disk = TestDisks.Mbr(TestDisks.Ext("ext4", "one"), TestDisks.Xfs("two"));
        Assert.Null(Arrange("", Kernel("virtio_blk"), disk).Root);
        Assert.Contains("/dev/vda1 (ext4, labelled one), /dev/vda2 (xfs, labelled two)", Assert.Single(_said),
            StringComparison.Ordinal);
    }

    [Fact]
    public void Without_our_command_line_nothing_of_it_changes()
    {
        MachineConfig config = Config("root=/dev/lhba", Kernel("virtio_blk"), TwoParts) with
        {
            AutoCommandLine = false,
        };
        Assert.Equal("root=/dev/lhba", Arrangement().Arrange(config).Append);
    }

    [Fact]
    public void A_kernel_of_unknown_origin_is_told_of_unless_its_driver_is_built_in()
    {
        MachineConfig config = Arrange("", Kernel("nothing"), TestDisks.Ext("ext4"));
        Assert.Empty(config.Initrds);
        Assert.Contains("no driver for its disk built in (virtio_blk)", Assert.Single(_said),
            StringComparison.Ordinal);
        _said.Clear();
        Arrange("", Kernel("virtio_blk"), TestDisks.Ext("ext4"));
        Assert.Empty(_said);
    }

    [Fact]
    public void A_copy_of_an_image_s_kernel_gets_the_image_s_initial_ram_disks()
    {
        string kernel = Kernel("nothing");
        string image = Path.Combine(_directory, "cache", "images", "debian-i386");
        Directory.CreateDirectory(image);
        foreach (string name in (string[])["initrd.img", "xfs.img", "btrfs.img", "busybox"])
        {
            File.WriteAllText(Path.Combine(image, name), name);
        }

        File.Copy(kernel, Path.Combine(image, "vmlinuz"));
        ImageFacts facts = new("9.8.7-test", "1", Initramfs.Recipe, []);
        File.WriteAllText(Path.Combine(image, "image.json"),
            JsonSerializer.Serialize(facts, ImageFactsJson.Default.ImageFacts));

        MachineConfig config = Arrange("", kernel, TestDisks.Ext("ext4"), TestDisks.Xfs("data"));
        Assert.Equal([Path.Combine(image, "initrd.img"), Path.Combine(image, "xfs.img")], config.Initrds);
        Assert.Contains("is the kernel of debian-i386", Assert.Single(_said), StringComparison.Ordinal);
    }

    [Fact]
    public void An_installed_kernel_gets_drivers_from_the_modules_beside_it()
    {
        string boot = Path.Combine(_directory, "boot");
        string modules = Path.Combine(_directory, "lib", "modules", "9.8.7-test");
        Directory.CreateDirectory(boot);
        Directory.CreateDirectory(modules);
        File.WriteAllBytes(Path.Combine(modules, "virtio_blk.ko"), [1, 2, 3]);
        string kernel = Path.Combine(boot, "vmlinuz");
        File.Copy(Kernel("nothing"), kernel);
        Arrange("", kernel, TestDisks.Ext("ext4"));
        Assert.Contains("'lhype images pull debian-i386'", Assert.Single(_said), StringComparison.Ordinal);
        _said.Clear();

        string image = Path.Combine(_directory, "cache", "images", "debian-i386");
        Directory.CreateDirectory(image);
        File.WriteAllText(Path.Combine(image, "busybox"), "busybox");
        MachineConfig config = Arrange("", kernel, TestDisks.Ext("ext4"));
        Assert.Equal($"vmlinuz gets its drivers from {modules}.", Assert.Single(_said));
        string archive = File.ReadAllText(Assert.Single(config.Initrds), Encoding.Latin1);
        Assert.Contains("lib/modules/9.8.7-test/virtio_blk.ko", archive, StringComparison.Ordinal);
        Assert.Contains("bin/busybox", archive, StringComparison.Ordinal);
    }

    private RootArrangement Arrangement() =>
        new(new ImageStore(Path.Combine(_directory, "cache")), _said.Add);

    private MachineConfig Arrange(string append, string kernel, params byte[][] disks)
    {
        _said.Clear();
        return Arrangement().Arrange(Config(append, kernel, disks));
    }

    private MachineConfig Config(string append, string kernel, params byte[][] disks)
    {
        List<DiskConfig> configs = [];
        foreach (byte[] disk in disks)
        {
            string file = Path.Combine(_directory, $"disk{configs.Count}");
            File.WriteAllBytes(file, disk);
            configs.Add(new DiskConfig { File = file });
        }

        return new MachineConfig { Kernel = kernel, Append = append, Disks = configs };
    }

    /// <summary>A bzImage whose kernel holds <paramref name="text"/> as a C string.</summary>
    private string Kernel(string text)
    {
        byte[] elf = TestImages.Elf32();
        Encoding.ASCII.GetBytes($"\0{text}\0", elf.AsSpan(200));
        string file = Path.Combine(_directory, "vmlinuz");
        File.WriteAllBytes(file, TestImages.BzImage(TestImages.Gzip(elf)));
        return file;
    }
}
