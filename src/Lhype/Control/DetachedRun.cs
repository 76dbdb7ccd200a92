// `lhype run --detach`: a child process runs the guest, the caller waits until it has started or failed. The
// child gets the settled configuration on standard input; it says the guest's name on standard output when
// that runs, and what is wrong, or worth knowing, on standard error; then it lets go of both. Called by
// CommandLine, on both sides.

using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Threading;
using Lhype.Host;
using Lhype.Machine;
using Lhype.Terminal;

namespace Lhype.Control;

/// <summary>Both sides of a detached run.</summary>
internal static class DetachedRun
{
    /// <summary>The hidden command the child is started with.</summary>
    internal const string ChildCommand = "run-detached";

    private static readonly TimeSpan LastWords = TimeSpan.FromMilliseconds(100);

    /// <summary>Starts a child that runs <paramref name="config"/>. Prints the guest's name when it runs and
    /// returns 0, or returns the child's exit status.</summary>
    internal static int Start(MachineConfig config, TextWriter output)
    {
        List<string> command = [Environment.ProcessPath!];
        if (Path.GetFileName(command[0]) == "dotnet")
        {
            command.Add(Environment.GetCommandLineArgs()[0]);
        }

        ProcessStartInfo start = new(command[0], [.. command[1..], ChildCommand])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = "/",
        };
        using Process child = Process.Start(start)!;
        try
        {
            child.StandardInput.Write(config.ToJson());
            child.StandardInput.Close();
        }
        catch (IOException)
        {
            // It has failed already; it says why below.
        }

        Thread errors = new(() => PassOn(child.StandardError)) { IsBackground = true };
        errors.Start();
        if (child.StandardOutput.ReadLine() is { } name)
        {
            // What was said before that is on its way. Waiting for the end of the pipe would be waiting for
            // the guest's where the child runs on the .NET runtime, which keeps copies of the descriptors.
            errors.Join(LastWords);
            output.WriteLine(name);
            return 0;
        }

        child.WaitForExit();
        errors.Join();
        return child.ExitCode;
    }

    private static void PassOn(StreamReader lines)
    {
        while (lines.ReadLine() is { } line)
        {
            StandardStreams.Error.WriteLine(line);
        }
    }

    /// <summary>The child's side.</summary>
    internal static int RunChild()
    {
        BackgroundProcess.BeginSession();
        using StreamReader input = new(Console.OpenStandardInput());
        MachineConfig config = MachineConfig.FromJson(input.ReadToEnd(), "The configuration");
        return RunCommand.Run(config, name =>
        {
            StandardStreams.Output.WriteLine(name);
            BackgroundProcess.ReleaseStandardStreams();
        });
    }
}
