// The options of `lhype run` and `lhype add`: what they are called, what help says about them, and how a
// parsed command line becomes the settled MachineConfig. Called by CommandLine.

using System;
using System.Collections.Generic;
using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using System.IO;
using System.Linq;
using Lhype.Cpu.Architecture;
using Lhype.Host;
using Lhype.Images;
using Lhype.Machine;

namespace Lhype.Cli;

/// <summary>The options of <c>lhype run</c>.</summary>
internal sealed class RunOptions
{
    private readonly Argument<string?> _kernelArgument = new("KERNEL")
    {
        Description = "Kernel file, or a name that 'lhype images' lists; debian-amd64 when not given.",
        Arity = ArgumentArity.ZeroOrOne,
    };

    private readonly Option<string> _kernel = Text(
        "--kernel", "FILE",
        "The kernel, as KERNEL: ELF vmlinux, bzImage or multiboot, told from its content.", "-k");

    private readonly Option<string[]> _initrd = List(
        "--initrd", "FILE", "Initial ram disk; repeat it to join several.", "-i");

    private readonly Option<string[]> _append = List(
        "--append", "ARGS", "Kernel arguments, added to what Lhype arranges; the last one wins.",
        "-p", "--cmdline");

    private readonly Option<bool> _noAutoCommandLine = Flag(
        "--no-auto-cmdline", "Give the kernel the user's arguments and nothing else.");

    private readonly Option<string> _memory = Text(
        "--memory", "SIZE", "Guest memory: 512M, 1G, or a number of MiB; 256M when not given.",
        "-m", "--mem");

    private readonly Option<string> _cpus = Text(
        "--cpus", "N", "Number of virtual CPUs; 1 in this version.", "-c", "--smp");

    private readonly Option<string[]> _disk = List(
        "--disk", "FILE[,ro][,id=NAME]", "Raw disk image: /dev/vda, the next one /dev/vdb and so on.", "-d");

    private readonly Option<bool> _snapshot = Flag(
        "--snapshot", "Disk writes go to a temporary overlay and are dropped at the end.");

    private readonly Option<string[]> _net = List(
        "--net", "none|user|hub=FILE|tap[=NAME]",
        "Network card: none, the host's network through address translation (with ,hostfwd=RULE), an "
        + "Ethernet shared by all guests that name the same file, or a tap interface (with ,address=IP or "
        + ",bridge=NAME set up for it). Each takes ,mac=ADDRESS and ,pcap=FILE.");

    private readonly Option<string> _pcap = Text(
        "--pcap", "FILE", "Write all frames of the network card to a file that tcpdump and wireshark read.");

    private readonly Option<string> _cpu = Text(
        "--cpu", "MODEL", $"What the guest's CPUID shows: {string.Join(", ", CpuNames)}.");

    private readonly Option<string> _machine = Text(
        "--machine", "pc|lhype",
        "The board: a PC, or the hypercall machine for lguest kernels. Without it, found from the kernel.");

    private readonly Option<string> _lguestAbi = Text(
        "--lguest-abi", "A..F",
        "Dialect of an lguest kernel (D+pae: dialect D with PAE), instead of finding it from the guest; "
        + "implies --machine lhype.");

    private readonly Option<string> _engine = Text(
        "--engine", "auto|translator", "What runs the guest's code.");

    private readonly Option<string> _name = Text(
        "--name", "NAME", "Name of the guest; made from the kernel's when not given.");

    private readonly Option<string> _serial = Text(
        "--serial", "stdio|socket|FILE|none",
        "Where the first serial port goes: this terminal (when not given), nothing but 'lhype console', a "
        + "file, or nowhere.");

    private readonly Option<string> _console = Text(
        "--console", "stdio|socket|none",
        "Gives the guest a virtio console, on this terminal or for 'lhype console' only; none when not "
        + "given.");

    private readonly Option<bool> _detach = Flag(
        "--detach",
        "Run in the background: print the guest's name when it has started; 'lhype console NAME' shows it.");

    private readonly Option<bool> _rng = Flag(
        "--rng", "A source of random numbers, as lguest; guests have one in any case.");

    private readonly Option<bool> _debugExit = Flag(
        "--debug-exit", "A write to port 0xF4 ends the machine with exit status (value << 1) | 1.");

    private readonly Option<bool> _noReboot = Flag(
        "--no-reboot", "When the guest asks for a reboot, end with exit status 0 instead.");

    private readonly Option<bool> _dryRun = Flag(
        "--dry-run", "Print the settled configuration as JSON and run nothing.");

    private readonly Option<string> _config = Text(
        "--config", "FILE", "Start from the JSON that --dry-run printed; other options change it.");

    private readonly Option<string> _timeout = Text(
        "--timeout", "SECONDS", "Stop after this long with exit status 4.");

    private readonly Option<bool> _stats = Flag(
        "--stats", "At the end, print what the engine did to standard error.");

    private readonly Option<string> _profile = Text(
        "--profile", "FILE",
        "Write where the guest's time went to FILE, and stacks for a flame graph to FILE.folded.");

    private readonly Option<bool> _quiet = Flag("--quiet", "Say less.", "-q");

    private readonly Option<bool> _verbose = Flag("--verbose", "Say more.", "-v");

    /// <summary>Adds all of them to <paramref name="command"/>, in the order help shows them, with the kernel
    /// as argument.</summary>
    public void AddTo(Command command)
    {
        command.Arguments.Add(_kernelArgument);
        AddOptionsTo(command, except: []);
    }

    /// <summary>Adds them to <paramref name="command"/> but for what <c>lhype add</c> says with
    /// words.</summary>
    public void AddToAdd(Command command) => AddOptionsTo(command, except: [_kernel, _memory, _config]);

    private void AddOptionsTo(Command command, Option[] except)
    {
        Option[] options =
        [
            _kernel, _initrd, _append, _noAutoCommandLine, _memory, _cpus, _disk, _snapshot, _net, _pcap,
            _cpu, _machine, _lguestAbi, _engine, _name, _serial, _console, _rng, _debugExit, _noReboot,
            _timeout, _detach, _dryRun, _config, _stats, _profile, _quiet, _verbose,
        ];
        foreach (Option option in options)
        {
            if (!except.Contains(option))
            {
                command.Options.Add(option);
            }
        }
    }

    /// <summary>True with <c>--dry-run</c>.</summary>
    public bool IsDryRun(ParseResult parsed) => parsed.GetValue(_dryRun);

    /// <summary>True with <c>--detach</c>.</summary>
    public bool IsDetached(ParseResult parsed) => parsed.GetValue(_detach);

    /// <summary>The image that must be there before the machine can run; null when the user gave files.
    /// <paramref name="kernel"/>: the kernel, where it is not in <paramref name="parsed"/>.</summary>
    public ImageDefinition? Image(ParseResult parsed, string? kernel = null)
    {
        kernel ??= KernelText(parsed);
        if (kernel is null)
        {
            return parsed.GetValue(_config) is null ? DefaultImage(parsed) : null;
        }

        // A file of that name is meant before an image.
        return File.Exists(kernel) ? null : ImageCatalog.Find(kernel);
    }

    private ImageDefinition DefaultImage(ParseResult parsed)
    {
        string? cpu = parsed.GetValue(_cpu);
        return CpuModel.All.Any(model => model.Name == cpu && !model.HasLongMode)
            ? ImageCatalog.Default32 : ImageCatalog.Default;
    }

    /// <summary>The configuration the command line asks for.</summary>
    /// <param name="parsed">The parsed command line, without errors.</param>
    /// <param name="kernelArguments">What stood behind <c>--</c>.</param>
    /// <param name="store">Where pulled images are.</param>
    /// <param name="kernel">The kernel, where it is not in <paramref name="parsed"/>.</param>
    public MachineConfig Settle(ParseResult parsed, IReadOnlyList<string> kernelArguments, ImageStore store,
        string? kernel = null)
    {
        MachineConfig config = WithKernel(parsed, store, kernel);
        config = WithDevices(parsed, config);

        List<string> append = [config.Append, .. parsed.GetValue(_append) ?? []];
        append.Add(OptionValues.KernelArguments(kernelArguments));
        string? abi = Given(parsed, _lguestAbi);
        return config with
        {
            Append = string.Join(' ', append.Where(text => text.Length > 0)),
            AutoCommandLine = config.AutoCommandLine && !parsed.GetValue(_noAutoCommandLine),
            MemoryBytes = Given(parsed, _memory) is { } memory
                ? OptionValues.Size("--memory", memory)
                : config.MemoryBytes,
            Cpus = Given(parsed, _cpus) is { } cpus ? OptionValues.Cpus(cpus) : config.Cpus,
            Cpu = Given(parsed, _cpu) is { } cpu ? OneOf("--cpu", cpu, CpuNames) : config.Cpu,
            Machine = Given(parsed, _machine) is { } board ? Board(board)
                : abi is not null ? BoardKind.Lhype : config.Machine,
            LguestAbi = abi is not null ? OptionValues.LguestAbi(abi).Generation : config.LguestAbi,
            LguestPae = abi is not null ? OptionValues.LguestAbi(abi).Pae : config.LguestPae,
            Engine = Given(parsed, _engine) is { } engine ? Engine(engine) : config.Engine,
            Name = Given(parsed, _name) is { } name ? OptionValues.Name(name) : config.Name,
            AutoName = config.AutoName && Given(parsed, _name) is null,
            DebugExit = config.DebugExit || parsed.GetValue(_debugExit),
            NoReboot = config.NoReboot || parsed.GetValue(_noReboot),
            TimeoutSeconds = Given(parsed, _timeout) is { } timeout
                ? OptionValues.Seconds("--timeout", timeout)
                : config.TimeoutSeconds,
            Statistics = config.Statistics || parsed.GetValue(_stats),
            Profile = Given(parsed, _profile) is { } profile
                ? OptionValues.FullPath("--profile", profile)
                : config.Profile,
            Verbosity = parsed.GetValue(_quiet) ? -1 : parsed.GetValue(_verbose) ? 1 : config.Verbosity,
        };
    }

    private static string[] CpuNames => [.. CpuModel.All.Select(model => model.Name)];

    /// <summary>The configuration <c>lhype add</c> asks for with <paramref name="words"/> and the options
    /// beside them.</summary>
    public MachineConfig Settle(ParseResult parsed, AddWords words, ImageStore store)
    {
        MachineConfig config = Settle(parsed, words.KernelArguments, store, words.Kernel);
        string id = words.Id.ToString(CultureInfo.InvariantCulture);
        DiskConfig[] disk = words.Disk is null
            ? []
            : [new DiskConfig { File = OptionValues.FullPath("DISK", words.Disk) }];
        NetworkConfig[] net = words.NetFile is null
            ? []
            : [new() { Kind = NetworkKind.Hub, Target = OptionValues.FullPath("NETFILE", words.NetFile) }];
        return config with
        {
            MemoryBytes = words.MemoryBytes,
            Id = id,
            AutoName = false,
            Name = Given(parsed, _name) is null ? $"{config.Name}-{id}" : config.Name,
            Disks = [.. disk, .. config.Disks],
            Networks = [.. net, .. config.Networks],
        };
    }

    private MachineConfig WithKernel(ParseResult parsed, ImageStore store, string? kernel)
    {
        string[]? initrds = parsed.GetValue(_initrd) is { Length: > 0 } given
            ? Array.ConvertAll(given, file => OptionValues.FullPath("--initrd", file))
            : null;
        if (Image(parsed, kernel) is { } image)
        {
            MachineConfig pulled = new()
            {
                Name = image.Name,
                AutoName = true,
                Kernel = store.KernelPath(image),
                Initrds = initrds ?? [store.InitrdPath(image)],
            };
            return parsed.GetValue(_config) is { } file
                ? Read(file) with { Kernel = pulled.Kernel, Initrds = pulled.Initrds }
                : pulled;
        }

        kernel ??= KernelText(parsed);
        MachineConfig config = parsed.GetValue(_config) is { } source
            ? Read(source)
            : new MachineConfig { Kernel = kernel!, Name = DefaultName(kernel!), AutoName = true };
        return config with
        {
            Kernel = kernel is null ? config.Kernel : OptionValues.FullPath("--kernel", kernel),
            Initrds = initrds ?? config.Initrds,
        };
    }

    private MachineConfig WithDevices(ParseResult parsed, MachineConfig config)
    {
        string? serial = Given(parsed, _serial);
        string? console = Given(parsed, _console);
        if (console is not null && !IsConnection(console))
        {
            throw new UsageException(
                $"--console {OptionValues.Quote(console)} is not one of stdio, socket, none.");
        }

        // The terminal has one user: a virtio console takes it from the serial port.
        if (console == MachineConfig.Stdio && (serial ?? MachineConfig.NotConnected) == MachineConfig.Stdio)
        {
            throw new UsageException("Only one of --serial and --console can be stdio.");
        }

        if (serial is not null && !IsConnection(serial))
        {
            serial = OptionValues.FullPath("--serial", serial);
        }

        DiskConfig[]? disks = parsed.GetValue(_disk) is { Length: > 0 } given
            ? Array.ConvertAll(given, OptionValues.Disk)
            : null;
        config = config with
        {
            Disks = disks ?? config.Disks,
            Snapshot = config.Snapshot || parsed.GetValue(_snapshot),
            Networks = Networks(parsed, config),
            Serial = serial ?? (console == MachineConfig.Stdio ? MachineConfig.NotConnected : config.Serial),
            Console = console ?? config.Console,
        };
        return IsDetached(parsed) ? WithoutTerminal(config, serial, console) : config;
    }

    private static bool IsConnection(string value) =>
        value is MachineConfig.Stdio or MachineConfig.Socket or MachineConfig.NotConnected;

    /// <summary>What would be on the terminal is reached by <c>lhype console</c> instead.</summary>
    private static MachineConfig WithoutTerminal(MachineConfig config, string? serial, string? console)
    {
        if (serial == MachineConfig.Stdio || console == MachineConfig.Stdio)
        {
            throw new UsageException("--detach leaves the terminal: use socket in place of stdio.");
        }

        return config with
        {
            Serial = config.Serial == MachineConfig.Stdio ? MachineConfig.Socket : config.Serial,
            Console = config.Console == MachineConfig.Stdio ? MachineConfig.Socket : config.Console,
        };
    }

    private IReadOnlyList<NetworkConfig> Networks(ParseResult parsed, MachineConfig config)
    {
        IReadOnlyList<NetworkConfig> networks = parsed.GetValue(_net) is { Length: > 0 } given
            ? [.. given.Select(OptionValues.Network).Where(network => network.Kind != NetworkKind.None)]
            : config.Networks;
        if (Given(parsed, _pcap) is not { } file)
        {
            return networks;
        }

        return networks.Count == 1
            ? [networks[0] with { Pcap = OptionValues.FullPath("--pcap", file) }]
            : throw new UsageException(networks.Count == 0
                ? "--pcap needs a network card; add --net, for example --net user."
                : "--pcap cannot say which card it means; write ,pcap=FILE behind one --net or several.");
    }

    private string? KernelText(ParseResult parsed)
    {
        string? option = parsed.GetValue(_kernel);
        string? argument = parsed.GetValue(_kernelArgument);
        if (argument is ['-', _, ..])
        {
            throw new UsageException(
                $"There is no option {OptionValues.Quote(argument)}; see 'lhype run --help'.");
        }

        if (option is not null && argument is not null)
        {
            throw new UsageException(
                $"The kernel is given twice: {OptionValues.Quote(option)}, {OptionValues.Quote(argument)}.");
        }

        return option ?? argument;
    }

    /// <summary>Reads a --config file. What options would refuse is refused here as well.</summary>
    private static MachineConfig Read(string file)
    {
        try
        {
            MachineConfig config =
                MachineConfig.FromJson(File.ReadAllText(OptionValues.FullPath("--config", file)), file);
            string wrong = !OptionValues.IsMemorySize(config.MemoryBytes) ? "memoryBytes"
                : config.Cpus != 1 ? "cpus"
                : !CpuNames.Contains(config.Cpu) ? "cpu"
                : config.Engine == EngineKind.Kvm ? "engine"
                : config.TimeoutSeconds is < 0 or > 1e9 or double.NaN ? "timeoutSeconds"
                : config.Serial == MachineConfig.Stdio && config.Console == MachineConfig.Stdio ? "console"
                : "";
            return wrong.Length == 0
                ? config
                : throw new LhypeException($"{file} asks for something this version cannot do: {wrong}.");
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new LhypeException($"The file of --config cannot be read: {error.Message}", error);
        }
    }

    private static BoardKind Board(string text) => text switch
    {
        "pc" => BoardKind.Pc,
        "lhype" => BoardKind.Lhype,
        _ => throw new UsageException($"--machine {OptionValues.Quote(text)} is not one of pc, lhype."),
    };

    private static EngineKind Engine(string text) => text switch
    {
        "auto" => EngineKind.Auto,
        "translator" => EngineKind.Translator,
        "kvm" =>
            throw new UsageException("--engine kvm is not possible yet: this version has the translator."),
        _ => throw new UsageException($"--engine {OptionValues.Quote(text)} is not one of auto, translator."),
    };

    private static string OneOf(string option, string text, string[] names) => names.Contains(text)
        ? text
        : throw new UsageException(
            $"{option} {OptionValues.Quote(text)} is not one of {string.Join(", ", names)}.");

    /// <summary>A guest's name when the user gives none: the kernel file's, without odd characters.</summary>
    private static string DefaultName(string kernel)
    {
        IEnumerable<char> letters = Path.GetFileName(kernel).Where(
            letter => char.IsAsciiLetterOrDigit(letter) || letter is '.' or '-' or '_');
        string name = string.Concat(letters.Take(48)).TrimStart('.', '-');
        return name.Length > 0 ? name : "guest";
    }

    private static string? Given(ParseResult parsed, Option<string> option) =>
        parsed.GetResult(option) is OptionResult { Implicit: false } ? parsed.GetValue(option) : null;

    private static Option<string> Text(string name, string value, string description,
        params string[] aliases) =>
        new(name, aliases) { HelpName = value, Description = description };

    private static Option<string[]> List(string name, string value, string description,
        params string[] aliases) =>
        new(name, aliases) { HelpName = value, Description = description, Arity = ArgumentArity.OneOrMore };

    private static Option<bool> Flag(string name, string description, params string[] aliases) =>
        new(name, aliases) { Description = description, Arity = ArgumentArity.Zero };
}
