// Delivery of interrupts and exceptions, and IRET, in IA-32e mode (SDM vol. 3, 6.14): 16-byte gates, 64-bit
// handlers, the interrupt stack table, a frame that always holds SS:RSP. Called from Events and from
// ControlTransfer instead of their 32-bit counterparts.

namespace Lhype.Cpu.Architecture;

public sealed unsafe partial class Processor
{
    /// <summary>Finds the gate, checks it, and enters its handler.</summary>
    private bool TryDeliverLong(uint vector, EventKind kind, bool hasError, uint error)
    {
        uint gateError = (vector * 8) + 2 + _externalEvent;
        if ((vector * 16) + 15 > _state->IdtLimit)
        {
            return RaiseProtection(gateError);
        }

        ulong* gate = stackalloc ulong[2];
        if (!_memory.TryReadBytes(_state->IdtBase + (vector * 16), (byte*)gate, 16, user: false))
        {
            return false;
        }

        uint attributes = (uint)(gate[0] >> 40) & 0xFF;
        if ((attributes & 0x1F) is not (GateInterrupt32 or GateTrap32)
            || (kind == EventKind.Software && ((attributes >> 5) & 3) < _state->Cpl))
        {
            return RaiseProtection(gateError);
        }

        if ((attributes & AttributePresent) == 0)
        {
            return Raise(Vector.SegmentNotPresent, gateError);
        }

        uint selector = (uint)(gate[0] >> 16) & 0xFFFF;
        if (!TryPrepareLongHandler(selector, anyInner: true, out SegmentCache code))
        {
            return false;
        }

        uint cpl = _state->Cpl;
        bool inner = (code.Attributes & AttributeConforming) == 0 && code.Dpl < cpl;
        uint newCpl = inner ? code.Dpl : cpl;
        int ist = (int)(gate[0] >> 32) & 7;
        ulong pointer = _state->Gpr[Esp];
        if ((inner || ist != 0) && !TryReadLongStack((int)newCpl, ist, out pointer))
        {
            return false;
        }

        uint flags = _state->Eflags;
        PushFrame frame = default;
        frame.Add(_state->Segment(SegmentRegister.Ss).Selector);
        frame.Add(_state->Gpr[Esp]);
        frame.Add(kind == EventKind.Fault ? flags | EflagsBits.Resume : flags);
        frame.Add(_state->Segment(SegmentRegister.Cs).Selector);
        frame.Add(_state->Rip);
        if (hasError)
        {
            frame.Add(error);
        }

        // The stack is aligned to 16 bytes before the first push (SDM vol. 3, 6.14.2).
        pointer &= ~15UL;
        ulong target = (gate[0] & 0xFFFF) | ((gate[0] >> 32) & 0xFFFF_0000) | (gate[1] << 32);
        if (!IsCanonical(target))
        {
            return RaiseProtection(_externalEvent);
        }

        if (!TryWriteLongFrame(ref pointer, ref frame, 8, newCpl == 3, _externalEvent))
        {
            return false;
        }

        const uint clear = EflagsBits.Trap | EflagsBits.Virtual8086 | EflagsBits.Resume
            | EflagsBits.NestedTask;
        SetFlags(0, (attributes & 1) == 0 ? clear | EflagsBits.Interrupt : clear);
        if (inner)
        {
            _state->Segment(SegmentRegister.Ss) = NullStack(newCpl);
        }

        CommitCode(ref code, newCpl, target);
        _state->Gpr[Esp] = pointer;
        return true;
    }

    /// <summary>IRET while EFER.LMA is set. 64-bit code always pops SS:RSP; a nested task cannot be returned
    /// from.</summary>
    private bool ExecuteLongInterruptReturn(int size)
    {
        if ((_state->SystemFlags & EflagsBits.NestedTask) != 0)
        {
            return RaiseProtection();
        }

        ulong pointer = _state->Gpr[Esp];
        if (!TryPop(ref pointer, size, out ulong target) || !TryPop(ref pointer, size, out ulong selector)
            || !TryPop(ref pointer, size, out ulong image))
        {
            return false;
        }

        return TryReturn((ushort)selector, target, pointer, size, 0,
            ResumeOnlyIfNeeded((uint)image, size), ReturnedFlags(size), popsStack: IsLongCode);
    }

    /// <summary>The stack segment of a return: null is allowed for 64-bit code outside CPL 3.</summary>
    private bool TryPrepareReturnStack(uint selector, uint rpl, ref SegmentCache code,
        out SegmentCache stack)
    {
        if (IsNull(selector))
        {
            stack = NullStack(rpl);
            return (rpl != 3 && IsLongSegment(ref code) && (selector & 3) == rpl) || RaiseProtection();
        }

        return TryPrepareStack(selector, rpl, Vector.GeneralProtection, out stack);
    }
}
