// Decimal adjustment (SDM vol. 1, 7.3.5): DAA, DAS, AAA, AAS, AAM, AAD, and the small instructions that have
// no 64-bit encoding or an implicit memory operand: SALC, XLAT, BOUND. Flags that the SDM leaves undefined
// are set as AMD CPUs set them; the snippets of tests/asm compare them with the host.

using Iced.Intel;

namespace Lhype.Cpu.Architecture;

public sealed unsafe partial class Processor
{
    private bool Carry => (_state->ArithFlags & EflagsBits.Carry) != 0;

    private bool Adjust => (_state->ArithFlags & EflagsBits.Adjust) != 0;

    private static uint FlagIf(bool condition, uint flag) => condition ? flag : 0;

    /// <summary>SF, ZF and PF of a byte.</summary>
    private static uint SignZeroParity(byte value) =>
        FlagIf((value & 0x80) != 0, EflagsBits.Sign) | FlagIf(value == 0, EflagsBits.Zero) | ParityOf(value);

    /// <summary>DAA and DAS. OF, undefined, is that of the one addition or subtraction.</summary>
    private bool ExecuteDecimalAdjust(bool subtract)
    {
        uint old = (byte)_state->Gpr[Eax];
        bool low = (old & 15) > 9 || Adjust;
        bool high = old > 0x99 || Carry;
        bool carry = high || (subtract && low && old < 6);
        uint correction = (low ? 6u : 0) + (high ? 0x60u : 0);
        byte value = (byte)(subtract ? old - correction : old + correction);
        uint overflow = subtract ? (old ^ correction) & (old ^ value) : (old ^ value) & (correction ^ value);
        WriteGpr(Eax, 1, value);
        _state->ArithFlags = SignZeroParity(value) | FlagIf(low, EflagsBits.Adjust)
            | FlagIf(carry, EflagsBits.Carry) | FlagIf((overflow & 0x80) != 0, EflagsBits.Overflow);
        return true;
    }

    /// <summary>AAA and AAS. SF, ZF, PF and OF, undefined, are those of the 16-bit addition or subtraction of
    /// 106H, before the upper half of AL is cleared.</summary>
    private bool ExecuteAsciiAdjust(bool subtract)
    {
        uint old = (ushort)_state->Gpr[Eax];
        bool adjust = (old & 15) > 9 || Adjust;
        uint correction = adjust ? 0x106u : 0;
        uint value = (ushort)(subtract ? old - correction : old + correction);
        uint overflow = subtract ? (old ^ correction) & (old ^ value) : (old ^ value) & (correction ^ value);
        WriteGpr(Eax, 2, value & 0xFF0F);
        _state->ArithFlags = ParityOf((byte)value) | FlagIf((value & 0x8000) != 0, EflagsBits.Sign)
            | FlagIf(value == 0, EflagsBits.Zero) | FlagIf((overflow & 0x8000) != 0, EflagsBits.Overflow)
            | FlagIf(adjust, EflagsBits.Adjust | EflagsBits.Carry);
        return true;
    }

    /// <summary>AAM: AH and AL become quotient and remainder of AL by the immediate; zero raises
    /// #DE.</summary>
    private bool ExecuteAsciiMultiply(uint divisor)
    {
        if (divisor == 0)
        {
            return Raise(Vector.DivideError);
        }

        uint value = (byte)_state->Gpr[Eax];
        WriteGpr(Eax, 2, ((value / divisor) << 8) | (value % divisor));
        _state->ArithFlags = SignZeroParity((byte)(value % divisor));
        return true;
    }

    /// <summary>AAD: AL = AL + AH * immediate, AH = 0.</summary>
    private bool ExecuteAsciiDivide(uint multiplier)
    {
        uint value = (ushort)_state->Gpr[Eax];
        byte result = (byte)(value + ((value >> 8) * multiplier));
        WriteGpr(Eax, 2, result);
        _state->ArithFlags = SignZeroParity(result);
        return true;
    }

    /// <summary>SALC: AL becomes all copies of CF.</summary>
    private bool ExecuteSetAlFromCarry()
    {
        WriteGpr(Eax, 1, Carry ? 0xFFu : 0);
        return true;
    }

    /// <summary>XLAT: AL indexes a table at (E)BX.</summary>
    private bool ExecuteTranslate(in Instruction instruction)
    {
        if (!TryOperandAddress(instruction, 1, write: false, out ulong linear)
            || !_memory.TryRead(linear, 1, IsUser, out ulong value))
        {
            return false;
        }

        WriteGpr(Eax, 1, (uint)value);
        return true;
    }

    /// <summary>BOUND: #BR if a signed index is outside the two bounds in memory.</summary>
    private bool ExecuteBound(in Instruction instruction)
    {
        int size = SizeOf(instruction.Op0Register);
        ulong bounds = 0;
        if (!TryOperandAddress(instruction, size * 2, write: false, out ulong linear)
            || !_memory.TryReadBytes(linear, (byte*)&bounds, size * 2, IsUser))
        {
            return false;
        }

        uint register = (uint)ReadRegister(instruction.Op0Register);
        int index = size == 2 ? (short)register : (int)register;
        int lower = size == 2 ? (short)bounds : (int)bounds;
        int upper = size == 2 ? (short)(bounds >> 16) : (int)(bounds >> 32);
        return (index >= lower && index <= upper) || Raise(Vector.BoundRange);
    }
}
