// The commands about running domains (list, info, console, stop, pause, resume): their arguments and help.
// Added to the root command by CommandLine; what they do is in DomainCommands and ConsoleViewer.

using System;
using System.Collections.Generic;
using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using System.IO;
using Lhype.Control;
using Lhype.Machine.Control;
using Lhype.Terminal;

namespace Lhype.Cli;

/// <summary>Grammar of the domain commands.</summary>
internal static class DomainGrammar
{
    /// <summary>The commands, which print to <paramref name="output"/>.</summary>
    public static IEnumerable<Command> Commands(TextWriter output) =>
    [
        List(output),
        OnDomain("info", "Print a running guest's state and configuration as JSON.",
            name => Domains(output).Info(name)),
        Console(),
        Stop(output),
        OnDomain("pause", "Stop a running guest where it is; its clocks run on.",
            name => Domains(output).Pause(name)),
        OnDomain("resume", "Let a paused guest go on.", name => Domains(output).Resume(name)),
    ];

    /// <summary>Examples and explanations for the help of <paramref name="command"/>; null if it is none of
    /// these.</summary>
    public static string? Examples(string command) => command switch
    {
        "list" => """
            STATE is running, paused, starting, or "not answering" for a process that is stopped or hangs.
            CPU TIME is the processor time of the whole process. Guests of other users are not shown.

            Examples:
              lhype list             a table of your running guests
              lhype list --json      the same for programs
            """,
        "info" => """
            Examples:
              lhype info debian-amd64
              lhype info 1 | jq .config > guest.json && lhype run --config guest.json
            """,
        "console" => """
            Shows up to the last 64 KiB the guest printed, then what it prints from now on. What is typed
            goes to the guest; others who are attached, and the terminal of 'lhype run', see the same. A
            viewer too slow for the guest misses output, and is told how much. When standard input is not a
            terminal, what it holds is typed, and the command goes on showing the console until the guest
            ends.

            Keys on a terminal: Ctrl-A d or Ctrl-A x detaches (the guest runs on), Ctrl-A h lists the others.

            Examples:
              lhype console debian-amd64
              lhype console 1 --serial > log.txt < /dev/null
            """,
        "stop" => $"""
            Presses the ACPI power button, as soon as the guest listens to it and every 5 seconds from then
            on, and waits for the guest to power off. A guest that has not after
            {DomainCommands.DefaultStopSeconds} seconds (or --timeout) runs on, and the exit status is 1.
            With --force the guest is ended at once, like a power cut: what it has not written to its disks
            is lost, and its 'lhype run' ends with exit status 3.

            Examples:
              lhype stop debian-amd64
              lhype stop 1 --timeout 5 || lhype stop 1 --force
            """,
        "pause" => """
            Examples:
              lhype pause debian-amd64
            """,
        "resume" => """
            Examples:
              lhype resume debian-amd64
            """,
        _ => null,
    };

    private static DomainCommands Domains(TextWriter output) => new(DomainDirectory.ForUser(), output);

    private static Argument<string> Name() => new("NAME")
    {
        Description = "A running guest's name, or its number; 'lhype list' shows both.",
    };

    private static Command OnDomain(string name, string description, Func<string, int> action)
    {
        Argument<string> domain = Name();
        Command command = new(name, description) { domain };
        command.SetAction(parsed => action(parsed.GetRequiredValue(domain)));
        return command;
    }

    private static Command List(TextWriter output)
    {
        Option<bool> json = new("--json") { Description = "Print a JSON array.", Arity = ArgumentArity.Zero };
        Command command = new("list", "List your running guests.") { json };
        command.SetAction(parsed => Domains(output).List(parsed.GetValue(json)));
        return command;
    }

    private static Command Console()
    {
        Argument<string> domain = Name();
        Option<bool> serial = new("--serial")
        {
            Description = "The serial port, also when the guest has a virtio console.",
            Arity = ArgumentArity.Zero,
        };
        Command command = new("console", "Attach this terminal to a running guest's console.")
        {
            domain,
            serial,
        };
        command.SetAction(parsed =>
        {
            DomainDirectory directory = DomainDirectory.ForUser();
            DomainState found = directory.Find(parsed.GetRequiredValue(domain));
            using ConsoleViewer viewer = new(directory, found, parsed.GetValue(serial));
            return viewer.Run();
        });
        return command;
    }

    private static Command Stop(TextWriter output)
    {
        Argument<string> domain = Name();
        Option<bool> force = new("--force")
        {
            Description = "End the guest at once instead.",
            Arity = ArgumentArity.Zero,
        };
        Option<string> timeout = new("--timeout")
        {
            HelpName = "SECONDS",
            Description = string.Create(CultureInfo.InvariantCulture,
                $"How long to wait for the guest; {DomainCommands.DefaultStopSeconds} when not given."),
        };
        Command command = new("stop", "Ask a running guest to power off, and wait until it has.")
        {
            domain,
            force,
            timeout,
        };
        command.SetAction(parsed =>
        {
            string name = parsed.GetRequiredValue(domain);
            double seconds = parsed.GetResult(timeout) is OptionResult { Implicit: false }
                ? Math.Min(OptionValues.Seconds("--timeout", parsed.GetValue(timeout)!), int.MaxValue / 1000)
                : DomainCommands.DefaultStopSeconds;
            return parsed.GetValue(force)
                ? Domains(output).ForceStop(name)
                : Domains(output).Stop(name, TimeSpan.FromSeconds(seconds));
        });
        return command;
    }
}
