// Stack instructions (SDM vol. 1, chapter 6; vol. 2, PUSH to ENTER) and the two primitives every control
// transfer is made of: a cursor that pops without committing ESP, and a frame of values written before ESP
// moves.

using Iced.Intel;

namespace Lhype.Cpu.Architecture;

public sealed unsafe partial class Processor
{
    /// <summary>Values to be pushed by one operation, the first pushed first. The longest is an interrupt
    /// from virtual-8086 mode with an error code (10); a call gate adds up to 31 parameters.</summary>
    private ref struct PushFrame
    {
        public const int Capacity = 40;
        public fixed uint Values[Capacity];
        public int Count;

        public void Add(uint value) => Values[Count++] = value;
    }

    /// <summary>Mask of the stack pointer: 32 bits if SS.B.</summary>
    private static uint StackMaskOf(ref SegmentCache stack) =>
        (stack.Attributes & SegmentCache.BigBit) != 0 ? uint.MaxValue : 0xFFFF;

    /// <summary>Mask of the current stack pointer.</summary>
    private uint StackMask => StackMaskOf(ref _state->Segment(SegmentRegister.Ss));

    /// <summary>Writes ESP, or only SP on a 16-bit stack.</summary>
    private void SetStackPointer(uint value)
    {
        uint mask = StackMask;
        _state->Gpr[Esp] = (Gpr32(Esp) & ~mask) | (value & mask);
    }

    /// <summary>Reads <paramref name="size"/> bytes of the current stack at <paramref name="pointer"/>, which
    /// advances; ESP does not.</summary>
    private bool TryPop(ref uint pointer, int size, out uint value)
    {
        value = 0;
        if (!TryLinearize(SegmentRegister.Ss, pointer & StackMask, size, write: false, out ulong linear)
            || !_memory.TryRead(linear, size, IsUser, out ulong wide))
        {
            return false;
        }

        value = (uint)wide;
        pointer += (uint)size;
        return true;
    }

    /// <summary>Pushes one value on the current stack and moves ESP.</summary>
    private bool TryPush(uint value, int size)
    {
        uint pointer = (Gpr32(Esp) - (uint)size) & StackMask;
        if (!TryLinearize(SegmentRegister.Ss, pointer, size, write: true, out ulong linear)
            || !_memory.TryWrite(linear, size, value, IsUser))
        {
            return false;
        }

        SetStackPointer(pointer);
        return true;
    }

    /// <summary>Pushes <paramref name="frame"/> on the current stack and moves ESP.</summary>
    private bool TryPushFrame(ref PushFrame frame, int size)
    {
        uint pointer = Gpr32(Esp);
        if (!TryWriteFrame(ref _state->Segment(SegmentRegister.Ss), ref pointer, ref frame, size, IsUser,
            _externalEvent))
        {
            return false;
        }

        SetStackPointer(pointer);
        return true;
    }

    /// <summary>
    /// Writes <paramref name="frame"/> below <paramref name="pointer"/> in <paramref name="stack"/>, which
    /// need not be loaded yet. No room raises #SS with <paramref name="stackError"/>. On success the pointer
    /// has moved.
    /// </summary>
    private bool TryWriteFrame(ref SegmentCache stack, ref uint pointer, ref PushFrame frame, int size,
        bool user, uint stackError)
    {
        uint mask = StackMaskOf(ref stack);
        uint total = (uint)(frame.Count * size);
        uint lowest = (pointer - total) & mask;
        ulong linear = (uint)(stack.Base + lowest);
        bool contiguous = lowest <= mask - (total - 1) && (linear & 4095) + total <= 4096;
        if (!contiguous)
        {
            return TryWriteItems(ref stack, ref pointer, ref frame, size, user, stackError);
        }

        byte* image = stackalloc byte[PushFrame.Capacity * 4];
        for (int i = 0; i < frame.Count; i++)
        {
            byte* slot = image + ((frame.Count - 1 - i) * size);
            if (size == 2)
            {
                *(ushort*)slot = (ushort)frame.Values[i];
            }
            else
            {
                *(uint*)slot = frame.Values[i];
            }
        }

        if (!IsAccessAllowed(ref stack, lowest, total, write: true))
        {
            return Raise(Vector.StackFault, stackError);
        }

        if (!_memory.TryWriteBytes(linear, image, (int)total, user))
        {
            // CR2 will name the first push, which is the highest in the page.
            _state->FaultAddress = linear + total - (uint)size;
            return false;
        }

        pointer = lowest;
        return true;
    }

    /// <summary>A frame that crosses a page or wraps around the bottom of a 16-bit stack, item by item in the
    /// order of the pushes: a fault leaves what was written below the stack pointer, as it does on a
    /// CPU.</summary>
    private bool TryWriteItems(ref SegmentCache stack, ref uint pointer, ref PushFrame frame, int size,
        bool user, uint stackError)
    {
        uint mask = StackMaskOf(ref stack);
        uint offset = pointer;
        for (int i = 0; i < frame.Count; i++)
        {
            offset = (offset - (uint)size) & mask;
            if (!IsAccessAllowed(ref stack, offset, (uint)size, write: true))
            {
                return Raise(Vector.StackFault, stackError);
            }

            if (!_memory.TryWrite((uint)(stack.Base + offset), size, frame.Values[i], user))
            {
                return false;
            }
        }

        pointer = offset;
        return true;
    }

    /// <summary>PUSH of a register, segment register, memory operand or immediate.</summary>
    private bool ExecutePush(in Instruction instruction)
    {
        int size = -instruction.StackPointerIncrement;
        return TryReadOperand(instruction, 0, size, out uint value) && TryPush(value, size);
    }

    /// <summary>POP to a register, segment register or memory. A memory address uses ESP after the
    /// increment.</summary>
    private bool ExecutePop(in Instruction instruction)
    {
        int size = instruction.StackPointerIncrement;
        uint pointer = Gpr32(Esp);
        if (!TryPop(ref pointer, size, out uint value))
        {
            return false;
        }

        uint mask = StackMask;
        pointer = (Gpr32(Esp) & ~mask) | (pointer & mask);
        if (instruction.Op0Kind == OpKind.Memory)
        {
            uint offset = EffectiveAddress(instruction, pointer);
            if (!TryLinearize(SegmentOf(instruction), offset, size, write: true, out ulong linear)
                || !_memory.TryWrite(linear, size, value, IsUser))
            {
                return false;
            }

            _state->Gpr[Esp] = pointer;
            return true;
        }

        Register register = instruction.Op0Register;
        if (register is >= Register.ES and <= Register.GS)
        {
            if (!TryLoadSegment((SegmentRegister)(register - Register.ES), value))
            {
                return false;
            }

            _state->Gpr[Esp] = pointer;
            return true;
        }

        _state->Gpr[Esp] = pointer;
        WriteRegister(register, value);
        return true;
    }

    /// <summary>PUSHA and PUSHAD.</summary>
    private bool ExecutePushAll(int size)
    {
        PushFrame frame = default;
        for (int i = 0; i < 8; i++)
        {
            frame.Add(Gpr32(i));
        }

        return TryPushFrame(ref frame, size);
    }

    /// <summary>POPA and POPAD; the image of ESP is skipped.</summary>
    private bool ExecutePopAll(int size)
    {
        uint pointer = Gpr32(Esp);
        uint* values = stackalloc uint[8];
        for (int i = 7; i >= 0; i--)
        {
            if (!TryPop(ref pointer, size, out values[i]))
            {
                return false;
            }
        }

        for (int i = 0; i < 8; i++)
        {
            if (i != Esp)
            {
                WriteGpr(i, size, values[i]);
            }
        }

        SetStackPointer(pointer);
        return true;
    }

    /// <summary>PUSHF and PUSHFD: RF and VM read as 0. Virtual-8086 mode needs IOPL 3.</summary>
    private bool ExecutePushFlags(int size)
    {
        if (IsVirtual8086 && Iopl < 3)
        {
            return RaiseProtection();
        }

        return TryPush(_state->Eflags & ~(EflagsBits.Resume | EflagsBits.Virtual8086), size);
    }

    /// <summary>POPF and POPFD (SDM vol. 2, table 4-16): IOPL changes only at CPL 0, IF only if CPL &lt;=
    /// IOPL.</summary>
    private bool ExecutePopFlags(int size)
    {
        if (IsVirtual8086 && Iopl < 3)
        {
            return RaiseProtection();
        }

        uint pointer = Gpr32(Esp);
        if (!TryPop(ref pointer, size, out uint image))
        {
            return false;
        }

        uint mask = EflagsBits.Arithmetic | EflagsBits.Trap | EflagsBits.Direction | EflagsBits.NestedTask;
        if (size == 4)
        {
            mask |= EflagsBits.AlignmentCheck | EflagsBits.Identification;
        }

        mask |= _state->Cpl == 0 ? EflagsBits.Iopl : 0;
        mask |= _state->Cpl <= Iopl ? EflagsBits.Interrupt : 0;
        SetStackPointer(pointer);
        SetFlags(image, mask);
        return true;
    }

    /// <summary>Replaces the EFLAGS bits of <paramref name="mask"/>. Flags the CPU model lacks stay
    /// clear.</summary>
    private void SetFlags(uint image, uint mask) =>
        _state->Eflags = ((_state->Eflags & ~mask) | (image & mask)) & _model.EflagsMask;

    /// <summary>ENTER imm16, imm8 (SDM vol. 2): the frame pointers of up to 31 enclosing levels are
    /// copied.</summary>
    private bool ExecuteEnter(in Instruction instruction)
    {
        int size = instruction.Code == Code.Enterw_imm16_imm8 ? 2 : 4;
        uint allocation = instruction.Immediate16;
        int level = instruction.Immediate8_2nd & 31;
        uint mask = StackMask;
        uint framePointer = Gpr32(Ebp);
        PushFrame frame = default;
        frame.Add(framePointer);
        uint newFrame = (Gpr32(Esp) - (uint)size) & mask;
        uint display = framePointer;
        for (int i = 1; i < level; i++)
        {
            display -= (uint)size;
            uint at = display & mask;
            if (!TryPop(ref at, size, out uint outer))
            {
                return false;
            }

            frame.Add(outer);
        }

        if (level > 0)
        {
            frame.Add((Gpr32(Esp) & ~mask) | newFrame);
        }

        // The instruction also faults if a write at the final stack pointer would fault (SDM: "#SS, #PF").
        uint final = (newFrame - (uint)((frame.Count - 1) * size) - allocation) & mask;
        if (!TryLinearize(SegmentRegister.Ss, final, 1, write: true, out ulong linear)
            || !_memory.TryProbeWrite(linear, 1, IsUser)
            || !TryPushFrame(ref frame, size))
        {
            return false;
        }

        WriteGpr(Ebp, size, (Gpr32(Esp) & ~mask) | newFrame);
        SetStackPointer(final);
        return true;
    }

    /// <summary>LEAVE: ESP from EBP, then POP EBP.</summary>
    private bool ExecuteLeave(int size)
    {
        uint pointer = Gpr32(Ebp);
        if (!TryPop(ref pointer, size, out uint value))
        {
            return false;
        }

        SetStackPointer(pointer);
        WriteGpr(Ebp, size, value);
        return true;
    }
}
