// Debug registers and debug exceptions (SDM vol. 3, chapter 17): single step, instruction breakpoints, MOV to
// and from DR0-DR7. The run loop executes one instruction at a time while TF is set or an instruction
// breakpoint is enabled, and asks here before and after each.

using Iced.Intel;

namespace Lhype.Cpu.Architecture;

public sealed unsafe partial class Processor
{
    /// <summary>Bits of DR6 that read as 1.</summary>
    private const ulong DebugStatusFixed = 0xFFFF_0FF0;
    /// <summary>DR6.BD: a debug register was touched while DR7.GD was set.</summary>
    private const ulong DebugStatusAccess = 1 << 13;
    /// <summary>DR6.BS: single step.</summary>
    private const ulong DebugStatusStep = 1 << 14;
    /// <summary>DR6.BT: the T flag of a TSS.</summary>
    private const ulong DebugStatusTask = 1 << 15;
    /// <summary>Bit of DR7 that reads as 1.</summary>
    private const ulong DebugControlFixed = 0x400;
    /// <summary>DR7.GD: touching a debug register raises #DB.</summary>
    private const ulong DebugGeneralDetect = 1 << 13;
    private const ulong DebugControlWritable = 0xFFFF_23FF;
    /// <summary>L0, L1, L2, L3 and LE: cleared by a task switch.</summary>
    private const ulong DebugControlLocal = 0x155;

    /// <summary>The #DB recorded last is a fault whose saved RF is 1 (general detect). A trap and an
    /// instruction breakpoint save RF as it is (SDM vol. 3, 17.3.1.1).</summary>
    private bool _debugIsFault;

    /// <summary>B0-B3 of the data breakpoints that the current instruction has touched.</summary>
    private ulong _dataBreakpointHits;

    /// <summary>True if DR7 enables any instruction breakpoint.</summary>
    private bool HasCodeBreakpoints => HasBreakpoint(data: false);

    /// <summary>True if DR7 enables any data breakpoint. The mode key then sends every access of translated
    /// code through <see cref="TryLinearize"/>, one instruction a block.</summary>
    private bool HasDataBreakpoints => HasBreakpoint(data: true);

    private bool HasBreakpoint(bool data)
    {
        ulong control = _state->Dr[7];
        if ((control & 0xFF) == 0)
        {
            return false;
        }

        for (int i = 0; i < 4; i++)
        {
            if (data ? IsDataBreakpoint(control, i) : IsCodeBreakpoint(control, i))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>
    /// Before an instruction runs in single-step mode: true if an instruction breakpoint matches CS:RIP. #DB
    /// is then recorded; deliver it with <see cref="DeliverException"/>. EFLAGS.RF suppresses the match once.
    /// </summary>
    public bool CodeBreakpointHit()
    {
        ulong control = _state->Dr[7];
        if ((control & 0xFF) == 0)
        {
            return false;
        }

        if ((_state->SystemFlags & EflagsBits.Resume) != 0)
        {
            _state->SystemFlags &= ~EflagsBits.Resume;
            return false;
        }

        ulong linear = _memory.Wrap(_state->Segment(SegmentRegister.Cs).Base + _state->Rip);
        ulong hits = 0;
        for (int i = 0; i < 4; i++)
        {
            if (IsCodeBreakpoint(control, i) && _state->Dr[i] == linear)
            {
                hits |= 1UL << i;
            }
        }

        if (hits == 0)
        {
            return false;
        }

        _ = RecordDebug(hits, fault: false);
        return true;
    }

    /// <summary>After an instruction that began with TF set has completed: delivers the single-step trap.
    /// False: triple fault.</summary>
    public bool DeliverDebugTrap() => DeliverDebugTrap(DebugStatusStep);

    /// <summary>Delivers a trap-class #DB with the given DR6 bits (BS, or B0-B3 of data
    /// breakpoints).</summary>
    public bool DeliverDebugTrap(ulong status)
    {
        _ = RecordDebug(status, fault: false);
        return DeliverException();
    }

    /// <summary>The run loop calls this before and after each instruction in single-step mode; what the
    /// instruction has touched in between is due as a trap (see
    /// <see cref="DeliverDebugTrap(ulong)"/>).</summary>
    public ulong TakeDataBreakpointHits()
    {
        ulong hits = _dataBreakpointHits;
        _dataBreakpointHits = 0;
        return hits;
    }

    /// <summary>DR6.BS in the argument of <see cref="DeliverDebugTrap(ulong)"/>.</summary>
    public const ulong SingleStepStatus = DebugStatusStep;

    private void NoteDataBreakpoints(ulong linear, int size, bool write)
    {
        ulong control = _state->Dr[7];
        for (int i = 0; i < 4; i++)
        {
            // LEN is 0, 1, 3 or (8 bytes) 2; the address is aligned to it (SDM vol. 3, 17.2.4 and 17.2.5).
            ulong length =
                ((control >> (18 + (i * 4))) & 3) switch { 0 => 1UL, 1 => 2UL, 3 => 4UL, _ => 8UL };
            bool onRead = ((control >> (16 + (i * 4))) & 3) == 3;
            ulong start = _state->Dr[i] & ~(length - 1);
            if (IsDataBreakpoint(control, i) && (write || onRead)
                && linear < start + length && start < linear + (ulong)size)
            {
                _dataBreakpointHits |= 1UL << i;
            }
        }
    }

    private static bool IsDataBreakpoint(ulong control, int index) =>
        ((control >> (index * 2)) & 3) != 0 && ((control >> (16 + (index * 4))) & 1) != 0;

    private static bool IsCodeBreakpoint(ulong control, int index) =>
        ((control >> (index * 2)) & 3) != 0 && ((control >> (16 + (index * 4))) & 3) == 0;

    /// <summary>Records #DB and its cause in DR6; B0-B3 are replaced, BS, BT and BD accumulate until
    /// cleared.</summary>
    private bool RecordDebug(ulong status, bool fault)
    {
        _debugIsFault = fault;
        _state->Dr[6] = (_state->Dr[6] & ~15UL) | DebugStatusFixed | status;
        return Raise(Vector.Debug);
    }

    /// <summary>MOV to and from a debug register.</summary>
    private bool ExecuteMoveDebug(Register general, Register debug, bool write)
    {
        int index = debug - Register.DR0;
        if (index is 4 or 5)
        {
            if ((_state->Cr4 & ControlBits.Cr4De) != 0)
            {
                return RaiseUndefined();
            }

            index += 2;
        }

        if (!RequireRing0())
        {
            return false;
        }

        if ((_state->Dr[7] & DebugGeneralDetect) != 0)
        {
            return RecordDebug(DebugStatusAccess, fault: true);
        }

        if (!write)
        {
            WriteRegister(general, _state->Dr[index]);
            return true;
        }

        ulong value = ReadRegister(general);
        if (index >= 6 && value > uint.MaxValue)
        {
            return RaiseProtection();
        }

        _state->Dr[index] = index switch
        {
            6 => (value & 0xE00F) | DebugStatusFixed,
            7 => (value & DebugControlWritable) | DebugControlFixed,
            _ => value,
        };
        return true;
    }
}
