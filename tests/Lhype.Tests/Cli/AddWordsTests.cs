// lhype add: which word is what, what it settles on, and the sentence for each mistake.

using System;
using System.IO;
using System.Linq;
using Lhype.Cli;
using Lhype.Images;
using Lhype.Machine;
using Xunit;

namespace Lhype.Tests.Cli;

public sealed class AddWordsTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("lhype-test-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public void The_line_of_2006_means_what_it_meant()
    {
        string disk = Touch("linux.img");
        string net = Touch("netfile");
        MachineConfig config = Settle("add", "32M", "1", "/v/vmlinux", disk, net, "root=/dev/sda", "single");
        Assert.Equal(32UL << 20, config.MemoryBytes);
        Assert.Equal("1", config.Id);
        Assert.Equal("vmlinux-1", config.Name);
        Assert.Equal("/v/vmlinux", config.Kernel);
        Assert.Equal(disk, Assert.Single(config.Disks).File);
        NetworkConfig card = Assert.Single(config.Networks);
        Assert.Equal(NetworkKind.Hub, card.Kind);
        Assert.Equal(net, card.Target);
        Assert.Equal("root=/dev/sda single", config.Append);
    }

    [Fact]
    public void Kernel_arguments_begin_with_the_first_word_that_is_no_file()
    {
        string disk = Touch("a=b");
        string later = Touch("later");
        AddWords words = AddWords.Parse(["64", "0", "k", disk, "quiet", later], ["--tail"]);
        Assert.Equal(64UL << 20, words.MemoryBytes);
        Assert.Equal(disk, words.Disk);
        Assert.Null(words.NetFile);
        Assert.Equal(["quiet", later, "--tail"], words.KernelArguments);

        words = AddWords.Parse(["1G", "65535", "k", "rw", disk], []);
        Assert.Null(words.Disk);
        Assert.Equal(["rw", disk], words.KernelArguments);
    }

    [Theory]
    [InlineData("MEMORY is missing")]
    [InlineData("ID is missing", "32M")]
    [InlineData("KERNEL is missing", "32M", "1")]
    [InlineData("MEMORY 'many'", "many", "1", "k")]
    [InlineData("ID 'x'", "32M", "x", "k")]
    [InlineData("ID '-1'", "32M", "-1", "k")]
    [InlineData("ID '65536'", "32M", "65536", "k")]
    [InlineData("no disk 'nosuch.img'", "32M", "1", "k", "nosuch.img")]
    [InlineData("no netfile 'nosuch'", "32M", "1", "k", "/etc/passwd", "nosuch")]
    [InlineData("'--frobnicate'", "32M", "1", "k", "--frobnicate")]
    [InlineData("'-m'", "-m", "32M", "1", "k")]
    [InlineData("--block", "32M", "1", "k", "--block")]
    public void Mistakes_are_one_sentence(string expected, params string[] words)
    {
        UsageException error = Assert.Throws<UsageException>(() => Invoke(["add", .. words]));
        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', error.Message);
        Assert.EndsWith(".", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Options_may_stand_anywhere_and_come_behind_the_words_of_their_kind()
    {
        string disk = Touch("linux.img");
        MachineConfig config =
            Settle("add", "-v", "32M", "--disk", "/second", "1", "k", disk, "--name", "mine", "ro");
        Assert.Equal([disk, "/second"], config.Disks.Select(one => one.File));
        Assert.Equal("mine", config.Name);
        Assert.Equal("ro", config.Append);
        Assert.Equal(1, config.Verbosity);
    }

    [Theory]
    [InlineData("run")]
    [InlineData("add", "64", "7")]
    public void Names_of_lguest_are_understood_in_their_order(string command, params string[] words)
    {
        MachineConfig config = Settle([command, "--block=/a,b", "--sharenet", "/n,1", "--block", "/c",
            "--rng", "--initrd=/i", "--verbose", "--disk", "/d,ro", .. words, "/v/vmlinux"]);
        Assert.Equal(["/a,b", "/c", "/d"], config.Disks.Select(one => one.File));
        Assert.Equal("/n,1", Assert.Single(config.Networks).Target);
        Assert.Equal(["/i"], config.Initrds);
        Assert.Equal(1, config.Verbosity);
    }

    [Theory]
    [InlineData("192.168.19.1", "192.168.19.1", null, null)]
    [InlineData("192.168.19.1:2:0:0:0:0:9", "192.168.19.1", null, "02:00:00:00:00:09")]
    [InlineData("bridge:br0", null, "br0", null)]
    [InlineData("bridge:br0:02:00:00:00:00:09", null, "br0", "02:00:00:00:00:09")]
    public void Tunnet_is_a_tap_interface_with_address_or_bridge(
        string value, string? address, string? bridge, string? mac)
    {
        NetworkConfig card = Assert.Single(Settle("run", "--tunnet=" + value, "/v/vmlinux").Networks);
        Assert.Equal((NetworkKind.Tap, null, address, bridge, mac),
            (card.Kind, card.Target, card.HostAddress, card.Bridge, card.Mac));
    }

    [Theory]
    [InlineData("--tunnet=host")]
    [InlineData("--tunnet=bridge:")]
    [InlineData("--tunnet=::1")]
    [InlineData("--tunnet=192.168.19.1:nonsense")]
    public void Tunnet_refuses_what_is_neither(string option) =>
        Assert.Throws<UsageException>(() => Invoke(["run", option, "/v/vmlinux"]));

    private string Touch(string name)
    {
        string file = Path.Combine(_directory, name);
        File.WriteAllText(file, "");
        return file;
    }

    private static MachineConfig Settle(params string[] arguments) =>
        MachineConfig.FromJson(Invoke([arguments[0], "--dry-run", .. arguments[1..]]), "test");

    private static string Invoke(string[] arguments)
    {
        using StringWriter output = new() { NewLine = "\n" };
        int run(MachineConfig config) => throw new InvalidOperationException("nothing may run here");
        _ = new CommandLine(output, run, new ImageStore("/nonexistent/cache")).Invoke(arguments);
        return output.ToString();
    }
}
