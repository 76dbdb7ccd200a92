// Process-context identifiers (SDM vol. 3, 4.10.1): CR4.PCIDE, bit 63 of CR3 and INVPCID. Translations are
// not kept per context: a CPU may drop any at any time, and this one drops all that are not global with each
// load of CR3. Called by the routines of SystemRegisters.

using Iced.Intel;

namespace Lhype.Cpu.Architecture;

public sealed unsafe partial class Processor
{
    private const ulong ContextBits = 0xFFF, KeepTranslations = 1UL << 63;

    /// <summary>CR4.PCIDE can be set in IA-32e mode only, and only while CR3 names context 0 (SDM vol. 3,
    /// 4.10.1). <paramref name="set"/> are the CR4 bits that change from 0 to 1.</summary>
    private bool MayEnableContexts(ulong set) => (set & ControlBits.Cr4Pcide) == 0
        || (IsLongMode && (_state->Cr3 & ContextBits) == 0);

    /// <summary>A value for CR3 without the bit that asks to keep the context's translations, which no
    /// register holds. Without PCIDE the bit is reserved and stays.</summary>
    private ulong WithoutKeepBit(ulong value) =>
        (_state->Cr4 & ControlBits.Cr4Pcide) != 0 ? value & ~KeepTranslations : value;

    /// <summary>INVPCID: types 0 (an address in a context), 1 (a context), 2 (all, with global
    /// translations) and 3 (all without).</summary>
    private bool ExecuteInvalidateContext(in Instruction instruction)
    {
        if (!RequireRing0())
        {
            return false;
        }

        const int bytes = 16;
        ulong* descriptor = stackalloc ulong[2];
        ulong type = ReadRegister(instruction.Op0Register);
        if (type > 3)
        {
            return RaiseProtection();
        }

        if (!TryOperandAddress(instruction, bytes, write: false, out ulong at)
            || !_memory.TryReadBytes(at, (byte*)descriptor, bytes, IsUser))
        {
            return false;
        }

        ulong context = descriptor[0], linear = descriptor[1];
        bool contexts = (_state->Cr4 & ControlBits.Cr4Pcide) != 0;
        if (context > ContextBits || (type <= 1 && context != 0 && !contexts)
            || (type == 0 && !IsCanonical(linear)))
        {
            return RaiseProtection();
        }

        switch (type)
        {
            case 0:
                _memory.FlushPage(linear);
                break;
            case 2:
                _memory.FlushAll();
                break;
            default:
                _memory.FlushNonGlobal();
                break;
        }

        return true;
    }
}
