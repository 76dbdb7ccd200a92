// Random programs of AVX, FMA, BMI and their like, host CPU against engine, in 64-bit and in 32-bit code; see
// DifferentialRun for longer runs. On a host without AVX there is nothing to compare with: the tests say so
// and pass.

using System.Linq;
using Lhype.Cpu.Architecture;
using Lhype.Tests.Cpu.Oracle;
using Xunit;
using Xunit.Abstractions;

namespace Lhype.Tests.Cpu.Differential;

public sealed class VectorDifferentialTests(ITestOutputHelper output)
{
    /// <summary>Cases of one test, about two seconds.</summary>
    private const int Cases = 6000, CasesLong = 4000;

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
        var run = new DifferentialRun<RandomCase>($"{engine}, {shape}", c => DifferentialTests.Difference(
            c, NativeOracle.Instance.Run, harness.RunUser, configuration.FlagsExactAtFaults));
        string report = run.Run(seed => new RandomCase(shape, seed), Cases);
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
        var run = new DifferentialRun<LongCase>($"{engine}, 64-bit vector code",
            c => LongDifferentialTests.Difference(harness, c, configuration.FlagsExactAtFaults));
        string report = run.Run(seed => new LongCase(seed, length, vector: true), CasesLong);
        output.WriteLine($"{run.Cases} cases");
        Assert.True(report.Length == 0, report);
    }
}
