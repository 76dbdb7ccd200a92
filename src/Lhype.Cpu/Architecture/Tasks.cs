// Hardware task switching (SDM vol. 3, chapter 7): JMP and CALL to a TSS or task gate, events through a task
// gate (Linux uses one for #DF), IRET with NT set, LTR. 16 and 32-bit task state segments.
//
// A task switch has a point of no return: once the new task's registers are loaded, a fault while loading its
// segment registers belongs to the new task, with the new CS:EIP saved. That is the one place where a false
// return does not mean that nothing has changed.

using Lhype.Cpu.Mmu;

namespace Lhype.Cpu.Architecture;

public sealed unsafe partial class Processor
{
    private const int Tss32Bytes = 104;
    private const int Tss16Bytes = 44;
    private const uint SystemLdt = 2;
    private const uint TssBusy = 2;

    /// <summary>What causes a task switch; decides busy flags, NT and the back link (SDM vol. 3, table
    /// 7-2).</summary>
    private enum TaskSwitchSource
    {
        Jump,
        Call,
        Event,
        Return,
    }

    /// <summary>The last task switch got past its point of no return.</summary>
    private bool _taskSwitchCommitted;

    /// <summary>Follows the TSS selector of a task gate.</summary>
    private bool TrySwitchTaskThroughGate(uint selector, TaskSwitchSource source, uint flags, bool hasError,
        uint error)
    {
        _taskSwitchCommitted = false;
        if ((selector & 4) != 0 || IsNull(selector))
        {
            return RaiseProtection(SelectorError(selector));
        }

        return TrySwitchTask(selector, source, flags, hasError, error);
    }

    /// <summary>IRET with NT set: back to the task named by the link field of the current TSS. The task left
    /// behind resumes after its IRET, at <paramref name="nextIp"/>, when it is called again.</summary>
    private bool TryReturnFromTask(uint nextIp)
    {
        _taskSwitchCommitted = false;
        ref SegmentCache task = ref _state->Segment(SegmentRegister.Tr);
        if (!_memory.TryRead((uint)task.Base, 2, user: false, out ulong link))
        {
            return false;
        }

        uint selector = (uint)link;
        if ((selector & 4) != 0 || IsNull(selector))
        {
            return Raise(Vector.InvalidTss, SelectorError(selector));
        }

        ulong ip = _state->Rip;
        _state->Rip = nextIp;
        bool done = TrySwitchTask(selector, TaskSwitchSource.Return, _state->Eflags, false, 0);
        if (!done && !_taskSwitchCommitted)
        {
            _state->Rip = ip;
        }

        return done;
    }

    /// <summary>Switches to the task of TSS <paramref name="selector"/>; RIP is where the old task resumes
    /// and
    /// <paramref name="flags"/> its EFLAGS. An error code is pushed on the new stack.</summary>
    private bool TrySwitchTask(uint selector, TaskSwitchSource source, uint flags, bool hasError, uint error)
    {
        _taskSwitchCommitted = false;
        bool back = source == TaskSwitchSource.Return;
        uint wrongType = back ? Vector.InvalidTss : Vector.GeneralProtection;
        if ((selector & 4) != 0)
        {
            return Raise(wrongType, SelectorError(selector));
        }

        if (!TryReadDescriptor(selector, wrongType, out ulong descriptor))
        {
            return false;
        }

        SegmentCache next = Unpack(descriptor, selector);
        uint wanted = back ? TssBusy : 0;
        if ((next.Attributes & (AttributeSegment | 7)) != (SystemTss16 | wanted))
        {
            return Raise(wrongType, SelectorError(selector));
        }

        if ((next.Attributes & AttributePresent) == 0)
        {
            return Raise(Vector.SegmentNotPresent, SelectorError(selector));
        }

        bool wide = (next.Type & 8) != 0;
        int bytes = wide ? Tss32Bytes : Tss16Bytes;
        uint* image = stackalloc uint[Tss32Bytes / 4];
        if (next.Limit < bytes - 1)
        {
            return Raise(Vector.InvalidTss, SelectorError(selector));
        }

        if (!_memory.TryReadBytes((uint)next.Base, (byte*)image, bytes, user: false)
            || !TryCommitOutgoing(ref next, source, back ? flags & ~EflagsBits.NestedTask : flags))
        {
            return false;
        }

        _taskSwitchCommitted = true;
        NewTask task = default;
        if (wide)
        {
            UnpackTask32(image, ref task);
        }
        else
        {
            UnpackTask16((ushort*)image, ref task);
        }

        if (source is TaskSwitchSource.Call or TaskSwitchSource.Event)
        {
            task.Flags |= EflagsBits.NestedTask;
        }

        next.Attributes |= TssBusy;
        _state->Segment(SegmentRegister.Tr) = next;
        return TryLoadTask(ref task, wide, hasError, error);
    }

    /// <summary>Register image of a TSS.</summary>
    private struct NewTask
    {
        public uint Cr3, Eip, Flags, Ldt;
        public fixed uint Gpr[8];
        public fixed uint Selector[6];
        public bool DebugTrap;
    }

    private static void UnpackTask32(uint* image, ref NewTask task)
    {
        task.Cr3 = image[7];
        task.Eip = image[8];
        task.Flags = image[9];
        for (int i = 0; i < 8; i++)
        {
            task.Gpr[i] = image[10 + i];
        }

        for (int i = 0; i < 6; i++)
        {
            task.Selector[i] = (ushort)image[18 + i];
        }

        task.Ldt = (ushort)image[24];
        task.DebugTrap = (image[25] & 1) != 0;
    }

    private static void UnpackTask16(ushort* image, ref NewTask task)
    {
        task.Eip = image[7];
        task.Flags = image[8];
        for (int i = 0; i < 8; i++)
        {
            task.Gpr[i] = image[9 + i] | 0xFFFF_0000;
        }

        for (int i = 0; i < 4; i++)
        {
            task.Selector[i] = image[17 + i];
        }

        task.Ldt = image[21];
    }

    /// <summary>Saves the old task, links it, and moves the busy flags. Everything is probed first; the
    /// writes to the descriptor table and to both segments are the point of no return.</summary>
    private bool TryCommitOutgoing(ref SegmentCache next, TaskSwitchSource source, uint flags)
    {
        ref SegmentCache old = ref _state->Segment(SegmentRegister.Tr);
        bool wide = (old.Type & 8) != 0;
        uint first = wide ? 0x20u : 0x0Eu;
        int bytes = wide ? 0x40 : 0x1C;
        if (old.Limit < (wide ? Tss32Bytes : Tss16Bytes) - 1u)
        {
            return Raise(Vector.InvalidTss, SelectorError(old.Selector));
        }

        bool nested = source is TaskSwitchSource.Call or TaskSwitchSource.Event;
        bool leavesBusy = nested;
        bool oldKnown = TryLocateDescriptor(old.Selector, out ulong oldDescriptor);
        _ = TryLocateDescriptor(next.Selector, out ulong nextDescriptor);
        if (!_memory.TryProbeWrite((uint)(old.Base + first), bytes, user: false)
            || (nested && !_memory.TryProbeWrite((uint)next.Base, 2, user: false))
            || (oldKnown && !_memory.TryProbeWrite(oldDescriptor + 5, 1, user: false))
            || !_memory.TryProbeWrite(nextDescriptor + 5, 1, user: false))
        {
            return false;
        }

        byte* image = stackalloc byte[0x40];
        PackTask(image, wide, flags);
        _ = _memory.TryWriteBytes((uint)(old.Base + first), image, bytes, user: false);
        if (oldKnown && !leavesBusy)
        {
            _ = _memory.TryWrite(oldDescriptor + 5, 1, old.Attributes & 0xFF & ~TssBusy, user: false);
        }

        if (nested)
        {
            _ = _memory.TryWrite((uint)next.Base, 2, old.Selector, user: false);
        }

        _ = _memory.TryWrite(nextDescriptor + 5, 1, (next.Attributes | TssBusy) & 0xFF, user: false);
        return true;
    }

    /// <summary>The dynamic fields of a TSS: EIP, EFLAGS, general registers, selectors.</summary>
    private void PackTask(byte* image, bool wide, uint flags)
    {
        int size = wide ? 4 : 2;
        int selectors = wide ? 6 : 4;
        for (int i = 0; i < 10 + selectors; i++)
        {
            uint value = i switch
            {
                0 => (uint)_state->Rip,
                1 => flags,
                < 10 => Gpr32(i - 2),
                _ => _state->Segment((SegmentRegister)(i - 10)).Selector,
            };
            if (wide)
            {
                *(uint*)(image + (i * size)) = value;
            }
            else
            {
                *(ushort*)(image + (i * size)) = (ushort)value;
            }
        }
    }

    /// <summary>Loads the new task. Faults from here on belong to it (SDM vol. 3, 7.3).</summary>
    private bool TryLoadTask(ref NewTask task, bool wide, bool hasError, uint error)
    {
        _state->Cr0 |= ControlBits.Cr0TaskSwitched;
        _state->Dr[7] &= ~DebugControlLocal;
        if (wide && (_state->Cr0 & ControlBits.Cr0Paging) != 0 && _state->Cr3 != task.Cr3)
        {
            if (!TrySetCr3(task.Cr3))
            {
                return Raise(Vector.InvalidTss, SelectorError(_state->Segment(SegmentRegister.Tr).Selector));
            }
        }

        _state->Rip = task.Eip;
        SetFlags(ResumeOnlyIfNeeded(task.Flags, 4), uint.MaxValue);
        for (int i = 0; i < 8; i++)
        {
            _state->Gpr[i] = task.Gpr[i];
        }

        bool virtual8086 = IsVirtual8086;
        for (int i = 0; i < 6; i++)
        {
            _state->Segment((SegmentRegister)i) = virtual8086
                ? Virtual8086Segment(task.Selector[i])
                : NullSegment(task.Selector[i]);
        }

        _state->Cpl = virtual8086 ? 3 : task.Selector[(int)SegmentRegister.Cs] & 3;
        _state->Segment(SegmentRegister.Ldtr) = NullSegment(task.Ldt);
        if (!TryPrepareLdt(task.Ldt, Vector.InvalidTss, Vector.InvalidTss, out SegmentCache ldtr))
        {
            return false;
        }

        _state->Segment(SegmentRegister.Ldtr) = ldtr;
        if (!virtual8086 && !TryLoadTaskSegments(ref task))
        {
            return false;
        }

        if (hasError && !TryPush(error, wide ? 4 : 2))
        {
            return false;
        }

        if (!IsWithinLimit(ref _state->Segment(SegmentRegister.Cs), task.Eip, 1))
        {
            return RaiseProtection(_externalEvent);
        }

        return !task.DebugTrap || RecordDebug(DebugStatusTask, fault: false);
    }

    private bool TryLoadTaskSegments(ref NewTask task)
    {
        uint cpl = _state->Cpl;
        uint selector = task.Selector[(int)SegmentRegister.Cs];
        if (IsNull(selector))
        {
            return Raise(Vector.InvalidTss, _externalEvent);
        }

        if (!TryReadDescriptor(selector, Vector.InvalidTss, out ulong descriptor))
        {
            return false;
        }

        SegmentCache code = Unpack(descriptor, selector);
        const uint codeSegment = AttributeSegment | AttributeCode;
        bool conforming = (code.Attributes & AttributeConforming) != 0;
        if ((code.Attributes & codeSegment) != codeSegment || (conforming ? code.Dpl > cpl : code.Dpl != cpl))
        {
            return Raise(Vector.InvalidTss, SelectorError(selector));
        }

        if ((code.Attributes & AttributePresent) == 0)
        {
            return Raise(Vector.SegmentNotPresent, SelectorError(selector));
        }

        if (!TryMarkAccessed(ref code))
        {
            return false;
        }

        _state->Segment(SegmentRegister.Cs) = code;
        uint stackSelector = task.Selector[(int)SegmentRegister.Ss];
        if (!TryPrepareStack(stackSelector, cpl, Vector.InvalidTss, out SegmentCache stack))
        {
            return false;
        }

        _state->Segment(SegmentRegister.Ss) = stack;
        for (int i = 0; i < 6; i++)
        {
            if (i is (int)SegmentRegister.Cs or (int)SegmentRegister.Ss)
            {
                continue;
            }

            if (!TryPrepareData(task.Selector[i], Vector.InvalidTss, out SegmentCache segment))
            {
                return false;
            }

            _state->Segment((SegmentRegister)i) = segment;
        }

        return true;
    }

    /// <summary>Checks an LDT selector. A null one makes the LDT unusable.</summary>
    private bool TryPrepareLdt(uint selector, uint vector, uint notPresentVector, out SegmentCache segment)
    {
        segment = NullSegment(selector);
        if (IsNull(selector))
        {
            return true;
        }

        if ((selector & 4) != 0)
        {
            return Raise(vector, SelectorError(selector));
        }

        if (!TryReadDescriptor(selector, vector, out ulong descriptor))
        {
            return false;
        }

        segment = Unpack(descriptor, selector);
        if ((segment.Attributes & (AttributeSegment | 15)) != SystemLdt)
        {
            return Raise(vector, SelectorError(selector));
        }

        return ((segment.Attributes & AttributePresent) != 0
            || Raise(notPresentVector, SelectorError(selector)))
            && TryWidenSystemSegment(selector, vector, ref segment);
    }

    /// <summary>LTR: an available TSS of the GDT becomes busy.</summary>
    private bool ExecuteLoadTaskRegister(uint selector)
    {
        if (!RequireRing0())
        {
            return false;
        }

        if (IsNull(selector) || (selector & 4) != 0)
        {
            return RaiseProtection(SelectorError(selector));
        }

        if (!TryReadDescriptor(selector, Vector.GeneralProtection, out ulong descriptor))
        {
            return false;
        }

        SegmentCache task = Unpack(descriptor, selector);
        uint wanted = IsLongMode ? SystemTss32 : task.Attributes & 8 | SystemTss16;
        if ((task.Attributes & (AttributeSegment | 15)) != wanted)
        {
            return RaiseProtection(SelectorError(selector));
        }

        if ((task.Attributes & AttributePresent) == 0)
        {
            return Raise(Vector.SegmentNotPresent, SelectorError(selector));
        }

        if (!TryWidenSystemSegment(selector, Vector.GeneralProtection, ref task))
        {
            return false;
        }

        _ = TryLocateDescriptor(selector, out ulong linear);
        task.Attributes |= TssBusy;
        if (!_memory.TryWrite(linear + 5, 1, task.Attributes & 0xFF, user: false))
        {
            return false;
        }

        _state->Segment(SegmentRegister.Tr) = task;
        return true;
    }
}
