// What `lhype list`, `info`, `pause`, `resume` and `stop` do: each finds the domain, asks its control socket
// and prints. Called by the command line.

using System;
using System.Diagnostics;
using System.Globalization;
using System.IO;
using System.Linq;
using Lhype.Host;
using Lhype.Machine.Control;
using Lhype.Terminal;

namespace Lhype.Control;

/// <summary>Commands about running domains. Each returns the exit status and throws LhypeException.</summary>
internal sealed class DomainCommands
{
    /// <summary>How long `stop` waits when not told.</summary>
    internal const int DefaultStopSeconds = 60;

    private static readonly TimeSpan ListPatience = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan KillPatience = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan ButtonRetry = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan PressAgain = TimeSpan.FromSeconds(5);

    private readonly DomainDirectory _directory;
    private readonly TextWriter _output;

    /// <summary>Commands about the domains in <paramref name="directory"/>, printing to
    /// <paramref name="output"/>.</summary>
    internal DomainCommands(DomainDirectory directory, TextWriter output)
    {
        _directory = directory;
        _output = output;
    }

    /// <summary>Prints one line per running domain, or a JSON array.</summary>
    internal int List(bool json)
    {
        DomainInfo[] domains = [.. _directory.List().Select(Look).OfType<DomainInfo>()];
        if (json)
        {
            _output.WriteLine(DomainInfo.ToJson(domains));
            return 0;
        }

        int width = Math.Max(16, domains.Select(domain => domain.Name.Length + 2).DefaultIfEmpty().Max());
        _output.WriteLine($"{"NAME".PadRight(width)}{"ID",4}  {"STATE",-14}{"MEMORY",8}{"CPU TIME",10}"
            + $"{"UPTIME",11}  {"ENGINE",-12}KERNEL");
        foreach (DomainInfo domain in domains)
        {
            string cpu = domain.CpuSeconds is { } cpuSeconds
                ? string.Create(CultureInfo.InvariantCulture, $"{cpuSeconds:F1} s")
                : "-";
            string up = domain.UptimeSeconds is { } upSeconds ? Clock(upSeconds) : "-";
            string memory = $"{domain.MemoryBytes >> 20}M";
            _output.WriteLine($"{domain.Name.PadRight(width)}{domain.Id,4}  {domain.State,-14}{memory,8}"
                + $"{cpu,10}{up,11}  {domain.Engine ?? "-",-12}{ShortKernel(domain.Kernel)}");
        }

        return 0;
    }

    /// <summary>Prints state and configuration as JSON.</summary>
    internal int Info(string nameOrId)
    {
        ControlReply reply = Ask(nameOrId, ControlCommand.Info);
        _output.WriteLine(reply.Domain?.ToJson());
        return 0;
    }

    /// <summary>Stops the guest where it is.</summary>
    internal int Pause(string nameOrId)
    {
        Ask(nameOrId, ControlCommand.Pause);
        return 0;
    }

    /// <summary>Lets a paused guest go on.</summary>
    internal int Resume(string nameOrId)
    {
        Ask(nameOrId, ControlCommand.Resume);
        return 0;
    }

    /// <summary>Presses the power button, as soon as the guest listens to it, and waits up to
    /// <paramref name="patience"/> in all for the domain to end. The kernel of a guest that boots listens
    /// before any of its programs do, and forgets what it heard; so the button is pressed again and
    /// again.</summary>
    internal int Stop(string nameOrId, TimeSpan patience)
    {
        DomainState domain = _directory.Find(nameOrId);
        using DomainClient client = _directory.Connect(domain);
        Stopwatch clock = Stopwatch.StartNew();
        bool pressed = false;
        for (TimeSpan left = patience; left > TimeSpan.Zero; left = patience - clock.Elapsed)
        {
            ControlReply reply = client.Ask(new ControlRequest { Command = ControlCommand.PowerButton });
            if (reply.Pressed == true && !pressed)
            {
                pressed = true;
                SayOnTerminal($"pressed the power button of {domain.Name}, waiting for it to power off ...");
            }

            if (client.WaitForEnd(Least(pressed ? PressAgain : ButtonRetry, left)))
            {
                return Gone(domain);
            }
        }

        string what = pressed ? "has not powered off" : "does not listen to its power button";
        throw new LhypeException(string.Create(CultureInfo.InvariantCulture,
            $"{domain.Name} {what} after {patience.TotalSeconds} s; 'lhype stop --force {domain.Name}' ends "
            + $"it at once."));
    }

    /// <summary>Ends the guest at once; if its process does not react, kills that.</summary>
    internal int ForceStop(string nameOrId)
    {
        DomainState domain = _directory.Find(nameOrId);
        try
        {
            using DomainClient client = _directory.Connect(domain);
            client.Ask(new ControlRequest { Command = ControlCommand.Kill });
            if (client.WaitForEnd(KillPatience))
            {
                return Gone(domain);
            }
        }
        catch (LhypeException)
        {
            // It does not answer, or was gone before it could.
        }

        if (_directory.StillRuns(domain))
        {
            StandardStreams.Error.WriteLine(
                $"lhype: {domain.Name} does not answer, killing its process {domain.Pid}");
            using Process process = Process.GetProcessById(domain.Pid);
            process.Kill();
            process.WaitForExit();
        }

        return 0;
    }

    private static void SayOnTerminal(string text)
    {
        if (RawTerminal.IsTerminal(2))
        {
            StandardStreams.Error.WriteLine($"lhype: {text}");
        }
    }

    private static TimeSpan Least(TimeSpan one, TimeSpan other) => one < other ? one : other;

    // The connection is at its end; normally because the domain is.
    private int Gone(DomainState domain) => !_directory.StillRuns(domain)
        ? 0
        : throw new LhypeException($"{domain.Name} closed the connection, but runs on; try again.");

    private ControlReply Ask(string nameOrId, string command)
    {
        using DomainClient client = _directory.Connect(_directory.Find(nameOrId));
        return client.Ask(new ControlRequest { Command = command });
    }

    // A domain that does not answer is listed with what its state file says; one that has just ended is not.
    private DomainInfo? Look(DomainState state)
    {
        try
        {
            using DomainClient client = _directory.Connect(state, ListPatience);
            ControlReply reply = client.Ask(new ControlRequest { Command = ControlCommand.Info });
            if (reply.Domain is { } domain)
            {
                return domain with { Config = null };
            }
        }
        catch (LhypeException)
        {
        }

        return !_directory.StillRuns(state) ? null : new DomainInfo
        {
            Name = state.Name,
            Id = state.Id,
            Pid = state.Pid,
            State = "not answering",
            Kernel = Path.GetFileName(state.Kernel),
            MemoryBytes = state.MemoryBytes,
        };
    }

    // What a kernel says about itself begins with its release, behind what kind of file it is in.
    private static string ShortKernel(string description)
    {
        int release = Math.Max(0, description.IndexOf("Linux ", StringComparison.Ordinal));
        int details = description.IndexOf(" (", release, StringComparison.Ordinal);
        return details < 0 ? description[release..] : description[release..details];
    }

    // 0:05, 1:02:03, 2d 03:04:05.
    private static string Clock(double seconds)
    {
        TimeSpan time = TimeSpan.FromSeconds(Math.Floor(seconds));
        string format = time.Days > 0 ? "d'd 'hh':'mm':'ss" : time.Hours > 0 ? "h':'mm':'ss" : "m':'ss";
        return time.ToString(format, CultureInfo.InvariantCulture);
    }
}
