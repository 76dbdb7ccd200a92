// The privileged and rare half of the x86 architecture in plain C#: whatever emitted code does not do itself ends
// here, one routine per SDM section, spread over the files of this folder (partial class Processor). Called by the
// translator's trap exit with a decoded instruction, and by the vCPU's run loop to deliver exceptions and interrupts.

using Iced.Intel;
using Lhype.Cpu.Mmu;
using Lhype.Host;

namespace Lhype.Cpu.Architecture;

/// <summary>Executes instructions and delivers events on a <see cref="CpuState"/>.</summary>
public sealed unsafe partial class Processor
{
    private readonly CpuState* _state;
    private readonly LinearMemory _memory;
    private readonly GuestRam _ram;
    private readonly ICpuBus _bus;
    private readonly NativeRoutines _native;

    internal Processor(CpuState* state, LinearMemory memory, GuestRam ram, ICpuBus bus, NativeRoutines native)
    {
        _state = state;
        _memory = memory;
        _ram = ram;
        _bus = bus;
        _native = native;
    }
}
