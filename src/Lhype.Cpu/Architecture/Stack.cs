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
        public fixed ulong Values[Capacity];
        public int Count;

        public void Add(ulong value) => Values[Count++] = value;
    }

    /// <summary>Mask of the stack pointer: 32 bits if SS.B.</summary>
    private static ulong StackMaskOf(ref SegmentCache stack) =>
        (stack.Attributes & SegmentCache.BigBit) != 0 ? uint.MaxValue : 0xFFFF;

    /// <summary>Mask of the current stack pointer; 64-bit code uses all of RSP.</summary>
    private ulong StackMask =>
        IsLongCode ? ulong.MaxValue : StackMaskOf(ref _state->Segment(SegmentRegister.Ss));

    /// <summary>Writes RSP, ESP, or only SP on a 16-bit stack.</summary>
    private void SetStackPointer(ulong value) => _state->Gpr[Esp] = WithStackPointer(value);

    /// <summary>RSP with a new value in its part that the stack uses. ESP clears the upper half of RSP as any
    /// 32-bit register does.</summary>
    private ulong WithStackPointer(ulong value)
    {
        ulong mask = StackMask;
        return mask == 0xFFFF ? ((uint)_state->Gpr[Esp] & ~mask) | (value & mask) : value & mask;
    }

    /// <summary>Reads <paramref name="size"/> bytes of the current stack at <paramref name="pointer"/>, which
    /// advances; ESP does not.</summary>
    private bool TryPop(ref ulong pointer, int size, out ulong value)
    {
        value = 0;
        if (!TryLinearize(SegmentRegister.Ss, pointer & StackMask, size, write: false, out ulong linear)
            || !_memory.TryRead(linear, size, IsUser, out value))
        {
            return false;
        }

        pointer += (uint)size;
        return true;
    }

    /// <summary>Pushes one value on the current stack and moves ESP.</summary>
    private bool TryPush(ulong value, int size)
    {
        ulong pointer = (_state->Gpr[Esp] - (uint)size) & StackMask;
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
        ulong pointer = _state->Gpr[Esp];
        bool done = IsLongCode
            ? TryWriteLongFrame(ref pointer, ref frame, size, IsUser, _externalEvent)
            : TryWriteFrame(ref _state->Segment(SegmentRegister.Ss), ref pointer, ref frame, size, IsUser,
                _externalEvent);
        if (done)
        {
            SetStackPointer(pointer);
        }

        return done;
    }

    /// <summary>As <see cref="TryWriteFrame"/>, for the flat stack of 64-bit code.</summary>
    private bool TryWriteLongFrame(ref ulong pointer, ref PushFrame frame, int size, bool user,
        uint stackError)
    {
        int total = frame.Count * size;
        ulong lowest = pointer - (ulong)total;
        if (!IsCanonical(lowest) || !IsCanonical(pointer - 1))
        {
            return Raise(Vector.StackFault, stackError);
        }

        byte* image = stackalloc byte[PushFrame.Capacity * 8];
        FillImage(image, ref frame, size);
        if (!_memory.TryWriteBytes(lowest, image, total, user))
        {
            if ((lowest & 4095) + (ulong)total <= 4096)
            {
                // CR2 will name the first push, which is the highest in the page.
                _state->FaultAddress = pointer - (ulong)size;
            }

            return false;
        }

        pointer = lowest;
        return true;
    }

    private static void FillImage(byte* image, ref PushFrame frame, int size)
    {
        for (int i = 0; i < frame.Count; i++)
        {
            byte* slot = image + ((frame.Count - 1 - i) * size);
            switch (size)
            {
                case 2:
                    *(ushort*)slot = (ushort)frame.Values[i];
                    break;
                case 4:
                    *(uint*)slot = (uint)frame.Values[i];
                    break;
                default:
                    *(ulong*)slot = frame.Values[i];
                    break;
            }
        }
    }

    /// <summary>
    /// Writes <paramref name="frame"/> below <paramref name="pointer"/> in <paramref name="stack"/>, which
    /// need not be loaded yet. No room raises #SS with <paramref name="stackError"/>. On success the pointer
    /// has moved.
    /// </summary>
    private bool TryWriteFrame(ref SegmentCache stack, ref ulong pointer, ref PushFrame frame, int size,
        bool user, uint stackError)
    {
        uint mask = (uint)StackMaskOf(ref stack);
        uint total = (uint)(frame.Count * size);
        uint lowest = ((uint)pointer - total) & mask;
        ulong linear = (uint)(stack.Base + lowest);
        bool contiguous = lowest <= mask - (total - 1) && (linear & 4095) + total <= 4096;
        if (!contiguous)
        {
            return TryWriteItems(ref stack, ref pointer, ref frame, size, user, stackError);
        }

        byte* image = stackalloc byte[PushFrame.Capacity * 8];
        FillImage(image, ref frame, size);
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
    private bool TryWriteItems(ref SegmentCache stack, ref ulong pointer, ref PushFrame frame, int size,
        bool user, uint stackError)
    {
        uint mask = (uint)StackMaskOf(ref stack);
        uint offset = (uint)pointer;
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
        return TryReadOperand(instruction, 0, size, out ulong value) && TryPush(value, size);
    }

    /// <summary>POP to a register, segment register or memory. A memory address uses ESP after the
    /// increment.</summary>
    private bool ExecutePop(in Instruction instruction)
    {
        int size = instruction.StackPointerIncrement;
        ulong pointer = _state->Gpr[Esp];
        if (!TryPop(ref pointer, size, out ulong value))
        {
            return false;
        }

        pointer = WithStackPointer(pointer);
        if (instruction.Op0Kind == OpKind.Memory)
        {
            ulong offset = EffectiveAddress(instruction, pointer);
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
            if (!TryLoadSegment((SegmentRegister)(register - Register.ES), (ushort)value))
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
        ulong pointer = _state->Gpr[Esp];
        ulong* values = stackalloc ulong[8];
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

        ulong pointer = _state->Gpr[Esp];
        if (!TryPop(ref pointer, size, out ulong image))
        {
            return false;
        }

        uint mask = EflagsBits.Arithmetic | EflagsBits.Trap | EflagsBits.Direction | EflagsBits.NestedTask;
        if (size != 2)
        {
            mask |= EflagsBits.AlignmentCheck | EflagsBits.Identification;
        }

        mask |= _state->Cpl == 0 ? EflagsBits.Iopl : 0;
        mask |= _state->Cpl <= Iopl ? EflagsBits.Interrupt : 0;
        SetStackPointer(pointer);
        SetFlags((uint)image, mask);
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
        int size = instruction.Code switch
        {
            Code.Enterw_imm16_imm8 => 2,
            Code.Enterd_imm16_imm8 => 4,
            _ => 8,
        };
        uint allocation = instruction.Immediate16;
        int level = instruction.Immediate8_2nd & 31;
        ulong mask = StackMask;
        ulong framePointer = _state->Gpr[Ebp];
        PushFrame frame = default;
        frame.Add(framePointer);
        ulong newFrame = (_state->Gpr[Esp] - (uint)size) & mask;
        ulong display = framePointer;
        for (int i = 1; i < level; i++)
        {
            display -= (uint)size;
            ulong at = display & mask;
            if (!TryPop(ref at, size, out ulong outer))
            {
                return false;
            }

            frame.Add(outer);
        }

        if (level > 0)
        {
            frame.Add(WithStackPointer(newFrame));
        }

        // The instruction also faults if a write at the final stack pointer would fault (SDM: "#SS, #PF").
        ulong final = (newFrame - (ulong)((frame.Count - 1) * size) - allocation) & mask;
        if (!TryLinearize(SegmentRegister.Ss, final, 1, write: true, out ulong linear)
            || !_memory.TryProbeWrite(linear, 1, IsUser)
            || !TryPushFrame(ref frame, size))
        {
            return false;
        }

        WriteGpr(Ebp, size, WithStackPointer(newFrame));
        SetStackPointer(final);
        return true;
    }

    /// <summary>LEAVE: ESP from EBP, then POP EBP.</summary>
    private bool ExecuteLeave(int size)
    {
        ulong pointer = _state->Gpr[Ebp];
        if (!TryPop(ref pointer, size, out ulong value))
        {
            return false;
        }

        SetStackPointer(pointer);
        WriteGpr(Ebp, size, value);
        return true;
    }
}
