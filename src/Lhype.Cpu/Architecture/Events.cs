// Delivery of interrupts and exceptions (SDM vol. 3, chapter 6): through the interrupt vector table in real
// mode, through gates with a stack switch in protected mode, out of virtual-8086 mode, and through task
// gates. The vCPU's run loop calls DeliverException after an instruction faulted, DeliverInterrupt when the
// interrupt controller has a vector, and DeliverDebugTrap after an instruction ran with TF set.

namespace Lhype.Cpu.Architecture;

public sealed unsafe partial class Processor
{
    /// <summary>Where an event comes from; decides privilege checks, RF and the EXT bit.</summary>
    private enum EventKind
    {
        /// <summary>INTR or NMI.</summary>
        External,
        /// <summary>A fault: the saved EIP is that of the faulting instruction, the saved RF is 1.</summary>
        Fault,
        /// <summary>A trap or abort: RF is saved as it is.</summary>
        Trap,
        /// <summary>INT n, INT3, INTO: the gate's DPL is checked.</summary>
        Software,
        /// <summary>INT1: a debug exception asked for by the program; no privilege check.</summary>
        DebugOpcode,
    }

    private const uint GateTask = 5;
    private const uint GateInterrupt16 = 6;
    private const uint GateTrap16 = 7;
    private const uint GateInterrupt32 = 14;
    private const uint GateTrap32 = 15;

    /// <summary>
    /// Delivers the fault recorded in the state for the instruction at RIP. Faults met on the way follow SDM
    /// vol. 3, table 6-5. False: triple fault, the processor shuts down.
    /// </summary>
    public bool DeliverException()
    {
        // A chain of benign faults cannot be endless: each turn ends in delivery, #DF or shutdown, because a
        // fault met while delivering is contributory or a page fault.
        uint first = _state->FaultVector;
        while (true)
        {
            uint vector = _state->FaultVector;
            uint error = _state->FaultError;
            if (vector == Vector.PageFault)
            {
                _state->Cr2 = _state->FaultAddress;
            }

            EventKind kind = vector is Vector.DoubleFault or Vector.MachineCheck
                || (vector == Vector.Debug && !_debugIsFault) ? EventKind.Trap : EventKind.Fault;
            if (TryDeliver(vector, kind, HasErrorCode(vector), error))
            {
                return true;
            }

            uint second = _state->FaultVector;
            if (second == Vector.PageFault)
            {
                _state->Cr2 = _state->FaultAddress;
            }

            if (first == Vector.DoubleFault)
            {
                return false;
            }

            bool doubled = IsContributory(first)
                ? IsContributory(second)
                : first == Vector.PageFault && (IsContributory(second) || second == Vector.PageFault);
            if (doubled)
            {
                _ = Raise(Vector.DoubleFault);
            }

            first = _state->FaultVector;
        }
    }

    /// <summary>Delivers an external interrupt. False: triple fault.</summary>
    public bool DeliverInterrupt(int vector)
    {
        _state->Halted = 0;
        return TryDeliver((uint)vector, EventKind.External, hasError: false, 0) || DeliverException();
    }

    /// <summary>Delivers a non-maskable interrupt. False: triple fault.</summary>
    public bool DeliverNmi() => DeliverInterrupt((int)Vector.Nmi);

    /// <summary>#DE, #TS, #NP, #SS and #GP: a second one while the first is delivered makes a double
    /// fault.</summary>
    private static bool IsContributory(uint vector) =>
        vector == Vector.DivideError || vector is >= Vector.InvalidTss and <= Vector.GeneralProtection;

    /// <summary>Vectors that push an error code (SDM vol. 3, table 6-1).</summary>
    private static bool HasErrorCode(uint vector) =>
        vector is Vector.DoubleFault or Vector.AlignmentCheck
        || vector is >= Vector.InvalidTss and <= Vector.PageFault;

    /// <summary>INT n, INT3 and INTO: deliver as of the next instruction.</summary>
    private bool ExecuteSoftwareInterrupt(uint vector, ulong nextIp, EventKind kind = EventKind.Software,
        bool checkIopl = false)
    {
        if (checkIopl && IsVirtual8086 && Iopl < 3)
        {
            return RaiseProtection();
        }

        ulong ip = _state->Rip;
        _state->Rip = nextIp;
        _taskSwitchCommitted = false;
        if (TryDeliver(vector, kind, hasError: false, 0))
        {
            return true;
        }

        if (!_taskSwitchCommitted)
        {
            _state->Rip = ip;
        }

        return false;
    }

    /// <summary>Delivers one event with RIP as the saved instruction pointer. False: another fault is
    /// recorded, and nothing else has changed.</summary>
    private bool TryDeliver(uint vector, EventKind kind, bool hasError, uint error)
    {
        bool done;
        if (_paravirtual != null)
        {
            done = TryDeliverParavirtual(vector, kind, hasError, error);
        }
        else if (IsRealMode)
        {
            done = TryDeliverReal(vector);
        }
        else
        {
            _externalEvent = kind == EventKind.Software ? 0u : 1u;
            done = IsLongMode ? TryDeliverLong(vector, kind, hasError, error)
                : TryDeliverProtected(vector, kind, hasError, error);
            _externalEvent = 0;
        }

        if (done && vector == Vector.Debug)
        {
            _state->Dr[7] &= ~DebugGeneralDetect;
        }

        return done;
    }

    /// <summary>Real mode: FLAGS, CS and IP are pushed as words; the vector table is at IDTR (SDM
    /// 20.1.4).</summary>
    private bool TryDeliverReal(uint vector)
    {
        if ((vector * 4) + 3 > _state->IdtLimit)
        {
            return RaiseProtection((vector * 8) + 2);
        }

        if (!_memory.TryRead((uint)(_state->IdtBase + (vector * 4)), 4, user: false, out ulong entry))
        {
            return false;
        }

        PushFrame frame = default;
        frame.Add(_state->Eflags);
        frame.Add(_state->Segment(SegmentRegister.Cs).Selector);
        frame.Add((uint)_state->Rip);
        if (!TryPushFrame(ref frame, 2))
        {
            return false;
        }

        SetFlags(0, EflagsBits.Interrupt | EflagsBits.Trap | EflagsBits.AlignmentCheck | EflagsBits.Resume);
        SegmentCache code = RealSegment(SegmentRegister.Cs, (uint)(entry >> 16) & 0xFFFF);
        CommitCode(ref code, 0, (uint)entry & 0xFFFF);
        return true;
    }

    /// <summary>Protected mode: finds and checks the gate (SDM vol. 3, 6.12).</summary>
    private bool TryDeliverProtected(uint vector, EventKind kind, bool hasError, uint error)
    {
        uint gateError = (vector * 8) + 2 + _externalEvent;
        if ((vector * 8) + 7 > _state->IdtLimit)
        {
            return RaiseProtection(gateError);
        }

        if (!_memory.TryRead((uint)(_state->IdtBase + (vector * 8)), 8, user: false, out ulong gate))
        {
            return false;
        }

        uint attributes = (uint)(gate >> 40) & 0xFF;
        uint type = attributes & 0x1F;
        if (type is not (GateTask or GateInterrupt16 or GateTrap16 or GateInterrupt32 or GateTrap32)
            || (kind == EventKind.Software && ((attributes >> 5) & 3) < _state->Cpl))
        {
            return RaiseProtection(gateError);
        }

        if ((attributes & AttributePresent) == 0)
        {
            return Raise(Vector.SegmentNotPresent, gateError);
        }

        uint flags = _state->Eflags;
        flags = kind == EventKind.Fault ? flags | EflagsBits.Resume : flags;
        uint selector = (uint)(gate >> 16) & 0xFFFF;
        return type == GateTask
            ? TrySwitchTaskThroughGate(selector, TaskSwitchSource.Event, flags, hasError, error)
            : TryEnterHandler(gate, selector, type, flags, hasError, error);
    }

    /// <summary>Enters the handler of an interrupt or trap gate, on the current or an inner stack.</summary>
    private bool TryEnterHandler(ulong gate, uint selector, uint type, uint flags, bool hasError, uint error)
    {
        if (IsNull(selector))
        {
            return RaiseProtection(_externalEvent);
        }

        if (!TryReadDescriptor(selector, Vector.GeneralProtection, out ulong descriptor))
        {
            return false;
        }

        SegmentCache code = Unpack(descriptor, selector);
        const uint codeSegment = AttributeSegment | AttributeCode;
        uint cpl = _state->Cpl;
        if ((code.Attributes & codeSegment) != codeSegment || code.Dpl > cpl)
        {
            return RaiseProtection(SelectorError(selector));
        }

        if ((code.Attributes & AttributePresent) == 0)
        {
            return Raise(Vector.SegmentNotPresent, SelectorError(selector));
        }

        bool wide = type >= GateInterrupt32;
        ulong target = (uint)(gate & 0xFFFF) | (wide ? (uint)(gate >> 32) & 0xFFFF_0000 : 0);
        bool inner = (code.Attributes & AttributeConforming) == 0 && code.Dpl < cpl;
        uint newCpl = inner ? code.Dpl : cpl;
        if (IsVirtual8086 && newCpl != 0)
        {
            return RaiseProtection(SelectorError(selector));
        }

        SegmentCache stack = _state->Segment(SegmentRegister.Ss);
        ulong pointer = _state->Gpr[Esp];
        PushFrame frame = default;
        uint stackError = _externalEvent;
        if (inner)
        {
            if (!TryReadInnerStack(newCpl, out stack, out pointer))
            {
                return false;
            }

            stackError = SelectorError(stack.Selector);
            AddOuterStack(ref frame);
        }

        frame.Add(flags);
        frame.Add(_state->Segment(SegmentRegister.Cs).Selector);
        frame.Add((uint)_state->Rip);
        if (hasError)
        {
            frame.Add(error);
        }

        if (!TryMarkAccessed(ref code))
        {
            return false;
        }

        KeepDescriptor(DescriptorKind.HandlerCode, selector, cpl, descriptor, ref code);
        if (!IsJumpTarget(ref code, target))
        {
            return RaiseProtection(_externalEvent);
        }

        if (!TryWriteFrame(ref stack, ref pointer, ref frame, wide ? 4 : 2, newCpl == 3, stackError))
        {
            return false;
        }

        CommitHandler(ref code, ref stack, pointer, inner, target, clearInterrupt: (type & 1) == 0);
        return true;
    }

    /// <summary>What an inner handler's stack receives first: in virtual-8086 mode also the data
    /// segments.</summary>
    private void AddOuterStack(ref PushFrame frame)
    {
        if (IsVirtual8086)
        {
            frame.Add(_state->Segment(SegmentRegister.Gs).Selector);
            frame.Add(_state->Segment(SegmentRegister.Fs).Selector);
            frame.Add(_state->Segment(SegmentRegister.Ds).Selector);
            frame.Add(_state->Segment(SegmentRegister.Es).Selector);
        }

        frame.Add(_state->Segment(SegmentRegister.Ss).Selector);
        frame.Add(_state->Gpr[Esp]);
    }

    private void CommitHandler(ref SegmentCache code, ref SegmentCache stack, ulong pointer, bool inner,
        ulong target, bool clearInterrupt)
    {
        if (IsVirtual8086)
        {
            _state->Segment(SegmentRegister.Gs) = NullSegment(0);
            _state->Segment(SegmentRegister.Fs) = NullSegment(0);
            _state->Segment(SegmentRegister.Ds) = NullSegment(0);
            _state->Segment(SegmentRegister.Es) = NullSegment(0);
        }

        uint clear = EflagsBits.Trap | EflagsBits.Virtual8086 | EflagsBits.Resume | EflagsBits.NestedTask;
        SetFlags(0, clearInterrupt ? clear | EflagsBits.Interrupt : clear);
        if (inner)
        {
            _state->Segment(SegmentRegister.Ss) = stack;
        }

        CommitCode(ref code, inner ? code.Dpl : _state->Cpl, target);
        SetStackPointer(pointer);
    }

    /// <summary>SS and ESP for <paramref name="cpl"/> from the current TSS, 16 or 32-bit (SDM vol. 3,
    /// 7.2.1).</summary>
    private bool TryReadInnerStack(uint cpl, out SegmentCache stack, out ulong pointer)
    {
        stack = default;
        pointer = 0;
        ref SegmentCache task = ref _state->Segment(SegmentRegister.Tr);
        bool wide = (task.Type & 8) != 0;
        uint offset = wide ? 4 + (cpl * 8) : 2 + (cpl * 4);
        uint bytes = wide ? 6u : 4u;
        if (offset + bytes - 1 > task.Limit)
        {
            return Raise(Vector.InvalidTss, SelectorError(task.Selector));
        }

        ulong image = 0;
        if (!_memory.TryReadBytes((uint)(task.Base + offset), (byte*)&image, (int)bytes, user: false))
        {
            return false;
        }

        pointer = wide ? (uint)image : (ushort)image;
        return TryPrepareStack((ushort)(image >> (wide ? 32 : 16)), cpl, Vector.InvalidTss, out stack);
    }
}
