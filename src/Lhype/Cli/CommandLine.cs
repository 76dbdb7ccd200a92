// The command line of lhype: which commands there are, what their help says, and what each calls. Program
// hands it the arguments; options of `run` are in RunOptions. Grammar and help texts are
// System.CommandLine's, the sentences about errors and the examples are ours.

using System;
using System.Collections.Generic;
using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;
using System.CommandLine.Parsing;
using System.IO;
using Lhype.Control;
using Lhype.Disks;
using Lhype.Images;
using Lhype.Machine;
using Lhype.Machine.Boot;
using Lhype.Terminal;

namespace Lhype.Cli;

/// <summary>All commands, ready to be invoked with the arguments of the process.</summary>
internal sealed class CommandLine
{
    private readonly TextWriter _output;
    private readonly Func<MachineConfig, int> _run;
    private readonly ImageStore _store;

    /// <summary>Makes the commands.</summary>
    /// <param name="output">Standard output.</param>
    /// <param name="run">Runs a settled machine and gives the exit status.</param>
    /// <param name="store">The image cache.</param>
    public CommandLine(TextWriter output, Func<MachineConfig, int> run, ImageStore store)
    {
        _output = output;
        _run = run;
        _store = store;
    }

    /// <summary>The version, as <c>--version</c> prints it.</summary>
    public static string Version { get; } =
        typeof(CommandLine).Assembly.GetName().Version is { } version ? version.ToString(3) : "";

    /// <summary>Does what <paramref name="arguments"/> ask for and returns the exit status. Throws
    /// <see cref="UsageException"/> for wrong use.</summary>
    public int Invoke(IReadOnlyList<string> arguments)
    {
        // Kernel arguments behind "--" are the guest's business, whatever they look like.
        int separator = IndexOf(arguments, "--");
        List<string> own = LguestOptions.Rewrite(
            [.. Take(arguments, 0, separator < 0 ? arguments.Count : separator)]);
        List<string> guest = [.. separator < 0 ? [] : Take(arguments, separator + 1, arguments.Count)];

        RootCommand root = Root(guest);
        ParserConfiguration configuration = new() { ResponseFileTokenReplacer = null };
        ParseResult parsed = root.Parse(own, configuration);
        if (parsed.Errors.Count > 0 && parsed.Action is not (HelpAction or ExamplesAction or PrintVersion))
        {
            string sentence = parsed.Errors[0].Message.TrimEnd('.');
            throw new UsageException($"{sentence}; see '{CommandPath(parsed)} --help'.");
        }

        if (guest.Count > 0 && parsed.CommandResult.Command.Name is not ("run" or "add"))
        {
            throw new UsageException("Only 'lhype run' and 'lhype add' take kernel arguments after '--'.");
        }

        return parsed.Invoke(
            new InvocationConfiguration { Output = _output, EnableDefaultExceptionHandler = false });
    }

    private RootCommand Root(IReadOnlyList<string> guestArguments)
    {
        RootCommand root =
            new("Runs x86 Linux guests on x86-64 Linux hosts, without root and without kernel modules.");
        root.Directives.Clear();
        root.Options.Clear();
        root.Options.Add(new Option<bool>("--version")
        {
            Description = "Print the version.",
            Arity = ArgumentArity.Zero,
            Action = new PrintVersion(),
        });
        root.Options.Add(Help());
        root.Subcommands.Add(Run(guestArguments));
        root.Subcommands.Add(Add(guestArguments));
        foreach (Command command in DomainGrammar.Commands(_output))
        {
            root.Subcommands.Add(command);
        }

        root.Subcommands.Add(Images());
        Command child = new(DetachedRun.ChildCommand) { Hidden = true };
        child.SetAction(_ => DetachedRun.RunChild());
        root.Subcommands.Add(child);
        root.SetAction(SayWhatToDo);
        return root;
    }

    private Command Run(IReadOnlyList<string> guestArguments)
    {
        Command command =
            new("run", "Boot a guest on this terminal. Arguments after -- go to the guest's kernel.");
        RunOptions options = new();
        options.AddTo(command);
        command.SetAction(parsed =>
        {
            MachineConfig config = options.Settle(parsed, guestArguments, _store);
            return Start(config, options.Image(parsed), options, parsed);
        });
        return command;
    }

    private Command Add(IReadOnlyList<string> guestArguments)
    {
        Argument<string[]> words = new("WORDS")
        {
            Description = "MEMORY, ID, KERNEL, perhaps DISK and NETFILE, and arguments for the kernel.",
            Arity = ArgumentArity.ZeroOrMore,
        };
        Command command =
            new("add", $"Boot a guest on this terminal as in 2006: {AddWords.Usage["lhype ".Length..]}.")
            {
                words,
            };
        RunOptions options = new();
        options.AddToAdd(command);
        command.SetAction(parsed =>
        {
            AddWords said = AddWords.Parse(parsed.GetValue(words) ?? [], guestArguments);
            MachineConfig config = options.Settle(parsed, said, _store);
            return Start(config, options.Image(parsed, said.Kernel), options, parsed);
        });
        return command;
    }

    /// <summary>Runs <paramref name="config"/> here or in the background, or prints it.</summary>
    private int Start(MachineConfig config, ImageDefinition? image, RunOptions options, ParseResult parsed)
    {
        bool isDryRun = options.IsDryRun(parsed);
        if (image is not null && !isDryRun)
        {
            ImagesCommand.RequireRunnable(image, config.Cpu);
            ImagesCommand.Ensure(_store, image, quiet: config.Verbosity < 0);
        }

        config = new RootArrangement(_store, text => Say(config, text)).Arrange(config);
        if (!isDryRun)
        {
            return options.IsDetached(parsed) ? DetachedRun.Start(config, _output) : _run(config);
        }

        Describe(config);
        _output.WriteLine(config.ToJson());
        return 0;
    }

    private static void Say(MachineConfig config, string text)
    {
        if (config.Verbosity >= 0)
        {
            new Messages().Say(text);
        }
    }

    /// <summary>Fills in what follows from the kernel, if it is there; an image not pulled yet holds
    /// Linux for a PC.</summary>
    private static void Describe(MachineConfig config)
    {
        KernelKind kind = KernelKind.Linux;
        if (File.Exists(config.Kernel))
        {
            KernelImage kernel = KernelImage.Load(config.Kernel, UnpackedKernelCache.ForUser());
            config.Machine = MachineBuilder.BoardFor(config, kernel);
            kind = kernel.Kind;
        }

        config.KernelCommandLine = MachineBuilder.CommandLineFor(config, kind);
    }

    private Command Images()
    {
        Command command = new("images", "List the guest images that can be run by name.");
        command.SetAction(_ => ImagesCommand.List(_store, _output));

        Argument<string> name = new("NAME") { Description = "A name that 'lhype images' lists." };
        Command pull = new("pull", "Fetch the newest packages of an image and build it.") { name };
        pull.SetAction(parsed => ImagesCommand.Pull(_store, parsed.GetRequiredValue(name)));
        command.Subcommands.Add(pull);
        return command;
    }

    private static int SayWhatToDo(ParseResult parsed) =>
        throw new UsageException("Say what to do, for example 'lhype run'; see 'lhype --help'.");

    private static HelpOption Help()
    {
        HelpOption help =
            new("--help", "-h", "-?") { Description = "Show what a command does, with examples." };
        help.Action = new ExamplesAction((HelpAction)help.Action!);
        return help;
    }

    private static string CommandPath(ParseResult parsed)
    {
        string path = "";
        for (SymbolResult? result = parsed.CommandResult; result
            is CommandResult command; result = result.Parent)
        {
            path = (command.Command is RootCommand ? "lhype" : " " + command.Command.Name) + path;
        }

        return path;
    }

    private static IEnumerable<string> Take(IReadOnlyList<string> arguments, int from, int to)
    {
        for (int index = from; index < to; index++)
        {
            yield return arguments[index];
        }
    }

    private static int IndexOf(IReadOnlyList<string> arguments, string text)
    {
        for (int index = 0; index < arguments.Count; index++)
        {
            if (arguments[index] == text)
            {
                return index;
            }
        }

        return -1;
    }

    private sealed class PrintVersion : SynchronousCommandLineAction
    {
        public override bool ClearsParseErrors => true;

        public override int Invoke(ParseResult parseResult)
        {
            parseResult.InvocationConfiguration.Output.WriteLine($"lhype {Version}");
            return 0;
        }
    }

    /// <summary>The library's help, then our examples for the command.</summary>
    private sealed class ExamplesAction(HelpAction help) : SynchronousCommandLineAction
    {
        public override bool ClearsParseErrors => true;

        public override int Invoke(ParseResult parseResult)
        {
            help.MaxWidth = 100;
            help.Invoke(parseResult);
            parseResult.InvocationConfiguration.Output.WriteLine(
                Examples(parseResult.CommandResult.Command.Name));
            return 0;
        }

        private static string Examples(string command) => DomainGrammar.Examples(command) ?? command switch
        {
            "run" => """
                Examples:
                  lhype run                                     a Debian kernel and a shell
                  lhype run -m 5G debian-amd64                  another kernel, more memory
                  lhype run vmlinuz -i initrd.img -- debug      your own kernel and arguments for it
                  lhype run -d disk.img -- root=/dev/vda        with a disk as root file system
                  lhype run -d disk.img --snapshot --dry-run    see what would run
                  lhype run --detach --name web                 in the background; see 'lhype console --help'

                Keys on a terminal: Ctrl-A x quits, Ctrl-A h lists the others.
                Exit status: 0 powered off, 1 error, 2 wrong usage, 3 guest crashed, 4 timeout.
                """,
            "add" => """
                Words:
                  MEMORY       32M, 1G, or a number of MiB
                  ID           0 to 65535: makes the guest's name (KERNEL-ID) and its Ethernet addresses
                  KERNEL       a kernel file, or a name that 'lhype images' lists
                  DISK         a disk image: a bare file system or a partitioned disk
                  NETFILE      the Ethernet shared by all guests that name this file
                  KERNEL-ARG   for the kernel; root=/dev/lhba is understood
                DISK and NETFILE must be files that exist. The first word behind KERNEL that is none, but has
                an equals sign or is a flag such as ro, rw, quiet or single, begins the kernel arguments; all
                words from there on are kernel arguments, as are all behind --.
                lguest's options are understood as well: --block=FILE, --sharenet=FILE, --initrd, --rng,
                --verbose, and with the rights to make an interface of the host --tunnet=IP[:MAC] or
                --tunnet=bridge:NAME[:MAC].

                Examples:
                  dd if=/dev/zero of=netfile bs=1024 count=4
                  lhype add 32M 1 vmlinux linux.img netfile root=/dev/lhba
                  lhype add 64M 2 debian-i386 --net hub=netfile -- single
                """,
            "images" => """
                Examples:
                  lhype images                      what there is, and what is pulled already
                  lhype images pull debian-i386     fetch or renew one
                """,
            "pull" => """
                Examples:
                  lhype images pull debian-i386-pae
                """,
            _ => """
                Examples:
                  lhype run                boot a Debian kernel to a shell on this terminal
                  lhype images             list the guests that can be run by name
                  lhype list               what is running; info, console, stop, pause, resume act on it
                  lhype run --help         all options of one command
                """,
        };
    }
}
