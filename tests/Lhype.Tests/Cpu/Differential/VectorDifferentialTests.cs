// Random programs of AVX, FMA, BMI and their like, host CPU against engine, in 64-bit and in 32-bit code; see
// DifferentialRun for longer runs. On a host without AVX there is nothing to compare with: the tests say so
// and pass.

using System;
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

    /// <summary>32-bit code in long mode: VZEROUPPER and VZEROALL leave YMM8-15 as they are.</summary>
    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public void CompatibilityModeKeepsHighRegisters(bool all, bool highInUse)
    {
        if (IsSkipped())
        {
            return;
        }

        // push 23h; push offset narrow; retfq; narrow: vzero...; jmp far 33h:wide; wide: hlt
        byte[] code =
        [
            0x6A, 0x23, 0x68, 0x09, 0x00, 0x00, 0x10, 0x48, 0xCB, 0xC5, all ? (byte)0xFC : (byte)0xF8, 0x77,
            0xEA, 0x13, 0x00, 0x00, 0x10, 0x33, 0x00, 0xF4,
        ];
        var memory = new TestMemory();
        code.CopyTo(memory.Code);
        var cpu = new LongImage();
        cpu.Gpr[4] = TestLayout.StackPointer;
        new Random(1).NextBytes(cpu.Upper.AsSpan(0, highInUse ? 256 : 128));
        new Random(2).NextBytes(cpu.Fx.AsSpan(160, 256));
        foreach (EngineConfiguration configuration in EngineConfiguration.All)
        {
            using var harness = new LongHarness(configuration.Engine, "host");
            LongResult native = LongOracle.Instance.Run(cpu, memory);
            Assert.True(native.Completed);
            Assert.Equal("", LongResult.Compare(native, harness.Run(cpu, memory), 0));
        }
    }

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
