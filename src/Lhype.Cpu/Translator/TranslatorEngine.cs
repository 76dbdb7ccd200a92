// The default engine: same-ISA translation of guest code to host code.

using Lhype.Cpu.Architecture;
using Lhype.Host;

namespace Lhype.Cpu.Translator;

/// <summary>Makes vCPUs that run guest code by translating it.</summary>
public sealed class TranslatorEngine : IEngine
{
    /// <inheritdoc/>
    public string Name => "translator";

    /// <summary>Longest block in guest instructions, 1 to 64. One is the single-step configuration of the
    /// tests.</summary>
    public int MaxBlockInstructions { get; init; } = 64;

    /// <summary>Bytes of host code kept before everything is translated again.</summary>
    public int CodeBytes { get; init; } = 128 << 20;

    /// <summary>Every user program runs in a window from the start (see <c>UserWindow</c>), as the tests want
    /// it; otherwise those that run long.</summary>
    public bool AlwaysWindow { get; init; }

    /// <summary>Kernel code is run through a map (see <c>LinearMap</c>) that shows guest-physical 1 MiB at
    /// this linear address, from the start and however small, as the tests want it; null: through one that
    /// looks worthwhile.</summary>
    public uint? AlwaysMapAt { get; init; }

    /// <summary>Upper halves of vector registers are looked at one by one, as on host CPUs that cannot tell
    /// which are in use.</summary>
    public bool TestsUppers { get; init; }

    /// <summary>The window of a 64-bit program is looked up as on host CPUs without BMI2.</summary>
    public bool AvoidsBmi2 { get; init; }

    /// <inheritdoc/>
    public IVcpu CreateVcpu(GuestRam ram, ICpuBus bus, CpuModel model) =>
        new TranslatorVcpu(ram, bus, model, this);
}
