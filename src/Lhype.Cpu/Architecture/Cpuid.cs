// CPUID (SDM vol. 2): the leaves come from the CPU model; only the TSC frequency is the machine's,
// and a few bits follow the control registers.

namespace Lhype.Cpu.Architecture;

public sealed unsafe partial class Processor
{
    private bool ExecuteCpuid()
    {
        uint leaf = Gpr32(Eax), subleaf = Gpr32(Ecx);
        CpuidResult result = _model.WithState(leaf, subleaf, _model.Query(leaf, subleaf, _bus.TscHz),
            _state->Cr4, _state->Xcr0);
        _state->Gpr[Eax] = result.Eax;
        _state->Gpr[Ebx] = result.Ebx;
        _state->Gpr[Ecx] = result.Ecx;
        _state->Gpr[Edx] = result.Edx;
        return true;
    }
}
