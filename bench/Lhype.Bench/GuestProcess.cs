// Runs the benchmark program once, natively or inside an emulator, and takes its CPU time at every marker
// the program prints (guest/bench/main.c describes them). The program waits at each marker for an answer, so
// the time taken is exactly the work between two markers. Called by Program for every run.

using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Threading;

namespace Lhype.Bench;

/// <summary>One benchmark of one run.</summary>
/// <param name="ClassName">Its class.</param>
/// <param name="Name">Its name.</param>
/// <param name="Checksum">Its result, equal everywhere.</param>
/// <param name="CpuNs">CPU time of the process it ran in, all threads.</param>
/// <param name="GuestCpuNs">CPU time by its own account.</param>
/// <param name="WallNs">Elapsed time on the host.</param>
/// <param name="Bytes">What it moved through a device; 0: it is not about throughput.</param>
/// <param name="Trips">How many messages it had answered; 0: it is not about latency.</param>
internal sealed record Sample(
    string ClassName, string Name, string Checksum, long CpuNs, long GuestCpuNs, long WallNs, long Bytes,
    long Trips);

/// <summary>What one run gave. <paramref name="Failure"/> is null when it ended as it should.</summary>
internal sealed record RunResult(long ReadyNs, long TotalNs, IReadOnlyList<Sample> Samples, string? Failure);

/// <summary>A run of the benchmark program.</summary>
internal static class GuestProcess
{
    private const int TailLength = 600;

    /// <summary>Starts <paramref name="command"/> and follows it to its end, at most
    /// <paramref name="timeoutSeconds"/>.</summary>
    public static RunResult Run(IReadOnlyList<string> command, int timeoutSeconds)
    {
        long before = HostCpuTime.OfEndedChildren();
        var start = new ProcessStartInfo(command[0])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        for (int i = 1; i < command.Count; i++)
        {
            start.ArgumentList.Add(command[i]);
        }

        using Process process = Process.Start(start)
            ?? throw new InvalidOperationException($"{command[0]} did not start.");
        var errors = new StringBuilder();
        process.ErrorDataReceived += (_, line) => errors.AppendLine(line.Data);
        process.BeginErrorReadLine();
        bool late = false;
        using var timer = new Timer(
            _ =>
            {
                late = true;
                process.Kill(entireProcessTree: true);
            },
            null,
            timeoutSeconds * 1000,
            Timeout.Infinite);
        var follower = new Follower(process);
        follower.FollowToEnd();
        process.WaitForExit();
        long total = HostCpuTime.OfEndedChildren() - before;
        string? failure = late ? $"no end within {timeoutSeconds} s"
            : process.ExitCode != 0 ? $"exit status {process.ExitCode}"
            : follower.Done ? null : "it ended before the last benchmark";
        if (failure is not null)
        {
            failure = $"{failure}; its last output: {Tail(follower.Console)} {Tail(errors)}".TrimEnd();
        }

        return new RunResult(follower.ReadyNs, total, follower.Samples, failure);
    }

    private static string Tail(StringBuilder text)
    {
        string all = text.ToString().Trim();
        return all.Length <= TailLength ? all : all[^TailLength..];
    }

    /// <summary>Reads the console, answers markers and books CPU time.</summary>
    private sealed class Follower
    {
        private readonly Process _process;
        private long _beginNs;
        private long _beginTimestamp;

        public Follower(Process process) => _process = process;

        public StringBuilder Console { get; } = new();

        public List<Sample> Samples { get; } = [];

        public long ReadyNs { get; private set; }

        public bool Done { get; private set; }

        public void FollowToEnd()
        {
            while (_process.StandardOutput.ReadLine() is { } line)
            {
                Console.AppendLine(line);
                int at = line.IndexOf('@', StringComparison.Ordinal);
                if (at >= 0)
                {
                    Take(line[(at + 1)..].Split(' ', StringSplitOptions.RemoveEmptyEntries));
                }
            }
        }

        private void Take(string[] words)
        {
            long now = HostCpuTime.OfProcess(_process.Id);
            switch (words)
            {
                case ["ready"]:
                    ReadyNs = now;
                    Answer();
                    break;
                case ["begin", _, _]:
                    _beginNs = now;
                    _beginTimestamp = Stopwatch.GetTimestamp();
                    Answer();
                    break;
                case ["end", string className, string name, string checksum, string guestNs, string bytes,
                    string trips]:
                    long wallNs = (long)Stopwatch.GetElapsedTime(_beginTimestamp).TotalNanoseconds;
                    _ = long.TryParse(guestNs, CultureInfo.InvariantCulture, out long guestCpuNs);
                    _ = long.TryParse(bytes, CultureInfo.InvariantCulture, out long moved);
                    _ = long.TryParse(trips, CultureInfo.InvariantCulture, out long answered);
                    Samples.Add(new Sample(
                        className, name, checksum, now - _beginNs, guestCpuNs, wallNs, moved, answered));
                    Answer();
                    break;
                case ["done"]:
                    Done = true;
                    break;
            }
        }

        private void Answer()
        {
            try
            {
                _process.StandardInput.Write('\n');
                _process.StandardInput.Flush();
            }
            catch (System.IO.IOException)
            {
                // The process has gone; reading its output ends too.
            }
        }
    }
}
