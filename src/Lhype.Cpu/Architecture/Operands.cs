// Operands of a decoded instruction: registers by Iced number, effective addresses, memory operands. Iced's
// Register values are laid out in runs (AL.., AX.., EAX.., ES..), so a register is found by subtracting the
// start of its run.

using Iced.Intel;

namespace Lhype.Cpu.Architecture;

public sealed unsafe partial class Processor
{
    private const int Eax = 0, Ecx = 1, Edx = 2, Ebx = 3, Esp = 4, Ebp = 5, Esi = 6, Edi = 7;

    /// <summary>The low 32 bits of a general register by number.</summary>
    private uint Gpr32(int index) => (uint)_state->Gpr[index];

    /// <summary>Writes the low <paramref name="size"/> bytes of a general register; 4 bytes clear the upper
    /// half.</summary>
    private void WriteGpr(int index, int size, uint value)
    {
        byte* slot = (byte*)&_state->Gpr[index];
        switch (size)
        {
            case 1:
                *slot = (byte)value;
                break;
            case 2:
                *(ushort*)slot = (ushort)value;
                break;
            default:
                *(ulong*)slot = value;
                break;
        }
    }

    /// <summary>Size in bytes of a general, segment or control register.</summary>
    private static int SizeOf(Register register) => register switch
    {
        <= Register.R15L => 1,
        <= Register.R15W => 2,
        <= Register.R15D => 4,
        <= Register.R15 => 8,
        >= Register.ES and <= Register.GS => 2,
        _ => 4,
    };

    /// <summary>Value of a general or segment register, zero-extended.</summary>
    private uint ReadRegister(Register register)
    {
        int number = (int)register;
        if ((uint)(number - (int)Register.EAX) < 16)
        {
            return Gpr32(number - (int)Register.EAX);
        }

        if ((uint)(number - (int)Register.AX) < 16)
        {
            return (ushort)_state->Gpr[number - (int)Register.AX];
        }

        if ((uint)(number - (int)Register.AL) < 20)
        {
            return *ByteSlot(number - (int)Register.AL);
        }

        return (uint)(number - (int)Register.ES) < 6
            ? _state->Segment((SegmentRegister)(number - (int)Register.ES)).Selector
            : 0u;
    }

    /// <summary>Writes a general register with the rules of its size.</summary>
    private void WriteRegister(Register register, uint value)
    {
        int number = (int)register;
        if ((uint)(number - (int)Register.EAX) < 16)
        {
            _state->Gpr[number - (int)Register.EAX] = value;
        }
        else if ((uint)(number - (int)Register.AX) < 16)
        {
            WriteGpr(number - (int)Register.AX, 2, value);
        }
        else if ((uint)(number - (int)Register.AL) < 20)
        {
            *ByteSlot(number - (int)Register.AL) = (byte)value;
        }
    }

    /// <summary>Iced's order is AL CL DL BL AH CH DH BH SPL BPL SIL DIL R8L...</summary>
    private byte* ByteSlot(int index)
    {
        byte* registers = (byte*)_state->Gpr;
        if (index < 4)
        {
            return registers + (index * 8);
        }

        return index < 8 ? registers + ((index - 4) * 8) + 1 : registers + ((index - 4) * 8);
    }

    /// <summary>The segment of an instruction's memory operand, overrides included.</summary>
    private static SegmentRegister SegmentOf(in Instruction instruction) =>
        (SegmentRegister)(instruction.MemorySegment - Register.ES);

    /// <summary>The 16 or 32-bit offset of a memory operand (SDM vol. 1, 3.7.5).</summary>
    private uint EffectiveAddress(in Instruction instruction) =>
        EffectiveAddress(instruction, Gpr32(Esp));

    /// <summary>The same with another value for ESP: POP to memory computes its address after the
    /// increment.</summary>
    private uint EffectiveAddress(in Instruction instruction, uint stackPointer)
    {
        Register baseRegister = instruction.MemoryBase;
        Register indexRegister = instruction.MemoryIndex;
        uint offset = instruction.MemoryDisplacement32;
        if (baseRegister != Register.None)
        {
            offset += baseRegister == Register.ESP ? stackPointer : ReadRegister(baseRegister);
        }

        if (indexRegister != Register.None)
        {
            offset += ReadRegister(indexRegister) * (uint)instruction.MemoryIndexScale;
        }

        Register sizing = baseRegister != Register.None ? baseRegister : indexRegister;
        bool narrow = sizing == Register.None ? instruction.MemoryDisplSize == 2 : SizeOf(sizing) == 2;
        return narrow ? (ushort)offset : offset;
    }

    /// <summary>Linear address of the memory operand after its segment checks.</summary>
    private bool TryOperandAddress(in Instruction instruction, int size, bool write, out ulong linear) =>
        TryLinearize(SegmentOf(instruction), EffectiveAddress(instruction), size, write, out linear);

    /// <summary>Size in bytes of operand <paramref name="index"/>, a register or memory.</summary>
    private static int OperandSize(in Instruction instruction, int index) =>
        instruction.GetOpKind(index) == OpKind.Register
            ? SizeOf(instruction.GetOpRegister(index))
            : instruction.MemorySize.GetSize();

    /// <summary>Reads operand <paramref name="index"/> (register, memory or immediate).</summary>
    private bool TryReadOperand(in Instruction instruction, int index, int size, out uint value)
    {
        switch (instruction.GetOpKind(index))
        {
            case OpKind.Register:
                value = ReadRegister(instruction.GetOpRegister(index));
                return true;
            case OpKind.Memory:
                value = 0;
                if (!TryOperandAddress(instruction, size, write: false, out ulong linear)
                    || !_memory.TryRead(linear, size, IsUser, out ulong wide))
                {
                    return false;
                }

                value = (uint)wide;
                return true;
            default:
                value = (uint)instruction.GetImmediate(index);
                return true;
        }
    }

    /// <summary>Writes operand <paramref name="index"/> (register or memory).</summary>
    private bool TryWriteOperand(in Instruction instruction, int index, int size, uint value)
    {
        if (instruction.GetOpKind(index) == OpKind.Register)
        {
            WriteRegister(instruction.GetOpRegister(index), value);
            return true;
        }

        return TryOperandAddress(instruction, size, write: true, out ulong linear)
            && _memory.TryWrite(linear, size, value, IsUser);
    }

    /// <summary>Reads a far pointer operand: offset of <paramref name="offsetSize"/> bytes, then a
    /// selector.</summary>
    private bool TryReadFarPointer(in Instruction instruction, int offsetSize, out uint offset,
        out uint selector)
    {
        offset = 0;
        selector = 0;
        if (!TryOperandAddress(instruction, offsetSize + 2, write: false, out ulong linear))
        {
            return false;
        }

        ulong pointer = 0;
        if (!_memory.TryReadBytes(linear, (byte*)&pointer, offsetSize + 2, IsUser))
        {
            return false;
        }

        offset = offsetSize == 2 ? (ushort)pointer : (uint)pointer;
        selector = (ushort)(pointer >> (offsetSize * 8));
        return true;
    }
}
