// CPUID (SDM vol. 2): the leaves come from the CPU model; only the TSC frequency is the machine's.

namespace Lhype.Cpu.Architecture;

public sealed unsafe partial class Processor
{
    private bool ExecuteCpuid()
    {
        CpuidResult result = _model.Query(Gpr32(Eax), Gpr32(Ecx), _bus.TscHz);
        _state->Gpr[Eax] = result.Eax;
        _state->Gpr[Ebx] = result.Ebx;
        _state->Gpr[Ecx] = result.Ecx;
        _state->Gpr[Edx] = result.Edx;
        return true;
    }
}
