// The default engine: same-ISA translation of guest code to host code.

using System;
using Lhype.Cpu.Architecture;
using Lhype.Host;

namespace Lhype.Cpu.Translator;

/// <summary>Makes vCPUs that run guest code by translating it.</summary>
public sealed class TranslatorEngine : IEngine
{
    /// <inheritdoc/>
    public string Name => "translator";

    /// <inheritdoc/>
    public IVcpu CreateVcpu(GuestRam ram, ICpuBus bus, CpuModel model) => throw new NotImplementedException();
}
