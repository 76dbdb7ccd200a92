// Random programs of AVX, FMA, BMI and their like, host CPU against engine, in 64-bit and in 32-bit code.
// LHYPE_DIFF_SECONDS makes a run longer, LHYPE_DIFF_SEED sets its first seed. On a host without AVX2 there is
// nothing to compare with: the tests say so and pass.

using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using Lhype.Cpu.Architecture;
using Lhype.Tests.Cpu.Oracle;
using Xunit;
using Xunit.Abstractions;

namespace Lhype.Tests.Cpu.Differential;

public sealed class VectorDifferentialTests(ITestOutputHelper output)
{
    private const int MaxReported = 8;

    public static TheoryData<string> Configurations() =>
        [.. EngineConfiguration.All.Select(configuration => configuration.Name)];

    [Theory]
    [MemberData(nameof(Configurations))]
    public void Single64(string engine) => CompareLong(engine, 1);

    [Theory]
    [MemberData(nameof(Configurations))]
    public void Straight64(string engine) => CompareLong(engine, 24);

    [Theory]
    [MemberData(nameof(Configurations))]
    public void Single32(string engine) => CompareNarrow(engine, CaseShape.SingleVector);

    [Theory]
    [MemberData(nameof(Configurations))]
    public void Straight32(string engine) => CompareNarrow(engine, CaseShape.StraightVector);

    private bool IsSkipped()
    {
        if (CpuModel.Find("host").HasAvx)
        {
            return false;
        }

        output.WriteLine("skipped: this host's CPU has no AVX, so there is nothing to compare with");
        return true;
    }

    private void CompareNarrow(string engine, CaseShape shape)
    {
        if (IsSkipped())
        {
            return;
        }

        _ = NativeOracle.Instance;
        EngineConfiguration configuration = EngineConfiguration.All.Single(c => c.Name == engine);
        using var harness = new EngineHarness(configuration.Engine, model: "host");
        var run = new DifferentialRun(engine, harness.RunUser, configuration.FlagsExactAtFaults);
        string report = run.Run(shape, seconds: 1.5);
        output.WriteLine($"{run.Cases} cases");
        Assert.True(report.Length == 0, report);
    }

    private void CompareLong(string engine, int length)
    {
        if (IsSkipped())
        {
            return;
        }

        EngineConfiguration configuration = EngineConfiguration.All.Single(c => c.Name == engine);
        using var harness = new LongHarness(configuration.Engine, "host");
        double seconds = LongDifferentialTests.Setting("LHYPE_DIFF_SECONDS", 2);
        int seed = LongDifferentialTests.Setting("LHYPE_DIFF_SEED", 1);
        var failures = new Dictionary<string, string>();
        var clock = Stopwatch.StartNew();
        int cases = 0;
        for (; clock.Elapsed.TotalSeconds < seconds && failures.Count < MaxReported; cases++)
        {
            var smallest = new LongCase(seed + cases, length, vector: true);
            if (Difference(smallest).Length == 0)
            {
                continue;
            }

            while (smallest.Shorter().FirstOrDefault(c => Difference(c).Length != 0) is { } shorter)
            {
                smallest = shorter;
            }

            string listing = smallest.Describe();
            string key = string.Join(' ', listing.Split('\n').Where(line => line.Length > 37)
                .Skip(1).Select(line => line[37..].Split(' ')[0]));
            failures.TryAdd(key, $"{engine}: seed {seed + cases}, shrunk to {smallest.Length}\n{listing}"
                + Difference(smallest));
        }

        output.WriteLine($"{cases} cases");
        Assert.True(failures.Count == 0, string.Join("\n", failures.Values));

        string Difference(LongCase @case) =>
            LongDifferentialTests.Difference(harness, @case, configuration.FlagsExactAtFaults);
    }
}
