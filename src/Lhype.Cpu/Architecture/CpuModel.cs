// The CPU models of --cpu: what CPUID shows, and with it what the translator accepts. A feature that is not shown
// raises #UD, so a guest never depends on something by accident.

using System.Collections.Generic;

namespace Lhype.Cpu.Architecture;

/// <summary>A named set of CPUID leaves.</summary>
public sealed class CpuModel
{
    private CpuModel(string name) => Name = name;

    /// <summary>The name given to <c>--cpu</c>.</summary>
    public string Name { get; }

    /// <summary>The default model.</summary>
    public static CpuModel Base { get; } = new("base");

    /// <summary>All models, the default first.</summary>
    public static IReadOnlyList<CpuModel> All { get; } = [Base];
}
