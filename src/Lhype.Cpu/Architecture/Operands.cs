// Operands of a decoded instruction: registers by Iced number, effective addresses, memory operands. Iced's
// Register values are laid out in runs (AL.., AX.., EAX.., RAX.., ES..), so a register is found by
// subtracting the start of its run.

using Iced.Intel;

namespace Lhype.Cpu.Architecture;

public sealed unsafe partial class Processor
{
    private const int Eax = 0, Ecx = 1, Edx = 2, Ebx = 3, Esp = 4, Ebp = 5, Esi = 6, Edi = 7;

    /// <summary>The low 32 bits of a general register by number.</summary>
    private uint Gpr32(int index) => (uint)_state->Gpr[index];

    /// <summary>Writes the low <paramref name="size"/> bytes of a general register; 4 bytes clear the upper
    /// half.</summary>
    private void WriteGpr(int index, int size, ulong value)
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
            case 4:
                *(ulong*)slot = (uint)value;
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
    private ulong ReadRegister(Register register)
    {
        int number = (int)register;
        if ((uint)(number - (int)Register.EAX) < 16)
        {
            return Gpr32(number - (int)Register.EAX);
        }

        if ((uint)(number - (int)Register.RAX) < 16)
        {
            return _state->Gpr[number - (int)Register.RAX];
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
    private void WriteRegister(Register register, ulong value)
    {
        int number = (int)register;
        if ((uint)(number - (int)Register.EAX) < 16)
        {
            _state->Gpr[number - (int)Register.EAX] = (uint)value;
        }
        else if ((uint)(number - (int)Register.RAX) < 16)
        {
            _state->Gpr[number - (int)Register.RAX] = value;
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

    /// <summary>The 16, 32 or 64-bit offset of a memory operand (SDM vol. 1, 3.7.5).</summary>
    private ulong EffectiveAddress(in Instruction instruction) =>
        EffectiveAddress(instruction, _state->Gpr[Esp]);

    /// <summary>The same with another value for the stack pointer: POP to memory computes its address after
    /// the increment.</summary>
    private ulong EffectiveAddress(in Instruction instruction, ulong stackPointer)
    {
        Register baseRegister = instruction.MemoryBase;
        Register indexRegister = instruction.MemoryIndex;
        ulong offset = instruction.MemoryDisplacement64;
        if (baseRegister is Register.RIP or Register.EIP)
        {
            // Iced decoded it at address 0, so its displacement is relative to this instruction.
            offset += _state->Rip;
            return baseRegister == Register.EIP ? (uint)offset : offset;
        }

        if (baseRegister != Register.None)
        {
            offset += baseRegister is Register.ESP or Register.RSP ? stackPointer
                : ReadRegister(baseRegister);
        }

        if (indexRegister != Register.None)
        {
            offset += ReadRegister(indexRegister) * (ulong)instruction.MemoryIndexScale;
        }

        Register sizing = baseRegister != Register.None ? baseRegister : indexRegister;
        return (sizing == Register.None ? instruction.MemoryDisplSize : SizeOf(sizing)) switch
        {
            2 => (ushort)offset,
            4 => (uint)offset,
            _ => offset,
        };
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
    private bool TryReadOperand(in Instruction instruction, int index, int size, out ulong value)
    {
        switch (instruction.GetOpKind(index))
        {
            case OpKind.Register:
                value = ReadRegister(instruction.GetOpRegister(index));
                return true;
            case OpKind.Memory:
                value = 0;
                return TryOperandAddress(instruction, size, write: false, out ulong linear)
                    && _memory.TryRead(linear, size, IsUser, out value);
            default:
                value = instruction.GetImmediate(index);
                return true;
        }
    }

    /// <summary>Reads a 16-bit operand: a selector, or the machine status word.</summary>
    private bool TryReadWord(in Instruction instruction, int index, out uint value)
    {
        bool done = TryReadOperand(instruction, index, 2, out ulong wide);
        value = (ushort)wide;
        return done;
    }

    /// <summary>Writes operand <paramref name="index"/> (register or memory).</summary>
    private bool TryWriteOperand(in Instruction instruction, int index, int size, ulong value)
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
    private bool TryReadFarPointer(in Instruction instruction, int offsetSize, out ulong offset,
        out uint selector)
    {
        offset = 0;
        selector = 0;
        byte* pointer = stackalloc byte[16];
        if (!TryOperandAddress(instruction, offsetSize + 2, write: false, out ulong linear)
            || !_memory.TryReadBytes(linear, pointer, offsetSize + 2, IsUser))
        {
            return false;
        }

        offset = offsetSize switch
        {
            2 => *(ushort*)pointer,
            4 => *(uint*)pointer,
            _ => *(ulong*)pointer,
        };
        selector = *(ushort*)(pointer + offsetSize);
        return true;
    }
}
