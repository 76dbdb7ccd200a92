// The command line as a user meets it: what it settles on, which exit status and sentence wrong use gives,
// what help shows. No machine is run: the tests look at the configuration that would be.

using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using CsCheck;
using Lhype.Cli;
using Lhype.Host;
using Lhype.Images;
using Lhype.Machine;
using Lhype.Machine.Paravirt.Lguest;
using Xunit;

namespace Lhype.Tests.Cli;

public sealed class CommandLineTests
{
    private readonly ImageStore _store = new("/nonexistent/cache");

    [Fact]
    public void Run_alone_is_the_default_image_with_its_initramfs()
    {
        MachineConfig config = Settle("run");
        Assert.Equal("debian-amd64", config.Name);
        Assert.Equal("/nonexistent/cache/images/debian-amd64/vmlinuz", config.Kernel);
        Assert.Equal(["/nonexistent/cache/images/debian-amd64/initrd.img"], config.Initrds);
        Assert.Equal(MachineConfig.DefaultMemoryBytes, config.MemoryBytes);
        Assert.Equal("stdio", config.Serial);
        Assert.Equal("none", config.Console);
        Assert.True(config.AutoCommandLine);
    }

    [Fact]
    public void Short_and_long_options_mean_the_same()
    {
        MachineConfig shortForm = Settle(
            "run", "-k", "/v", "-i", "/a", "-i", "/b", "-p", "x=1", "-m", "1G", "-c", "1", "-d",
                "/disk,ro,id=root", "-v");
        MachineConfig longForm = Settle(
            "run", "/v", "--initrd=/a", "--initrd", "/b", "--cmdline", "x=1", "--mem=1024", "--smp", "1",
                "--disk",
            "/disk,id=root,ro", "--verbose");
        Assert.Equal(shortForm.ToJson(), longForm.ToJson());
        Assert.Equal(["/a", "/b"], shortForm.Initrds);
        Assert.Equal(1UL << 30, shortForm.MemoryBytes);
        Assert.Equal(new DiskConfig { File = "/disk", ReadOnly = true, Id = "root" },
            Assert.Single(shortForm.Disks));
        Assert.Equal(1, shortForm.Verbosity);
    }

    [Theory]
    [InlineData("E", LguestGeneration.E, false)]
    [InlineData("a", LguestGeneration.A, false)]
    [InlineData("D+pae", LguestGeneration.D, true)]
    public void A_dialect_implies_the_paravirtual_machine(string text, LguestGeneration generation, bool pae)
    {
        MachineConfig config = Settle("run", "/v", "--lguest-abi", text);
        Assert.Equal(BoardKind.Lhype, config.Machine);
        Assert.Equal(generation, config.LguestAbi);
        Assert.Equal(pae, config.LguestPae);
        Assert.Equal(config.ToJson(), MachineConfig.FromJson(config.ToJson(), "x").ToJson());
    }

    [Fact]
    public void Kernel_arguments_behind_the_separator_are_not_ours()
    {
        MachineConfig config =
            Settle("run", "/v", "--append", "one two", "--", "--help", "-m", "init=/bin/my sh", "--");
        Assert.Equal("one two --help -m init=\"/bin/my sh\" --", config.Append);
    }

    [Fact]
    public void Own_initrd_replaces_the_image_s()
    {
        Assert.Equal(["/mine"], Settle("run", "debian-i386-pae", "-i", "/mine").Initrds);
    }

    [Fact]
    public void Virtio_console_on_the_terminal_takes_it_from_the_serial_port()
    {
        MachineConfig config = Settle("run", "--console", "stdio");
        Assert.Equal("stdio", config.Console);
        Assert.Equal("none", config.Serial);
    }

    [Fact]
    public void Consoles_can_be_on_the_control_socket()
    {
        MachineConfig config = Settle("run", "--console", "socket", "--serial", "socket");
        Assert.Equal(("socket", "socket"), (config.Console, config.Serial));
        Assert.Equal("stdio", Settle("run", "--console", "socket").Serial);
    }

    [Fact]
    public void Detached_guests_are_not_on_the_terminal()
    {
        Assert.Equal(("socket", "none"), Consoles(Settle("run", "--detach")));
        Assert.Equal(("none", "socket"), Consoles(Settle("run", "--detach", "--serial", "none", "--console",
            "socket")));
        Assert.Equal(("/log", "none"), Consoles(Settle("run", "--detach", "--serial", "/log")));

        static (string, string) Consoles(MachineConfig config) => (config.Serial, config.Console);
    }

    [Fact]
    public void Only_a_name_the_user_chose_must_be_free()
    {
        Assert.True(Settle("run").AutoName);
        Assert.True(Settle("run", "/boot/vmlinuz").AutoName);
        Assert.False(Settle("run", "--name", "web").AutoName);
    }

    [Fact]
    public void Dry_run_output_reads_back_and_can_be_changed()
    {
        string file = Path.GetTempFileName();
        try
        {
            MachineConfig first =
                Settle("run", "/v", "-m", "64", "-d", "/d", "--timeout", "2.5", "--stats", "-p", "a");
            File.WriteAllText(file, first.ToJson());
            Assert.Equal(first.ToJson(), Settle("run", "--config", file).ToJson());

            MachineConfig changed = Settle("run", "--config", file, "-m", "128", "-p", "b");
            Assert.Equal(128UL << 20, changed.MemoryBytes);
            Assert.Equal("a b", changed.Append);
            Assert.Equal("/v", changed.Kernel);

            foreach (string bad in (string[])["\"kernel\": 3", "\"kernel\": \"/v\", \"cpus\": 2",
                "\"kernel\": \"/v\", \"memoryBytes\": 4096"])
            {
                File.WriteAllText(file, $"{{ {bad} }}");
                Assert.Throws<LhypeException>(() => Settle("run", "--config", file));
            }

            File.WriteAllText(file, "");
            Assert.Throws<LhypeException>(() => Settle("run", "--config", file));
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public void Network_cards_are_settled()
    {
        IReadOnlyList<NetworkConfig> cards = Settle("run", "/vmlinuz", "--net",
            "hub=/net,,file,mac=2:0:0:0:0:A,pcap=/a", "--net", "none", "--net", "tap=tap0", "--net",
            "user,hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=udp::53-:53").Networks;
        Assert.Equal(3, cards.Count);
        Assert.Equal((NetworkKind.Hub, "/net,file", "02:00:00:00:00:0a", "/a"),
            (cards[0].Kind, cards[0].Target, cards[0].Mac, cards[0].Pcap));
        Assert.Equal((NetworkKind.Tap, "tap0"), (cards[1].Kind, cards[1].Target));
        Assert.Equal(["tcp:127.0.0.1:2222-:22", "udp::53-:53"], cards[2].HostForwards);
        Assert.Equal("/b", Settle("run", "/vmlinuz", "--net", "user", "--pcap", "/b").Networks[0].Pcap);
        Assert.Empty(Settle("run", "/vmlinuz", "--net", "none").Networks);
    }

    [Theory]
    [InlineData("Say what to do")]
    [InlineData("'frobnicate'", "frobnicate")]
    [InlineData("'--frobnicate'", "run", "--frobnicate")]
    [InlineData("'--frobnicate'", "run", "/v", "--frobnicate")]
    [InlineData("'extra'", "run", "/v", "extra")]
    [InlineData("twice", "run", "/v", "-k", "/w")]
    [InlineData("-m", "run", "-m")]
    [InlineData("-m", "run", "-m", "1", "-m", "2")]
    [InlineData("--memory 'lots'", "run", "-m", "lots")]
    [InlineData("--memory '0'", "run", "-m", "0")]
    [InlineData("--memory '1K'", "run", "-m", "1K")]
    [InlineData("--memory", "run", "-m", "99999999999999999999")]
    [InlineData("--memory", "run", "-m", "9999999T")]
    [InlineData("one CPU", "run", "-c", "2")]
    [InlineData("--cpus 'x'", "run", "-c", "x")]
    [InlineData("'rw'", "run", "-d", "/disk,rw")]
    [InlineData("--disk", "run", "-d", ",ro")]
    [InlineData("--net 'bridge'", "run", "--net", "bridge")]
    [InlineData("--net", "run", "--net", "hub=")]
    [InlineData("--net", "run", "--net", "tap=a-name-longer-than-fifteen")]
    [InlineData("mac='01:00:00:00:00:00'", "run", "--net", "user,mac=01:00:00:00:00:00")]
    [InlineData("mac='2:3'", "run", "--net", "user,mac=2:3")]
    [InlineData("'hostfwd=x'", "run", "--net", "hub=/x,hostfwd=x")]
    [InlineData("'65536' is not a port", "run", "--net", "user,hostfwd=tcp::65536-:22")]
    [InlineData("needs a network card", "run", "--pcap", "/x")]
    [InlineData("which card", "run", "--pcap", "/x", "--net", "user", "--net", "hub=/y")]
    [InlineData("--cpu 'z80'", "run", "--cpu", "z80")]
    [InlineData("--machine 'vax'", "run", "--machine", "vax")]
    [InlineData("--lguest-abi 'G'", "run", "--lguest-abi", "G")]
    [InlineData("--lguest-abi 'E+pae'", "run", "--lguest-abi", "E+pae")]
    [InlineData("not possible yet", "run", "--engine", "kvm")]
    [InlineData("--engine", "run", "--engine", "tcg")]
    [InlineData("--name", "run", "--name", "../x")]
    [InlineData("--timeout", "run", "--timeout", "-1")]
    [InlineData("Only one", "run", "--serial", "stdio", "--console", "stdio")]
    [InlineData("--console 'x'", "run", "--console", "x")]
    [InlineData("--detach leaves", "run", "--detach", "--console", "stdio")]
    [InlineData("--detach leaves", "run", "--detach", "--serial", "stdio")]
    [InlineData("'stop'", "stop")]
    [InlineData("--timeout 'x'", "stop", "vm", "--timeout", "x")]
    [InlineData("'nothing'", "images", "pull", "nothing")]
    [InlineData("pull", "images", "pull")]
    [InlineData("kernel arguments", "images", "--", "x")]
    [InlineData("--initrd", "run", "-i", "")]
    public void Wrong_use_is_one_sentence(string expected, params string[] arguments)
    {
        UsageException error = Assert.Throws<UsageException>(() => Invoke(arguments));
        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', error.Message);
        Assert.EndsWith(".", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Sixty_four_bit_images_are_refused_on_32_bit_CPUs_before_anything_is_fetched()
    {
        LhypeException error =
            Assert.Throws<LhypeException>(() => Invoke("run", "debian-amd64", "--cpu", "pentium3"));
        Assert.Contains("64-bit", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--help")]
    [InlineData("run", "--help")]
    [InlineData("run", "-m", "lots", "--help")]
    [InlineData("images", "-h")]
    [InlineData("images", "pull", "--help")]
    [InlineData("list", "--help")]
    [InlineData("info", "--help")]
    [InlineData("console", "--help")]
    [InlineData("stop", "--help")]
    [InlineData("pause", "--help")]
    [InlineData("resume", "--help")]
    public void Help_has_examples(params string[] arguments)
    {
        (int status, string output) = Invoke(arguments);
        Assert.Equal(0, status);
        Assert.Contains("Examples:\n  lhype ", output, StringComparison.Ordinal);
    }

    [Fact]
    public void Help_names_every_option_of_the_contract()
    {
        string output = Invoke("run", "--help").Output;
        string[] options =
        [
            "--kernel", "-k", "--initrd", "-i", "--append", "-p", "--cmdline", "--no-auto-cmdline",
                "--memory", "-m",
            "--mem", "--cpus", "-c", "--smp", "--disk", "-d", "--snapshot", "--net", "--pcap", "--cpu",
                "--machine",
                "--engine",
            "--name", "--serial", "--console", "--debug-exit", "--dry-run", "--config", "--timeout",
                "--stats", "-q", "-v",
        ];
        Assert.All(options, option => Assert.Contains(option, output, StringComparison.Ordinal));
    }

    [Fact]
    public void Commands_for_people_are_shown_and_no_others()
    {
        string output = Invoke("--help").Output;
        Assert.All((string[])["run", "list", "info", "console", "stop", "pause", "resume", "images"], name =>
            Assert.Contains($"\n  {name} ", output, StringComparison.Ordinal));
        Assert.DoesNotContain("run-detached", output, StringComparison.Ordinal);
    }

    [Fact]
    public void A_CPU_without_long_mode_gets_the_32_bit_image() =>
        Assert.Equal("debian-i386", Settle("run", "--cpu", "pentium3").Name);

    [Fact]
    public void Images_are_listed_with_their_state()
    {
        (int status, string output) = Invoke("images");
        Assert.Equal(0, status);
        string[] lines = output.TrimEnd().Split('\n');
        Assert.Equal(1 + ImageCatalog.All.Count, lines.Length);
        Assert.StartsWith("debian-amd64 ", lines[1], StringComparison.Ordinal);
        Assert.All(lines.Skip(1), line => Assert.Contains(" no ", line, StringComparison.Ordinal));
    }

    [Fact]
    public void Version_is_one_line() =>
        Assert.Matches("^lhype [0-9]+\\.[0-9]+\\.[0-9]+\n$", Invoke("--version").Output);

    [Fact]
    public void Dry_run_shows_the_whole_kernel_command_line()
    {
        string all = Settle("run", "-k", "/missing", "-p", "debug").KernelCommandLine!;
        Assert.Contains("console=ttyS0", all, StringComparison.Ordinal);
        Assert.EndsWith(" debug", all, StringComparison.Ordinal);
        Assert.Equal("debug",
            Settle("run", "-k", "/missing", "-p", "debug", "--no-auto-cmdline").KernelCommandLine);
    }

    /// <summary>Whatever stands on the command line, it is refused with a sentence or settled; never a
    /// crash.</summary>
    [Theory]
    [InlineData("run")]
    [InlineData("add")]
    [InlineData("add", "64", "1", "/v")]
    public void Any_words_are_settled_or_refused(string command, params string[] first)
    {
        string[] words =
        [
            "run", "images", "pull", "--", "-", "-k", "-m", "-d", "--disk=", "1G", ",ro", "@file",
                "[suggest]", "-qv", "-m5",
            "--dry-run", "--cpus=1", "=", "", "é", "\0", "-p", "a b", "--append==", "--no-auto-cmdline",
                "true", "--serial", "64", "root=/dev/lhba", "--block", "--tunnet=1.2.3.4:", "--sharenet",
        ];
        Gen.Int[0, words.Length - 1].Array[0, 6].Sample(indices =>
        {
            List<string> arguments =
                [command, "--dry-run", .. first, .. indices.Select(index => words[index])];
            try
            {
                _ = Invoke([.. arguments]);
            }
            catch (UsageException error)
            {
                Assert.NotEmpty(error.Message);
            }
        }, iter: 2000, threads: 1);
    }

    private MachineConfig Settle(params string[] arguments)
    {
        List<string> all = [.. arguments];
        all.Insert(1, "--dry-run");
        (int status, string output) = Invoke([.. all]);
        Assert.Equal(0, status);
        return MachineConfig.FromJson(output, "test");
    }

    private (int Status, string Output) Invoke(params string[] arguments)
    {
        using StringWriter output = new() { NewLine = "\n" };
        int run(MachineConfig config) => throw new InvalidOperationException("nothing may run here");
        int status = new CommandLine(output, run, _store).Invoke(arguments);
        return (status, output.ToString());
    }
}
