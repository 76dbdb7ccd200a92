// The loop of the random differential tests: make a case, run it on both sides, compare, shrink what fails.
// By default a test runs a fixed number of cases, the same on every machine.

using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;

namespace Lhype.Tests.Cpu.Differential;

/// <summary>A random program, made from a seed alone.</summary>
internal interface IRandomProgram<TSelf>
{
    /// <summary>What it was made from.</summary>
    int Seed { get; }

    /// <summary>Number of instructions.</summary>
    int Length { get; }

    /// <summary>All versions with one instruction less.</summary>
    IEnumerable<TSelf> Shorter();

    /// <summary>Registers and a listing, for a failure message.</summary>
    string Describe();
}

/// <summary>Cases from consecutive seeds. LHYPE_DIFF_SECONDS runs as many as that time allows instead of a
/// fixed number, LHYPE_DIFF_SEED gives the first seed, LHYPE_DIFF_COUNT the number of cases.</summary>
/// <param name="name">Name for reports.</param>
/// <param name="difference">Runs a case on both sides; what differs, or an empty string.</param>
internal sealed class DifferentialRun<TCase>(string name, Func<TCase, string> difference)
    where TCase : class, IRandomProgram<TCase>
{
    private const int MaxReported = 8;
    private readonly Dictionary<string, string> _failures = [];

    /// <summary>Cases run so far.</summary>
    internal int Cases { get; private set; }

    /// <summary>Runs <paramref name="count"/> cases; returns a report, empty if all agreed.</summary>
    internal string Run(Func<int, TCase> make, int count)
    {
        int seconds = Setting("LHYPE_DIFF_SECONDS", 0);
        int seed = Setting("LHYPE_DIFF_SEED", 1);
        count = Setting("LHYPE_DIFF_COUNT", seconds > 0 ? int.MaxValue : count);
        var clock = Stopwatch.StartNew();
        for (; Cases < count && _failures.Count < MaxReported
            && (seconds == 0 || clock.Elapsed.TotalSeconds < seconds); Cases++)
        {
            Check(make(seed + Cases));
        }

        return string.Join("\n", _failures.Values);
    }

    private static int Setting(string variable, int fallback) =>
        int.TryParse(Environment.GetEnvironmentVariable(variable), out int value) ? value : fallback;

    private void Check(TCase start)
    {
        if (difference(start).Length == 0)
        {
            return;
        }

        TCase smallest = start;
        while (smallest.Shorter().FirstOrDefault(c => difference(c).Length != 0) is { } shorter)
        {
            smallest = shorter;
        }

        string listing = smallest.Describe();
        string text = $"{name}: seed {start.Seed} ({start.Length} instructions, shrunk to "
            + $"{smallest.Length})\n" + listing + difference(smallest)
            + $"  replay: LHYPE_DIFF_SEED={start.Seed} LHYPE_DIFF_COUNT=1 and this test alone\n";
        // One report per list of mnemonics: the same bug tends to come many times.
        string key = string.Join(' ', listing.Split('\n')
            .Where(line => line.Length > 37 && line[2] is >= '0' and <= '9')
            .Select(line => line[37..].Split(' ')[0]));
        _failures.TryAdd(key, text);
    }
}
