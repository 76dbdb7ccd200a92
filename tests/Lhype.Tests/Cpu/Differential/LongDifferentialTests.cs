// Random 64-bit programs, host CPU against engine. Seeds are fixed; see DifferentialRun for longer runs.

using System;
using System.Linq;
using Lhype.Cpu;
using Lhype.Tests.Cpu.Oracle;
using Xunit;
using Xunit.Abstractions;

namespace Lhype.Tests.Cpu.Differential;

public sealed class LongDifferentialTests(ITestOutputHelper output)
{
    /// <summary>Cases of one test, about two seconds.</summary>
    private const int Cases = 4000;

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
        var run = new DifferentialRun<LongCase>($"{engine}, 64-bit code",
            c => Difference(harness, c, configuration.FlagsExactAtFaults));
        string report = run.Run(seed => new LongCase(seed, length), Cases);
        output.WriteLine($"{run.Cases} cases");
        Assert.True(report.Length == 0, report);
    }

    internal static string Difference(LongHarness harness, LongCase @case, bool exact)
    {
        TestMemory memory = @case.MakeMemory();
        LongResult native = LongOracle.Instance.Run(@case.Cpu, memory);
        try
        {
            LongResult actual = harness.Run(@case.Cpu, memory);
            return Latitude.IsUnmaskedStore(native.Lower(), actual.Lower(), 64) ? ""
                : LongResult.Compare(native, actual,
                    !exact && !native.Completed ? EflagsBits.Arithmetic : 0);
        }
        catch (InvalidOperationException e)
        {
            return $"  {e.Message}\n";
        }
    }
}
