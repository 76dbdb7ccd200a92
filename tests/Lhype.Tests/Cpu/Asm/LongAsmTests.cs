// Runs every file of tests/asm64 natively and on every engine configuration, and compares: AsmTests for
// 64-bit code.

using System;
using System.IO;
using System.Linq;
using System.Text;
using Lhype.Cpu;
using Lhype.Tests.Cpu.Oracle;
using Xunit;

namespace Lhype.Tests.Cpu.Asm;

public sealed class LongAsmTests
{
    private const int Variations = 16;

    public static TheoryData<string> Names() =>
        [
            .. Directory.GetFiles(AsmSnippet.Folder64, "*.s")
                .Select(f => Path.GetFileNameWithoutExtension(f)).Order(),
        ];

    [Theory]
    [MemberData(nameof(Names))]
    public void Native(string name)
    {
        AsmSnippet snippet = AsmSnippet.All64[name];
        (LongImage cpu, TestMemory memory) = snippet.Start64(0);
        LongResult result = LongOracle.Instance.Run(cpu, memory);
        if (!snippet.Expectations.Any(e => e.Name == "vector"))
        {
            Assert.True(result.Completed, $"did not reach its end: {result.Lower()}");
        }

        foreach ((string what, ulong value) in snippet.Expectations)
        {
            int index = Array.IndexOf(LongImage.GprNames, what);
            ulong found = index >= 0 ? result.Cpu.Gpr[index]
                : what == "rip" ? result.Cpu.Rip : AsmTests.Read(result.Lower(), what);
            Assert.True(value == found, $"{what} is {found:x}, expected {value:x}");
        }
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Translated(string name)
    {
        AsmSnippet snippet = AsmSnippet.All64[name];
        _ = LongOracle.Instance;
        var failures = new StringBuilder();
        foreach (EngineConfiguration configuration in EngineConfiguration.All)
        {
            using var harness = new LongHarness(configuration.Engine);
            for (int variation = 0; variation <= (snippet.Vary.Count == 0 ? 0 : Variations); variation++)
            {
                (LongImage cpu, TestMemory memory) = snippet.Start64(variation);
                LongResult native = LongOracle.Instance.Run(cpu, memory);
                uint ignored = native.Completed || configuration.FlagsExactAtFaults
                    ? 0 : EflagsBits.Arithmetic;
                AsmTests.Note(failures, $"{configuration.Name}, variation {variation}",
                    LongResult.Compare(native, harness.Run(cpu, memory), ignored));
            }
        }

        Assert.True(failures.Length == 0, failures.ToString());
    }
}
