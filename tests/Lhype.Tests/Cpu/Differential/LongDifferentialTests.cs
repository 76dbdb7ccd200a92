// Random 64-bit programs, host CPU against engine, from fixed seeds. LHYPE_DIFF_SECONDS makes a run longer,
// LHYPE_DIFF_SEED sets its first seed.

using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using Lhype.Cpu;
using Lhype.Tests.Cpu.Oracle;
using Xunit;
using Xunit.Abstractions;

namespace Lhype.Tests.Cpu.Differential;

public sealed class LongDifferentialTests(ITestOutputHelper output)
{
    private const int MaxReported = 8;

    public static TheoryData<string, int> Combinations()
    {
        var data = new TheoryData<string, int>();
        foreach (EngineConfiguration configuration in EngineConfiguration.All)
        {
            data.Add(configuration.Name, 1);
            data.Add(configuration.Name, 24);
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Combinations))]
    public void EngineAgreesWithHost(string engine, int length)
    {
        EngineConfiguration configuration = EngineConfiguration.All.Single(c => c.Name == engine);
        using var harness = new LongHarness(configuration.Engine);
        double seconds = Setting("LHYPE_DIFF_SECONDS", 2);
        int seed = Setting("LHYPE_DIFF_SEED", 1);
        var failures = new Dictionary<string, string>();
        var clock = Stopwatch.StartNew();
        int cases = 0;
        for (; clock.Elapsed.TotalSeconds < seconds && failures.Count < MaxReported; cases++)
        {
            var start = new LongCase(seed + cases, length);
            LongCase smallest = start;
            if (Difference(harness, start, configuration.FlagsExactAtFaults).Length == 0)
            {
                continue;
            }

            while (smallest.Shorter().FirstOrDefault(
                c => Difference(harness, c, configuration.FlagsExactAtFaults).Length != 0) is { } shorter)
            {
                smallest = shorter;
            }

            string listing = smallest.Describe();
            string key = string.Join(' ', listing.Split('\n').Where(line => line.Length > 37)
                .Skip(1).Select(line => line[37..].Split(' ')[0]));
            failures.TryAdd(key, $"{engine}: seed {seed + cases}, shrunk to {smallest.Length}\n{listing}"
                + Difference(harness, smallest, configuration.FlagsExactAtFaults));
        }

        output.WriteLine($"{cases} cases");
        Assert.True(failures.Count == 0, string.Join("\n", failures.Values));
    }

    internal static int Setting(string variable, int fallback) =>
        int.TryParse(Environment.GetEnvironmentVariable(variable), out int value) ? value : fallback;

    internal static string Difference(LongHarness harness, LongCase @case, bool exact)
    {
        TestMemory memory = @case.MakeMemory();
        LongResult native = LongOracle.Instance.Run(@case.Cpu, memory);
        try
        {
            LongResult actual = harness.Run(@case.Cpu, memory);
            return LongResult.Compare(native, actual,
                !exact && !native.Completed ? EflagsBits.Arithmetic : 0);
        }
        catch (InvalidOperationException e)
        {
            return $"  {e.Message}\n";
        }
    }
}
