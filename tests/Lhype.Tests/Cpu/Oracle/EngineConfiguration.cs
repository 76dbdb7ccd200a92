// The ways each engine is run by the asm and differential tests.

using System.Collections.Generic;
using Lhype.Cpu;
using Lhype.Cpu.Translator;

namespace Lhype.Tests.Cpu.Oracle;

/// <summary>A named engine set-up.</summary>
internal sealed record EngineConfiguration(string Name, IEngine Engine)
{
    /// <summary>True if every instruction is a block of its own, so that flags are exact even where they
    /// die.</summary>
    internal bool FlagsExactAtFaults { get; init; }

    /// <summary>Small, so that long runs also see the code memory fill up and be emptied.</summary>
    private const int CodeBytes = 4 << 20;

    /// <summary>All set-ups under test.</summary>
    internal static IReadOnlyList<EngineConfiguration> All { get; } =
    [
        new("translator-64", new TranslatorEngine { CodeBytes = CodeBytes }),
        new("translator-3",
            new TranslatorEngine { MaxBlockInstructions = 3, CodeBytes = CodeBytes, TestsUppers = true }),
        new("translator-window", new TranslatorEngine { AlwaysWindow = true, CodeBytes = CodeBytes }),
        new("translator-1", new TranslatorEngine { MaxBlockInstructions = 1, CodeBytes = CodeBytes })
        {
            FlagsExactAtFaults = true,
        },
    ];
}
