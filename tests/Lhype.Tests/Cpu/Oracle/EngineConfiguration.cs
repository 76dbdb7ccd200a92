// The ways each engine is run by the asm and differential tests.

using System.Collections.Generic;
using Lhype.Cpu;
using Lhype.Cpu.Translator;

namespace Lhype.Tests.Cpu.Oracle;

/// <summary>A named engine set-up.</summary>
internal sealed record EngineConfiguration(string Name, IEngine Engine)
{
    /// <summary>All set-ups under test.</summary>
    internal static IReadOnlyList<EngineConfiguration> All { get; } =
    [
        new("translator", new TranslatorEngine()),
    ];
}
