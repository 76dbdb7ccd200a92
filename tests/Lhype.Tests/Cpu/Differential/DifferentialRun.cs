// The loop of the random differential tests: make a case, run it on both sides, compare, shrink what fails.

using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using System.Text;
using Lhype.Cpu;
using Lhype.Tests.Cpu.Oracle;

namespace Lhype.Tests.Cpu.Differential;

/// <summary>Runs a program on the side under test.</summary>
internal delegate RunResult Subject(CpuImage cpu, TestMemory memory);

/// <summary>Cases from consecutive seeds until the time is over. LHYPE_DIFF_SECONDS lengthens it,
/// LHYPE_DIFF_SEED gives the first seed, LHYPE_DIFF_COUNT an exact number of cases.</summary>
internal sealed class DifferentialRun(
    string name, Subject subject, bool flagsExactAtFaults = false, Subject? oracle = null)
{
    private readonly Subject _oracle = oracle ?? NativeOracle.Instance.Run;
    private const int MaxReported = 8;
    private readonly Dictionary<string, string> _failures = [];

    /// <summary>Cases run so far.</summary>
    internal int Cases { get; private set; }

    /// <summary>Runs cases of one shape; returns a report, empty if all agreed.</summary>
    internal string Run(CaseShape shape, double seconds)
    {
        seconds = Setting("LHYPE_DIFF_SECONDS", (int)(seconds * 1000), 1000) / 1000.0;
        int seed = Setting("LHYPE_DIFF_SEED", 1, 1);
        int count = Setting("LHYPE_DIFF_COUNT", int.MaxValue, 1);
        var clock = Stopwatch.StartNew();
        for (int i = 0;
            i < count && clock.Elapsed.TotalSeconds < seconds && _failures.Count < MaxReported;
            i++)
        {
            Check(new RandomCase(shape, seed + i));
            Cases++;
        }

        return string.Join("\n", _failures.Values);
    }

    private static int Setting(string variable, int fallback, int factor) =>
        int.TryParse(Environment.GetEnvironmentVariable(variable), out int value) ? value * factor : fallback;

    private void Check(RandomCase start)
    {
        string difference = Difference(start);
        if (difference.Length == 0)
        {
            return;
        }

        RandomCase smallest = start;
        while (smallest.Shorter().FirstOrDefault(c => Difference(c).Length != 0) is { } shorter)
        {
            smallest = shorter;
        }

        var text = new StringBuilder();
        text.AppendLine($"{name}: seed {start.Seed} ({start.Shape}, {start.Length} instructions, "
            + $"shrunk to {smallest.Length})");
        text.Append(smallest.Describe()).Append(Difference(smallest));
        text.AppendLine($"  replay: LHYPE_DIFF_SEED={start.Seed} LHYPE_DIFF_COUNT=1 "
            + $"dotnet test tests/Lhype.Tests --filter DisplayName~{start.Shape}");
        // One report per last instruction of the shrunk program: the same bug tends to come many times.
        string listing = smallest.Describe();
        string key = string.Join(' ', listing.Split('\n')
            .Where(line => line.Length > 40 && line[2] is >= '0' and <= '9')
            .Select(line => line[37..].Split(' ')[0]));
        _failures.TryAdd(key, text.ToString());
    }

    private static bool IsCompareString(TestMemory memory, uint eip)
    {
        int at = TestLayout.OffsetOf(eip);
        var reader = new Iced.Intel.ByteArrayCodeReader(memory.Bytes, at, 15);
        return Iced.Intel.Decoder.Create(32, reader).Decode().Mnemonic
            is Iced.Intel.Mnemonic.Cmpsb or Iced.Intel.Mnemonic.Cmpsw or Iced.Intel.Mnemonic.Cmpsd;
    }

    private string Failure(RandomCase @case, TestMemory memory)
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

    private string Difference(RandomCase @case)
    {
        TestMemory memory = @case.MakeMemory();
        RunResult native;
        RunResult actual;
        try
        {
            native = _oracle(@case.Cpu, memory);
        }
        catch (InvalidOperationException e)
        {
            // Kernel code has lost its stack: the machine ends, and the other must say the same of it.
            return Failure(@case, memory) == e.Message ? "" : $"  oracle: {e.Message}\n";
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

        // Where both operands of CMPS are bad, which one is reported is the CPU's choice.
        if (!native.Completed && actual.Vector == Vector.PageFault && native.Cpu.Eip == actual.Cpu.Eip
            && IsCompareString(memory, native.Cpu.Eip))
        {
            return "";
        }

        // Flags that the block overwrites need not be exact when an instruction before or at that point
        // faults.
        uint ignored = !flagsExactAtFaults && !native.Completed ? EflagsBits.Arithmetic : 0;
        return RunResult.Compare(native, actual, ignored);
    }
}
