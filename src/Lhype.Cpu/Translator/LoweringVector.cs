// What of AVX is more than a copy: masked moves, whose operand as a whole need not be accessible, and
// VZEROUPPER of 32-bit code under a 64-bit kernel.

using Iced.Intel;
using Lhype.Cpu.Architecture;

namespace Lhype.Cpu.Translator;

internal sealed unsafe partial class Translator
{
    /// <summary>VMASKMOV and VPMASKMOV: copied if the whole operand is in a page that is at hand, otherwise
    /// C# moves the elements. In a window the host's MMU looks at those that count and at no
    /// others.</summary>
    private bool LowerMaskedMove(in Instruction instruction)
    {
        if (Windowed)
        {
            return LowerCopy(instruction);
        }

        bool store = instruction.Op0Kind == OpKind.Memory;
        BeginOperand(instruction, instruction.MemorySize.GetSize(), read: !store, write: store);
        int trap = -1;
        if (_openOperand >= 0)
        {
            trap = AddTrap(instruction);
            _cold[_openOperand].Kind = ColdKind.Trap;
            _cold[_openOperand].Target = trap;
        }

        EmitCopy(instruction, PointerForm);
        EndOperand();
        if (trap >= 0)
        {
            EnsureFlags();
            ContinueAfter(trap);
        }

        return false;
    }

    /// <summary>VZEROUPPER in compatibility mode.</summary>
    private void LowerZeroUpper()
    {
        FreeFlags();
        _emit.Call(_thunks.ZeroUppers);
    }
}
