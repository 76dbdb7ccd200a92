// Runs every file of tests/asm natively and on every engine configuration, and compares. The native half
// also checks the file's `expect:` line, so that a wrong expectation cannot hide behind a wrong engine.

using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;
using Lhype.Cpu;
using Lhype.Tests.Cpu.Oracle;
using Xunit;

namespace Lhype.Tests.Cpu.Asm;

public sealed class AsmTests
{
    private const int Variations = 16;

    public static TheoryData<string> Names() =>
        [
            .. Directory.GetFiles(AsmSnippet.Folder, "*.s")
                .Select(f => Path.GetFileNameWithoutExtension(f)).Order(),
        ];

    [Theory]
    [MemberData(nameof(Names))]
    public void Native(string name)
    {
        AsmSnippet snippet = AsmSnippet.All[name];
        (CpuImage cpu, TestMemory memory) = snippet.Start(0);
        RunResult result = NativeOracle.Instance.Run(cpu, memory);
        if (!snippet.Expectations.Any(e => e.Name == "vector"))
        {
            Assert.True(result.Completed, "did not reach its end: " + result);
        }

        foreach ((string what, ulong wide) in snippet.Expectations)
        {
            uint value = (uint)wide;
            Assert.True(value == Read(result, what), $"{what} is {Read(result, what):x}, expected {value:x}");
        }
    }

    /// <summary>An oracle that answers differently the second time would make the comparisons
    /// worthless.</summary>
    [Theory]
    [MemberData(nameof(Names))]
    public void NativeIsDeterministic(string name)
    {
        AsmSnippet snippet = AsmSnippet.All[name];
        for (int variation = 0; variation <= (snippet.Vary.Count == 0 ? 0 : Variations); variation++)
        {
            (CpuImage cpu, TestMemory memory) = snippet.Start(variation);
            RunResult first = NativeOracle.Instance.Run(cpu, memory);
            Assert.Equal("", RunResult.Compare(first, NativeOracle.Instance.Run(cpu, memory)));
        }
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Translated(string name)
    {
        AsmSnippet snippet = AsmSnippet.All[name];
        _ = NativeOracle.Instance;
        var failures = new StringBuilder();
        foreach (EngineConfiguration configuration in EngineConfiguration.All)
        {
            using var harness = new EngineHarness(configuration.Engine);
            for (int variation = 0; variation <= (snippet.Vary.Count == 0 ? 0 : Variations); variation++)
            {
                (CpuImage cpu, TestMemory memory) = snippet.Start(variation);
                RunResult native = NativeOracle.Instance.Run(cpu, memory);
                string at = $"{configuration.Name}, variation {variation}";
                uint ignored = native.Completed || configuration.FlagsExactAtFaults
                    ? 0 : EflagsBits.Arithmetic;
                Note(failures, at, RunResult.Compare(
                    native, harness.RunUser(cpu, memory), Latitude.At(native, 32, ignored)));
                if (snippet.RunsInKernel && native.Completed)
                {
                    // HLT at CPL 0 is no fault, so RF is not set (SDM vol. 3, 17.3.1.1).
                    Note(failures, at + ", CPL 0",
                        RunResult.Compare(native, harness.RunKernel(cpu, memory),
                            new Latitude(EflagsBits.Resume)));
                }
            }
        }

        if (snippet.IsKnownGap)
        {
            Assert.True(failures.Length != 0, "agrees now: remove the known-gap line");
            return;
        }

        Assert.True(failures.Length == 0, failures.ToString());
    }

    /// <summary>Adds to a report, up to a length that can be read.</summary>
    internal static void Note(StringBuilder failures, string at, string difference)
    {
        if (difference.Length != 0 && failures.Length < 4000)
        {
            failures.AppendLine(at).Append(difference);
        }
    }

    /// <summary>What the word <paramref name="what"/> of an `expect:` line stands for.</summary>
    internal static uint Read(RunResult result, string what)
    {
        int index = Array.IndexOf(CpuImage.GprNames, what);
        if (index >= 0)
        {
            return result.Cpu.Gpr[index];
        }

        if (what[0] == '[')
        {
            int offset = TestLayout.OffsetOf((uint)AsmSnippet.Value(what[1..^1]));
            return BitConverter.ToUInt32(result.Memory.Bytes, offset);
        }

        return what switch
        {
            "vector" => result.Vector,
            "error" => result.ErrorCode,
            "cr2" => result.FaultAddress,
            "eip" => result.Cpu.Eip,
            "cf" => result.Cpu.Eflags & 1,
            "zf" => (result.Cpu.Eflags >> 6) & 1,
            "sf" => (result.Cpu.Eflags >> 7) & 1,
            "of" => (result.Cpu.Eflags >> 11) & 1,
            "df" => (result.Cpu.Eflags >> 10) & 1,
            "fcw" => BitConverter.ToUInt16(result.Cpu.Fx, 0),
            "fsw" => BitConverter.ToUInt16(result.Cpu.Fx, 2),
            "mxcsr" => BitConverter.ToUInt32(result.Cpu.Fx, 24),
            _ => throw new InvalidDataException($"unknown expectation '{what}'"),
        };
    }
}
