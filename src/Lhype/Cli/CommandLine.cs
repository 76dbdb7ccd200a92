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
using Lhype.Images;
using Lhype.Machine;
using Lhype.Machine.Boot;

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
        List<string> own = [.. Take(arguments, 0, separator < 0 ? arguments.Count : separator)];
        List<string> guest = [.. separator < 0 ? [] : Take(arguments, separator + 1, arguments.Count)];

        RootCommand root = Root(guest);
        ParserConfiguration configuration = new() { ResponseFileTokenReplacer = null };
        ParseResult parsed = root.Parse(own, configuration);
        if (parsed.Errors.Count > 0 && parsed.Action is not (HelpAction or ExamplesAction or PrintVersion))
        {
            string sentence = parsed.Errors[0].Message.TrimEnd('.');
            throw new UsageException($"{sentence}; see '{CommandPath(parsed)} --help'.");
        }

        if (guest.Count > 0 && parsed.CommandResult.Command.Name != "run")
        {
            throw new UsageException("Only 'lhype run' takes kernel arguments after '--'.");
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
        root.Subcommands.Add(Images());
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
            if (options.IsDryRun(parsed))
            {
                Describe(config);
                _output.WriteLine(config.ToJson());
                return 0;
            }

            if (options.Image(parsed) is { } image)
            {
                ImagesCommand.RequireRunnable(image);
                ImagesCommand.Ensure(_store, image, quiet: config.Verbosity < 0);
            }

            return _run(config);
        });
        return command;
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

        private static string Examples(string command) => command switch
        {
            "run" => """
                Examples:
                  lhype run                                     a Debian kernel and a shell
                  lhype run -m 1G debian-i386-pae               another kernel, more memory
                  lhype run vmlinuz -i initrd.img -- debug      your own kernel and arguments for it
                  lhype run -d disk.img -- root=/dev/vda        with a disk as root file system
                  lhype run -d disk.img --snapshot --dry-run    see what would run

                Keys on a terminal: Ctrl-A x quits, Ctrl-A h lists the others.
                Exit status: 0 powered off, 1 error, 2 wrong usage, 3 guest crashed, 4 timeout.
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
                  lhype run --help         all options of one command
                """,
        };
    }
}
