// What is found on a disk: file systems by their superblocks, partitions by MBR (with logical ones) and GPT,
// and which partition is taken for the root.

using System;
using System.Linq;
using Lhype.Disks;
using Xunit;

namespace Lhype.Tests.Disks;

public sealed class DiskLayoutTests
{
    [Theory]
    [InlineData("ext2")]
    [InlineData("ext3")]
    [InlineData("ext4")]
    public void A_bare_ext_file_system_is_recognised(string type)
    {
        DiskLayout layout = TestDisks.Read(TestDisks.Ext(type, "a label", "/srv"));
        Assert.Equal(new FileSystem(type, "a?label", false), layout.FileSystem);
        Assert.Empty(layout.Partitions);
        Assert.Null(layout.Root);
    }

    [Fact]
    public void Xfs_and_btrfs_are_recognised()
    {
        Assert.Equal(new FileSystem("xfs", "disk", false), TestDisks.Read(TestDisks.Xfs("disk")).FileSystem);
        Assert.Equal(new FileSystem("btrfs", "pool", false), TestDisks.Read(TestDisks.Btrfs()).FileSystem);
    }

    [Fact]
    public void An_external_journal_is_no_file_system()
    {
        byte[] journal = TestDisks.Ext("ext4");
        journal[1024 + 0x60] |= 8;
        Assert.Null(TestDisks.Read(journal).FileSystem);
    }

    [Fact]
    public void Empty_and_short_disks_hold_nothing()
    {
        foreach (int length in (int[])[0, 1, 511, 512, 1024, 2047, 1 << 20])
        {
            DiskLayout layout = TestDisks.Read(new byte[length]);
            Assert.Null(layout.FileSystem);
            Assert.Empty(layout.Partitions);
        }
    }

    [Fact]
    public void Mbr_partitions_have_the_kernel_s_numbers()
    {
        byte[] disk = TestDisks.Mbr(new byte[4096], null, TestDisks.Ext("ext2"), null, TestDisks.Ext("ext3"),
            TestDisks.Xfs("x"));
        DiskLayout layout = TestDisks.Read(disk);
        Assert.Equal([1, 3, 4, 5, 6], layout.Partitions.Select(part => part.Number));
        Assert.Equal([null, "ext2", null, "ext3", "xfs"],
            layout.Partitions.Select(part => part.FileSystem?.Type));
    }

    [Fact]
    public void A_circle_of_logical_partitions_ends()
    {
        byte[] disk = TestDisks.Mbr(null, null, null, null, TestDisks.Ext("ext4"), TestDisks.Ext("ext4"));

        // The second record links to the second record: 8 sectors of space and 8 of content behind the first.
        int second = (64 + 16) * TestDisks.Sector;
        disk.AsSpan(64 * TestDisks.Sector + 0x1BE + 16, 16).CopyTo(disk.AsSpan(second + 0x1BE + 16));
        Assert.InRange(TestDisks.Read(disk).Partitions.Count, 3, 100);
    }

    [Fact]
    public void Gpt_partitions_have_their_numbers_and_types()
    {
        DiskLayout layout = TestDisks.Read(TestDisks.Gpt((TestDisks.LinuxData, new byte[4096]),
            (Guid.Empty, new byte[4096]), (TestDisks.LinuxRoot, TestDisks.Btrfs())));
        Assert.Equal([1, 3], layout.Partitions.Select(part => part.Number));
        Assert.Equal([false, true], layout.Partitions.Select(part => part.IsRootType));
        Assert.Equal(3, layout.Root!.Number);
    }

    [Fact]
    public void The_root_is_what_the_table_says_or_what_was_mounted_there_or_the_only_choice()
    {
        byte[] other = TestDisks.Ext("ext4", "data", "/home");
        byte[] root = TestDisks.Ext("ext4", "system", "/");
        Assert.Equal(2, TestDisks.Read(TestDisks.Mbr(new byte[4096], other)).Root!.Number);
        Assert.Equal(2, TestDisks.Read(TestDisks.Mbr(other, root, other)).Root!.Number);
        Assert.Null(TestDisks.Read(TestDisks.Mbr(other, other)).Root);
        Assert.Null(TestDisks.Read(TestDisks.Mbr(root, root)).Root);
        Assert.Null(TestDisks.Read(TestDisks.Mbr(new byte[4096])).Root);
        byte[] gpt = TestDisks.Gpt((TestDisks.LinuxRoot, other), (TestDisks.LinuxData, root));
        Assert.Equal(1, TestDisks.Read(gpt).Root!.Number);
    }
}
