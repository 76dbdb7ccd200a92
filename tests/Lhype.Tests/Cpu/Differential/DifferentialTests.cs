// Random programs, host CPU against engine. Seeds are fixed, so a failure repeats; see DifferentialRun for
// longer runs.

using System;
using System.Linq;
using Lhype.Cpu.Translator;
using Lhype.Tests.Cpu.Oracle;
using Xunit;
using Xunit.Abstractions;

namespace Lhype.Tests.Cpu.Differential;

public sealed class DifferentialTests(ITestOutputHelper output)
{
    public static TheoryData<string, string> Combinations()
    {
        var data = new TheoryData<string, string>();
        foreach (EngineConfiguration configuration in EngineConfiguration.All)
        {
            CaseShape[] shapes = [CaseShape.Single, CaseShape.Straight, CaseShape.Branching];
            foreach (CaseShape shape in shapes)
            {
                data.Add(configuration.Name, shape.ToString());
            }
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Combinations))]
    public void EngineAgreesWithHost(string engine, string shape)
    {
        _ = NativeOracle.Instance;
        EngineConfiguration configuration = EngineConfiguration.All.Single(c => c.Name == engine);
        using var harness = new EngineHarness(configuration.Engine);
        var run = new DifferentialRun(engine, harness.RunUser, configuration.FlagsExactAtFaults);
        string report = run.Run(Enum.Parse<CaseShape>(shape), seconds: 1.5);
        output.WriteLine($"{run.Cases} cases");
        Assert.True(report.Length == 0, report);
    }

    /// <summary>Kernel code with its data in the kernel's map, its code and stack outside, against the same
    /// through the TLBs and one instruction at a time, which <see cref="EngineAgreesWithHost"/> compares
    /// with the host.</summary>
    [Theory]
    [InlineData("Single")]
    [InlineData("Straight")]
    [InlineData("Branching")]
    public void KernelMapAgreesWithTlbs(string shape)
    {
        using var mapped = new EngineHarness(
            new TranslatorEngine { AlwaysMapAt = TestLayout.Data, CodeBytes = 4 << 20 }, kernelMap: true);
        using var plain = new EngineHarness(
            new TranslatorEngine { MaxBlockInstructions = 1, CodeBytes = 4 << 20 }, kernelMap: true);
        var run = new DifferentialRun("kernel map", mapped.RunKernel, oracle: plain.RunKernel);
        string report = run.Run(Enum.Parse<CaseShape>(shape), seconds: 1.5);
        output.WriteLine($"{run.Cases} cases");
        Assert.True(report.Length == 0, report);
        Assert.True(mapped.HasKernelMap);
        Assert.False(plain.HasKernelMap);
    }

    /// <summary>The oracle against itself: no case may depend on anything but its seed.</summary>
    [Theory]
    [InlineData("Single")]
    [InlineData("Straight")]
    [InlineData("Branching")]
    public void HostAgreesWithItself(string shape)
    {
        var run = new DifferentialRun("host", NativeOracle.Instance.Run);
        string report = run.Run(Enum.Parse<CaseShape>(shape), seconds: 0.7);
        output.WriteLine($"{run.Cases} cases");
        Assert.True(report.Length == 0, report);
    }

    /// <summary>Canary: an engine that gets one flag of one instruction wrong is found and shrunk to
    /// it.</summary>
    [Fact]
    public void PlantedDifferenceIsFound()
    {
        static RunResult Wrong(CpuImage cpu, TestMemory memory)
        {
            RunResult result = NativeOracle.Instance.Run(cpu, memory);
            Span<byte> code = memory.Bytes.AsSpan(TestLayout.OffsetOf(cpu.Eip), 200);
            int at = code.IndexOf([(byte)0x0F, (byte)0xA4]);
            if (result.Completed && at >= 0 && at < code.IndexOf((byte)0xF4))
            {
                result.Cpu.Eflags ^= Lhype.Cpu.EflagsBits.Carry;
            }

            return result;
        }

        var run = new DifferentialRun("canary", Wrong);
        string report = run.Run(CaseShape.Straight, seconds: 2);
        Assert.Contains("shrunk to 1)", report, StringComparison.Ordinal);
        Assert.Contains("shld", report, StringComparison.Ordinal);
    }
}
