// Random i386 programs, host CPU against engine. Seeds are fixed; see DifferentialRun for longer runs.

using System;
using System.Linq;
using Lhype.Cpu;
using Lhype.Cpu.Translator;
using Lhype.Tests.Cpu.Oracle;
using Xunit;
using Xunit.Abstractions;

namespace Lhype.Tests.Cpu.Differential;

public sealed class DifferentialTests(ITestOutputHelper output)
{
    /// <summary>Cases of one test with an engine, about 1.5 seconds.</summary>
    private const int Cases = 6000;

    /// <summary>Runs a program on one side.</summary>
    internal delegate RunResult Subject(CpuImage cpu, TestMemory memory);

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
        Check(engine, shape, Cases, c => Difference(
            c, NativeOracle.Instance.Run, harness.RunUser, configuration.FlagsExactAtFaults));
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
        Check("kernel map", shape, Cases / 3, c => Difference(c, plain.RunKernel, mapped.RunKernel));
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
        Check("host", shape, Cases,
            c => Difference(c, NativeOracle.Instance.Run, NativeOracle.Instance.Run, exact: true));
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

        var run = new DifferentialRun<RandomCase>(
            "canary", c => Difference(c, NativeOracle.Instance.Run, Wrong));
        string report = run.Run(seed => new RandomCase(CaseShape.Straight, seed), Cases);
        Assert.Contains("shrunk to 1)", report, StringComparison.Ordinal);
        Assert.Contains("shld", report, StringComparison.Ordinal);
    }

    private void Check(string name, string shape, int cases, Func<RandomCase, string> difference)
    {
        var run = new DifferentialRun<RandomCase>($"{name}, {shape}", difference);
        string report = run.Run(seed => new RandomCase(Enum.Parse<CaseShape>(shape), seed), cases);
        output.WriteLine($"{run.Cases} cases");
        Assert.True(report.Length == 0, report);
    }

    /// <summary>Runs a case on both sides; what differs. Unless <paramref name="exact"/>, flags that a block
    /// overwrites need not be right when an instruction before or at that point faults.</summary>
    internal static string Difference(RandomCase @case, Subject oracle, Subject subject, bool exact = false)
    {
        TestMemory memory = @case.MakeMemory();
        RunResult native;
        RunResult actual;
        try
        {
            native = oracle(@case.Cpu, memory);
        }
        catch (InvalidOperationException e)
        {
            // Kernel code has lost its stack: the machine ends, and the other must say the same of it.
            return Failure(subject, @case, memory) == e.Message ? "" : $"  oracle: {e.Message}\n";
        }

        try
        {
            actual = subject(@case.Cpu, memory);
        }
        catch (InvalidOperationException e)
        {
            return $"  {e.Message}\n";
        }

        if (!native.Completed && native.Vector is Vector.StackFault or Vector.GeneralProtection
            && actual.Vector == Vector.PageFault && actual.FaultAddress >= 0xFFFF_FFF0)
        {
            // An access that wraps around 4 GiB: a limit violation on some CPUs, two pages on others.
            return "";
        }

        if (Latitude.IsUnmaskedStore(native, actual, 32)
            || Latitude.IsOverwrittenRepeat(memory, @case.Cpu.Eip, native.Memory, actual.Memory))
        {
            return "";
        }

        uint ignored = !exact && !native.Completed ? EflagsBits.Arithmetic : 0;
        return RunResult.Compare(native, actual, Latitude.At(native, 32, ignored));
    }

    private static string Failure(Subject subject, RandomCase @case, TestMemory memory)
    {
        try
        {
            _ = subject(@case.Cpu, memory);
            return "none";
        }
        catch (InvalidOperationException e)
        {
            return e.Message;
        }
    }
}
