// What MachineBuilder hands to the command line: a machine ready to run, what to call its parts, and
// everything that must be freed with it.

using System;
using System.Collections.Generic;
using Lhype.Cpu;
using Lhype.Machine.Devices;
using Lhype.Machine.Profile;

namespace Lhype.Machine;

/// <summary>A machine that is complete and stands at its kernel's first instruction.</summary>
public sealed class BuiltMachine : IDisposable
{
    private readonly Stack<IDisposable> _owned = new();

    /// <summary>The machine.</summary>
    public required VirtualMachine Machine { get; init; }

    /// <summary>Its CPU; run it with <see cref="VcpuLoop"/>.</summary>
    public required IVcpu Vcpu { get; init; }

    /// <summary>Name of the engine that runs it.</summary>
    public required string EngineName { get; init; }

    /// <summary>The kernel in a few words.</summary>
    public required string KernelName { get; init; }

    /// <summary>The kernel's whole command line.</summary>
    public required string CommandLine { get; init; }

    /// <summary>Its profile, if the configuration asks for one.</summary>
    public GuestProfiling? Profiling { get; init; }

    /// <summary>Where the power button is, for use on the vCPU's thread; null if the board has
    /// none.</summary>
    public AcpiPm? PowerButton { get; init; }

    /// <summary>What the board adds to a crash report; nothing on a PC.</summary>
    public Func<string>? Details { get; init; }

    /// <summary>The state of the machine for a crash report. Only while its thread does not run.</summary>
    public string DescribeState()
    {
        string registers = VcpuRegisters.Describe(Vcpu);
        return Details is null ? registers : registers + "\n" + Details();
    }

    /// <summary>Frees <paramref name="things"/> with the machine, the last first.</summary>
    internal void Own(IEnumerable<IDisposable> things)
    {
        foreach (IDisposable thing in things)
        {
            _owned.Push(thing);
        }
    }

    /// <summary>Frees memory, files and locks. The vCPU's thread must have ended.</summary>
    public void Dispose()
    {
        while (_owned.TryPop(out IDisposable? thing))
        {
            thing.Dispose();
        }
    }
}
