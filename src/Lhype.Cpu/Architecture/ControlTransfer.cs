// Control transfers (SDM vol. 2 and vol. 3, 5.8): near branches with their limit checks, far jumps, calls and
// returns, call gates with a stack switch, IRET in all its forms, SYSENTER and SYSEXIT. In flat 32-bit code
// the translator does near branches itself; everything else, and every branch in other modes, comes here.
// These routines set RIP.

using Iced.Intel;

namespace Lhype.Cpu.Architecture;

public sealed unsafe partial class Processor
{
    private const uint SystemTss16 = 1;
    private const uint SystemCallGate16 = 4;
    private const uint SystemTss32 = 9;
    private const uint SystemCallGate32 = 12;

    /// <summary>Loads CS and RIP. In protected mode the selector's RPL becomes the CPL.</summary>
    private void CommitCode(ref SegmentCache code, uint cpl, ulong target)
    {
        if (UsesDescriptors)
        {
            code.Selector = (ushort)((code.Selector & 0xFFFCu) | cpl);
        }

        if (IsLongSegment(ref code))
        {
            // 64-bit mode ignores base and limit of CS.
            code.Base = 0;
            code.Limit = uint.MaxValue;
        }

        _state->Segment(SegmentRegister.Cs) = code;
        _state->Cpl = cpl;
        _state->Rip = target;
    }

    /// <summary>Sets RIP to a target in the current CS, or #GP(0) beyond its limit.</summary>
    private bool TryJumpNear(ulong target)
    {
        if (!IsJumpTarget(ref _state->Segment(SegmentRegister.Cs), target))
        {
            return RaiseProtection();
        }

        _state->Rip = target;
        return true;
    }

    /// <summary>Target of a relative branch. Iced decoded it at address 0, so its value is relative to
    /// RIP.</summary>
    private ulong RelativeTarget(in Instruction instruction) => instruction.Op0Kind switch
    {
        OpKind.NearBranch16 => (ushort)(_state->Rip + instruction.NearBranch16),
        OpKind.NearBranch32 => (uint)(_state->Rip + instruction.NearBranch32),
        _ => _state->Rip + instruction.NearBranch64,
    };

    /// <summary>JMP and CALL, near or far, direct or indirect.</summary>
    private bool ExecuteJumpOrCall(in Instruction instruction, ulong nextIp, bool call)
    {
        switch (instruction.Op0Kind)
        {
            case OpKind.NearBranch16:
            case OpKind.NearBranch32:
            case OpKind.NearBranch64:
                int branchSize = instruction.Op0Kind switch
                {
                    OpKind.NearBranch16 => 2,
                    OpKind.NearBranch32 => 4,
                    _ => 8,
                };
                return TryTransferNear(RelativeTarget(instruction), branchSize, nextIp, call);
            case OpKind.FarBranch16:
                uint narrow = instruction.FarBranch16;
                return TryTransferFar(instruction.FarBranchSelector, narrow, 2, nextIp, call);
            case OpKind.FarBranch32:
                uint wide = instruction.FarBranch32;
                return TryTransferFar(instruction.FarBranchSelector, wide, 4, nextIp, call);
        }

        if (instruction.IsJmpFarIndirect || instruction.IsCallFarIndirect)
        {
            int offsetSize = instruction.Code switch
            {
                Code.Jmp_m1616 or Code.Call_m1616 => 2,
                Code.Jmp_m1632 or Code.Call_m1632 => 4,
                _ => 8,
            };
            return TryReadFarPointer(instruction, offsetSize, out ulong offset, out uint selector)
                && TryTransferFar(selector, offset, offsetSize, nextIp, call);
        }

        int size = OperandSize(instruction, 0);
        return TryReadOperand(instruction, 0, size, out ulong target)
            && TryTransferNear(target, size, nextIp, call);
    }

    private bool TryTransferNear(ulong target, int size, ulong nextIp, bool call)
    {
        if (!IsJumpTarget(ref _state->Segment(SegmentRegister.Cs), target))
        {
            return RaiseProtection();
        }

        if (call && !TryPush(nextIp, size))
        {
            return false;
        }

        _state->Rip = target;
        return true;
    }

    /// <summary>RET, with the bytes of parameters to release.</summary>
    private bool ExecuteReturnNear(int size, uint release)
    {
        ulong pointer = _state->Gpr[Esp];
        if (!TryPop(ref pointer, size, out ulong target) || !TryJumpNear(target))
        {
            return false;
        }

        SetStackPointer(pointer + release);
        return true;
    }

    /// <summary>Jcc, JCXZ and LOOPcc. Only LOOP changes a register, and not if the branch faults.</summary>
    private bool ExecuteConditional(in Instruction instruction, ulong nextIp, bool taken)
    {
        if (!taken)
        {
            _state->Rip = nextIp;
            return true;
        }

        return TryJumpNear(RelativeTarget(instruction));
    }

    /// <summary>LOOP, LOOPE, LOOPNE and JCXZ; <paramref name="countSize"/> is the address size.</summary>
    private bool ExecuteLoop(in Instruction instruction, ulong nextIp, int countSize, bool decrement)
    {
        ulong mask = countSize switch { 2 => 0xFFFF, 4 => uint.MaxValue, _ => ulong.MaxValue };
        ulong count = _state->Gpr[Ecx] & mask;
        bool taken;
        if (decrement)
        {
            count = (count - 1) & mask;
            taken = count != 0 && (instruction.ConditionCode == ConditionCode.None
                || IsConditionTrue(instruction.ConditionCode));
        }
        else
        {
            taken = count == 0;
        }

        if (!ExecuteConditional(instruction, nextIp, taken))
        {
            return false;
        }

        if (decrement)
        {
            WriteGpr(Ecx, countSize, count);
        }

        return true;
    }

    /// <summary>Evaluates a condition code of Jcc.</summary>
    private bool IsConditionTrue(ConditionCode condition)
    {
        uint flags = _state->ArithFlags;
        bool carry = (flags & EflagsBits.Carry) != 0;
        bool zero = (flags & EflagsBits.Zero) != 0;
        bool sign = (flags & EflagsBits.Sign) != 0;
        bool overflow = (flags & EflagsBits.Overflow) != 0;
        bool parity = (flags & EflagsBits.Parity) != 0;
        return condition switch
        {
            ConditionCode.o => overflow,
            ConditionCode.no => !overflow,
            ConditionCode.b => carry,
            ConditionCode.ae => !carry,
            ConditionCode.e => zero,
            ConditionCode.ne => !zero,
            ConditionCode.be => carry || zero,
            ConditionCode.a => !carry && !zero,
            ConditionCode.s => sign,
            ConditionCode.ns => !sign,
            ConditionCode.p => parity,
            ConditionCode.np => !parity,
            ConditionCode.l => sign != overflow,
            ConditionCode.ge => sign == overflow,
            ConditionCode.le => zero || sign != overflow,
            _ => !zero && sign == overflow,
        };
    }

    /// <summary>Far JMP and CALL to a selector and offset.</summary>
    private bool TryTransferFar(uint selector, ulong offset, int size, ulong nextIp, bool call)
    {
        if (!UsesDescriptors)
        {
            SegmentCache real = RealSegment(SegmentRegister.Cs, selector);
            return TryEnterCode(ref real, _state->Cpl, offset, size, nextIp, call);
        }

        if (IsNull(selector))
        {
            return RaiseProtection();
        }

        if (!TryReadDescriptor(selector, Vector.GeneralProtection, out ulong descriptor))
        {
            return false;
        }

        SegmentCache code = Unpack(descriptor, selector);
        if ((code.Attributes & AttributeSegment) == 0)
        {
            return IsLongMode ? TryTransferLongGate(descriptor, selector, nextIp, call)
                : TryTransferSystem(descriptor, selector, nextIp, call);
        }

        bool conforming = (code.Attributes & AttributeConforming) != 0;
        uint cpl = _state->Cpl;
        if ((code.Attributes & AttributeCode) == 0
            || (conforming ? code.Dpl > cpl : (selector & 3) > cpl || code.Dpl != cpl)
            || !IsCodeSizeValid(ref code))
        {
            return RaiseProtection(SelectorError(selector));
        }

        if ((code.Attributes & AttributePresent) == 0)
        {
            return Raise(Vector.SegmentNotPresent, SelectorError(selector));
        }

        return TryMarkAccessed(ref code) && TryEnterCode(ref code, cpl, offset, size, nextIp, call);
    }

    /// <summary>Checks the offset, pushes the return address of a call, and loads CS:RIP at the same
    /// CPL.</summary>
    private bool TryEnterCode(ref SegmentCache code, uint cpl, ulong target, int size, ulong nextIp,
        bool call)
    {
        if (!IsJumpTarget(ref code, target))
        {
            return RaiseProtection();
        }

        if (call)
        {
            PushFrame frame = default;
            frame.Add(_state->Segment(SegmentRegister.Cs).Selector);
            frame.Add(nextIp);
            if (!TryPushFrame(ref frame, size))
            {
                return false;
            }
        }

        CommitCode(ref code, cpl, target);
        return true;
    }

    /// <summary>Far JMP and CALL through a call gate, a task gate or a TSS.</summary>
    private bool TryTransferSystem(ulong descriptor, uint selector, ulong nextIp, bool call)
    {
        uint attributes = (uint)(descriptor >> 40) & 0xFF;
        uint dpl = (attributes >> 5) & 3;
        uint type = attributes & 0xF;
        bool known = type is SystemTss16 or SystemTss32 or GateTask or SystemCallGate16 or SystemCallGate32;
        if (!known || dpl < _state->Cpl || dpl < (selector & 3))
        {
            return RaiseProtection(SelectorError(selector));
        }

        if ((attributes & AttributePresent) == 0)
        {
            return Raise(Vector.SegmentNotPresent, SelectorError(selector));
        }

        if (type is SystemCallGate16 or SystemCallGate32)
        {
            return TryTransferGate(descriptor, nextIp, call);
        }

        // The outgoing task resumes after this instruction.
        ulong ip = _state->Rip;
        _state->Rip = nextIp;
        TaskSwitchSource source = call ? TaskSwitchSource.Call : TaskSwitchSource.Jump;
        bool done = type == GateTask
            ? TrySwitchTaskThroughGate((uint)(descriptor >> 16) & 0xFFFF, source, _state->Eflags, false, 0)
            : TrySwitchTask(selector, source, _state->Eflags, false, 0);
        if (!done && !_taskSwitchCommitted)
        {
            _state->Rip = ip;
        }

        return done;
    }

    /// <summary>JMP and CALL through a call gate (SDM vol. 3, 5.8.3 and 5.8.4).</summary>
    private bool TryTransferGate(ulong gate, ulong nextIp, bool call)
    {
        uint selector = (uint)(gate >> 16) & 0xFFFF;
        bool wide = ((gate >> 40) & 8) != 0;
        ulong target = (uint)(gate & 0xFFFF) | (wide ? (uint)(gate >> 32) & 0xFFFF_0000 : 0);
        int size = wide ? 4 : 2;
        if (IsNull(selector))
        {
            return RaiseProtection();
        }

        if (!TryReadDescriptor(selector, Vector.GeneralProtection, out ulong descriptor))
        {
            return false;
        }

        SegmentCache code = Unpack(descriptor, selector);
        const uint codeSegment = AttributeSegment | AttributeCode;
        bool conforming = (code.Attributes & AttributeConforming) != 0;
        uint cpl = _state->Cpl;
        if ((code.Attributes & codeSegment) != codeSegment || code.Dpl > cpl
            || (!call && !conforming && code.Dpl != cpl))
        {
            return RaiseProtection(SelectorError(selector));
        }

        if ((code.Attributes & AttributePresent) == 0)
        {
            return Raise(Vector.SegmentNotPresent, SelectorError(selector));
        }

        if (!TryMarkAccessed(ref code))
        {
            return false;
        }

        return call && !conforming && code.Dpl < cpl
            ? TryCallInner(ref code, target, size, (int)(gate >> 32) & 31, nextIp)
            : TryEnterCode(ref code, cpl, target, size, nextIp, call);
    }

    /// <summary>A call gate to an inner ring: new stack from the TSS, parameters copied.</summary>
    private bool TryCallInner(ref SegmentCache code, ulong target, int size, int parameters, ulong nextIp)
    {
        if (!TryReadInnerStack(code.Dpl, out SegmentCache stack, out ulong pointer))
        {
            return false;
        }

        if (!IsJumpTarget(ref code, target))
        {
            return RaiseProtection();
        }

        PushFrame frame = default;
        frame.Add(_state->Segment(SegmentRegister.Ss).Selector);
        frame.Add(_state->Gpr[Esp]);
        for (int i = parameters - 1; i >= 0; i--)
        {
            ulong at = _state->Gpr[Esp] + (uint)(i * size);
            if (!TryPop(ref at, size, out ulong parameter))
            {
                return false;
            }

            frame.Add(parameter);
        }

        frame.Add(_state->Segment(SegmentRegister.Cs).Selector);
        frame.Add(nextIp);
        uint stackError = SelectorError(stack.Selector);
        if (!TryWriteFrame(ref stack, ref pointer, ref frame, size, user: false, stackError))
        {
            return false;
        }

        _state->Segment(SegmentRegister.Ss) = stack;
        CommitCode(ref code, code.Dpl, target);
        SetStackPointer(pointer);
        return true;
    }

    /// <summary>RETF, with the bytes of parameters to release on both stacks.</summary>
    private bool ExecuteReturnFar(int size, uint release)
    {
        ulong pointer = _state->Gpr[Esp];
        if (!TryPop(ref pointer, size, out ulong target) || !TryPop(ref pointer, size, out ulong selector))
        {
            return false;
        }

        return TryReturn((ushort)selector, target, pointer, size, release, 0, 0, popsStack: false);
    }

    /// <summary>IRET and IRETD (SDM vol. 2).</summary>
    private bool ExecuteInterruptReturn(int size, ulong nextIp)
    {
        if (IsLongMode)
        {
            return ExecuteLongInterruptReturn(size);
        }

        if (IsVirtual8086 && Iopl < 3)
        {
            return RaiseProtection();
        }

        if (UsesDescriptors && (_state->SystemFlags & EflagsBits.NestedTask) != 0)
        {
            return TryReturnFromTask((uint)nextIp);
        }

        ulong pointer = _state->Gpr[Esp];
        if (!TryPop(ref pointer, size, out ulong target) || !TryPop(ref pointer, size, out ulong selector)
            || !TryPop(ref pointer, size, out ulong image))
        {
            return false;
        }

        if (UsesDescriptors && size == 4 && _state->Cpl == 0 && (image & EflagsBits.Virtual8086) != 0)
        {
            return TryReturnToVirtual8086((ushort)selector, (uint)target, (uint)image, pointer);
        }

        return TryReturn((ushort)selector, target, pointer, size, 0,
            ResumeOnlyIfNeeded((uint)image, size), ReturnedFlags(size), popsStack: false);
    }

    /// <summary>The EFLAGS bits that IRET loads at the current CPL.</summary>
    private uint ReturnedFlags(int size)
    {
        uint mask = EflagsBits.Arithmetic | EflagsBits.Trap | EflagsBits.Direction | EflagsBits.NestedTask
            | EflagsBits.Resume;
        if (size != 2)
        {
            mask |= EflagsBits.AlignmentCheck | EflagsBits.Identification;
        }

        mask |= _state->Cpl == 0 ? EflagsBits.Iopl : 0;
        mask |= _state->Cpl <= Iopl ? EflagsBits.Interrupt : 0;
        return mask;
    }

    /// <summary>RF matters only to instruction breakpoints. It is dropped when there are none, so that it
    /// need not be cleared after every instruction.</summary>
    private uint ResumeOnlyIfNeeded(uint image, int size) =>
        size != 2 && HasCodeBreakpoints ? image : image & ~EflagsBits.Resume;

    /// <summary>
    /// The common end of RETF and IRET: CS:RIP are popped, <paramref name="pointer"/> is behind them (and
    /// behind EFLAGS). Returns to the same or an outer ring; sets the EFLAGS bits of <paramref
    /// name="flagsMask"/>. SS:RSP are popped too by a return to an outer ring, or always if
    /// <paramref name="popsStack"/>.
    /// </summary>
    private bool TryReturn(uint selector, ulong target, ulong pointer, int size, uint release, uint flags,
        uint flagsMask, bool popsStack)
    {
        if (!UsesDescriptors)
        {
            SegmentCache real = RealSegment(SegmentRegister.Cs, selector);
            if (!IsJumpTarget(ref real, target))
            {
                return RaiseProtection();
            }

            SetFlags(flags, flagsMask);
            CommitCode(ref real, _state->Cpl, target);
            SetStackPointer(pointer + release);
            return true;
        }

        if (!TryPrepareReturn(selector, target, out SegmentCache code))
        {
            return false;
        }

        uint rpl = selector & 3;
        bool outer = rpl != _state->Cpl;
        if (!outer && !popsStack)
        {
            SetFlags(flags, flagsMask);
            CommitCode(ref code, rpl, target);
            SetStackPointer(pointer + release);
            return true;
        }

        pointer += release;
        if (!TryPop(ref pointer, size, out ulong outerPointer)
            || !TryPop(ref pointer, size, out ulong outerStack)
            || !TryPrepareReturnStack((ushort)outerStack, rpl, ref code, out SegmentCache stack))
        {
            return false;
        }

        SetFlags(flags, flagsMask);
        CommitCode(ref code, rpl, target);
        _state->Segment(SegmentRegister.Ss) = stack;
        SetStackPointer(outerPointer + release);
        if (outer)
        {
            DropPrivilegedSegments();
        }

        return true;
    }

    /// <summary>Checks the code segment of a far return: RPL &gt;= CPL decides the new ring.</summary>
    private bool TryPrepareReturn(uint selector, ulong target, out SegmentCache code)
    {
        code = default;
        if (IsNull(selector))
        {
            return RaiseProtection();
        }

        if (!TryReadDescriptor(selector, Vector.GeneralProtection, out ulong descriptor))
        {
            return false;
        }

        code = Unpack(descriptor, selector);
        const uint codeSegment = AttributeSegment | AttributeCode;
        uint rpl = selector & 3;
        bool conforming = (code.Attributes & AttributeConforming) != 0;
        if ((code.Attributes & codeSegment) != codeSegment || rpl < _state->Cpl
            || (conforming ? code.Dpl > rpl : code.Dpl != rpl)
            || !IsCodeSizeValid(ref code))
        {
            return RaiseProtection(SelectorError(selector));
        }

        if ((code.Attributes & AttributePresent) == 0)
        {
            return Raise(Vector.SegmentNotPresent, SelectorError(selector));
        }

        if (!TryMarkAccessed(ref code))
        {
            return false;
        }

        KeepDescriptor(DescriptorKind.ReturnCode, selector, _state->Cpl, descriptor, ref code);
        return IsJumpTarget(ref code, target) || RaiseProtection();
    }

    /// <summary>IRETD at CPL 0 with VM set in the image: six more words follow EFLAGS (SDM vol. 3,
    /// 20.2.5).</summary>
    private bool TryReturnToVirtual8086(uint selector, uint target, uint image, ulong pointer)
    {
        ulong* words = stackalloc ulong[6];
        for (int i = 0; i < 6; i++)
        {
            if (!TryPop(ref pointer, 4, out words[i]))
            {
                return false;
            }
        }

        if (target > 0xFFFF)
        {
            return RaiseProtection();
        }

        SetFlags(ResumeOnlyIfNeeded(image, 4), uint.MaxValue);
        _state->Segment(SegmentRegister.Cs) = Virtual8086Segment(selector);
        _state->Segment(SegmentRegister.Ss) = Virtual8086Segment((uint)words[1]);
        _state->Segment(SegmentRegister.Es) = Virtual8086Segment((uint)words[2]);
        _state->Segment(SegmentRegister.Ds) = Virtual8086Segment((uint)words[3]);
        _state->Segment(SegmentRegister.Fs) = Virtual8086Segment((uint)words[4]);
        _state->Segment(SegmentRegister.Gs) = Virtual8086Segment((uint)words[5]);
        _state->Gpr[Esp] = words[0];
        _state->Cpl = 3;
        _state->Rip = target;
        return true;
    }

    /// <summary>SYSENTER (SDM vol. 2): flat CS and SS at CPL 0 from IA32_SYSENTER_CS, without descriptor
    /// reads; 64-bit code in IA-32e mode.</summary>
    private bool ExecuteSysenter()
    {
        uint selector = (uint)_state->SysenterCs & 0xFFFC;
        if (IsRealMode || selector == 0)
        {
            return RaiseProtection();
        }

        SetFlags(0, EflagsBits.Virtual8086 | EflagsBits.Interrupt | EflagsBits.Resume);
        bool wide = IsLongMode;
        SegmentCache code = FlatSegment(selector, wide ? FlatCode64 : FlatCode32);
        _state->Segment(SegmentRegister.Ss) = FlatSegment(selector + 8, FlatData);
        CommitCode(ref code, 0, wide ? _state->SysenterEip : (uint)_state->SysenterEip);
        _state->Gpr[Esp] = wide ? _state->SysenterEsp : (uint)_state->SysenterEsp;
        return true;
    }

    /// <summary>SYSEXIT: back to ring 3 with EIP from EDX and ESP from ECX; with REX.W to 64-bit
    /// code.</summary>
    private bool ExecuteSysexit(bool wide)
    {
        uint selector = (uint)_state->SysenterCs & 0xFFFC;
        if (IsRealMode || selector == 0 || _state->Cpl != 0)
        {
            return RaiseProtection();
        }

        ulong target = wide ? _state->Gpr[Edx] : Gpr32(Edx);
        ulong pointer = wide ? _state->Gpr[Ecx] : Gpr32(Ecx);
        if (!IsCanonical(target) || !IsCanonical(pointer))
        {
            return RaiseProtection();
        }

        uint first = selector + (wide ? 32u : 16);
        SegmentCache code = FlatSegment(first | 3, (wide ? FlatCode64 : FlatCode32) | Dpl3);
        _state->Segment(SegmentRegister.Ss) = FlatSegment((first + 8) | 3, FlatData | Dpl3);
        CommitCode(ref code, 3, target);
        _state->Gpr[Esp] = pointer;
        return true;
    }

    /// <summary>A 4 GiB segment at base 0 with the given descriptor attributes.</summary>
    private static SegmentCache FlatSegment(uint selector, uint attributes) =>
        new() { Selector = (ushort)selector, Limit = uint.MaxValue, Attributes = attributes };
}
