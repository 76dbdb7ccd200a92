// What IA-32e mode adds to the processor (SDM vol. 3, 2.1.3 and 5.8.7; vol. 2, SYSCALL to SWAPGS): the tests
// for its sub-modes, SYSCALL and SYSRET, SWAPGS, the FS and GS base registers, 64-bit call gates and the
// 16-byte descriptors of LDT and TSS. Called from Execute and from the routines that transfer control.

using Iced.Intel;

namespace Lhype.Cpu.Architecture;

public sealed unsafe partial class Processor
{
    /// <summary>Attributes of the CS that SYSCALL, SYSENTER and their returns load: 64-bit code, 32-bit code,
    /// and the flat data segment of SS, for CPL 0; the DPL is added.</summary>
    private const uint FlatCode64 = 0xA09B, FlatCode32 = 0xC09B, FlatData = 0xC093;
    private const uint Dpl3 = 3 << 5;

    /// <summary>EFLAGS bits that SYSRET loads from R11 (SDM vol. 2, SYSRET).</summary>
    private const uint SysretFlags = 0x3C_7FD7;

    /// <summary>EFER.LMA: paging in long mode, with 64-bit or compatibility-mode code.</summary>
    private bool IsLongMode => (_state->Efer & ControlBits.EferLongActive) != 0;

    /// <summary>64-bit code runs.</summary>
    private bool IsLongCode => IsLongMode && IsLongSegment(ref _state->Segment(SegmentRegister.Cs));

    /// <summary>True for a code segment that is 64-bit code while EFER.LMA is set.</summary>
    private bool IsLongSegment(ref SegmentCache code) => IsLong(_state, ref code);

    /// <summary>Bits 47 to 63 are all alike (SDM vol. 1, 3.3.7.1).</summary>
    internal static bool IsCanonical(ulong linear) => (ulong)((long)(linear << 16) >> 16) == linear;

    /// <summary>The linear address of <paramref name="offset"/> in CS: 32 bits wide except in 64-bit code,
    /// where the base is 0.</summary>
    internal static ulong LinearOf(CpuState* state, ulong offset)
    {
        ref SegmentCache code = ref state->Segment(SegmentRegister.Cs);
        ulong linear = offset + code.Base;
        return IsLong(state, ref code) ? linear : (uint)linear;
    }

    /// <summary>The offset in CS of a linear address, the inverse of <see cref="LinearOf"/>.</summary>
    internal static ulong OffsetOf(CpuState* state, ulong linear)
    {
        ref SegmentCache code = ref state->Segment(SegmentRegister.Cs);
        ulong offset = linear - code.Base;
        return IsLong(state, ref code) ? offset : (uint)offset;
    }

    private static bool IsLong(CpuState* state, ref SegmentCache code) =>
        (code.Attributes & SegmentCache.LongBit) != 0
        && (state->Efer & ControlBits.EferLongActive) != 0;

    /// <summary>No code segment may claim to be 64-bit and 32-bit code at once (SDM vol. 3,
    /// 5.2.1).</summary>
    private bool IsCodeSizeValid(ref SegmentCache code) =>
        !IsLongSegment(ref code) || (code.Attributes & SegmentCache.BigBit) == 0;

    /// <summary>The null SS that a change of CPL in 64-bit mode leaves (SDM vol. 3, 6.14.2).</summary>
    private static SegmentCache NullStack(uint cpl) => new()
    {
        Selector = (ushort)cpl,
        Attributes = SegmentCache.UnusableBit | (cpl << 5),
    };

    /// <summary>SYSCALL: only in 64-bit mode, as on Intel CPUs.</summary>
    private bool ExecuteSyscall(ulong nextIp)
    {
        if (!IsLongCode || (_state->Efer & ControlBits.EferSyscall) == 0)
        {
            return RaiseUndefined();
        }

        uint selector = (uint)(_state->Star >> 32) & 0xFFFC;
        uint flags = _state->Eflags & ~EflagsBits.Resume;
        _state->Gpr[Ecx] = nextIp;
        _state->Gpr[11] = flags;
        SetFlags(0, (uint)_state->Fmask | EflagsBits.Resume);
        SegmentCache code = FlatSegment(selector, FlatCode64);
        _state->Segment(SegmentRegister.Ss) = FlatSegment(selector + 8, FlatData);
        CommitCode(ref code, 0, _state->Lstar);
        return true;
    }

    /// <summary>SYSRET to 64-bit code (<paramref name="wide"/>) or to compatibility mode. A return address
    /// that is not canonical raises #GP here, at CPL 0.</summary>
    private bool ExecuteSysret(bool wide)
    {
        if (!IsLongCode || (_state->Efer & ControlBits.EferSyscall) == 0)
        {
            return RaiseUndefined();
        }

        if (_state->Cpl != 0 || (wide && !IsCanonical(_state->Gpr[Ecx])))
        {
            return RaiseProtection();
        }

        uint selector = (uint)(_state->Star >> 48);
        SegmentCache code = wide
            ? FlatSegment((selector + 16) | 3, FlatCode64 | Dpl3)
            : FlatSegment(selector | 3, FlatCode32 | Dpl3);
        _state->Segment(SegmentRegister.Ss) = FlatSegment((selector + 8) | 3, FlatData | Dpl3);
        SetFlags((uint)_state->Gpr[11] & SysretFlags & ~EflagsBits.Resume, uint.MaxValue);
        CommitCode(ref code, 3, wide ? _state->Gpr[Ecx] : Gpr32(Ecx));
        return true;
    }

    /// <summary>SWAPGS.</summary>
    private bool ExecuteSwapGs()
    {
        if (!IsLongCode)
        {
            return RaiseUndefined();
        }

        if (!RequireRing0())
        {
            return false;
        }

        ref SegmentCache gs = ref _state->Segment(SegmentRegister.Gs);
        (gs.Base, _state->KernelGsBase) = (_state->KernelGsBase, gs.Base);
        return true;
    }

    /// <summary>RDFSBASE, RDGSBASE, WRFSBASE and WRGSBASE.</summary>
    private bool ExecuteThreadBase(in Instruction instruction, SegmentRegister register, bool write)
    {
        if (!IsLongCode || (_state->Cr4 & ControlBits.Cr4Fsgsbase) == 0)
        {
            return RaiseUndefined();
        }

        ref SegmentCache segment = ref _state->Segment(register);
        if (!write)
        {
            WriteRegister(instruction.Op0Register, segment.Base);
            return true;
        }

        ulong value = ReadRegister(instruction.Op0Register);
        if (!IsCanonical(value))
        {
            return RaiseProtection();
        }

        segment.Base = value;
        return true;
    }

    /// <summary>JMP and CALL through a 64-bit call gate (SDM vol. 3, 5.8.3.1), the only system descriptor
    /// that control can be transferred to in IA-32e mode.</summary>
    private bool TryTransferLongGate(ulong gate, uint gateSelector, ulong nextIp, bool call)
    {
        uint attributes = (uint)(gate >> 40) & 0xFF;
        uint dpl = (attributes >> 5) & 3;
        uint cpl = _state->Cpl;
        if ((attributes & 0x1F) != SystemCallGate32 || dpl < cpl || dpl < (gateSelector & 3))
        {
            return RaiseProtection(SelectorError(gateSelector));
        }

        if ((attributes & AttributePresent) == 0)
        {
            return Raise(Vector.SegmentNotPresent, SelectorError(gateSelector));
        }

        if (!TryReadUpperDescriptor(gateSelector, Vector.GeneralProtection, out ulong upper))
        {
            return false;
        }

        ulong target = (gate & 0xFFFF) | ((gate >> 32) & 0xFFFF_0000) | (upper << 32);
        uint selector = (uint)(gate >> 16) & 0xFFFF;
        if (!TryPrepareLongHandler(selector, anyInner: call, out SegmentCache code))
        {
            return false;
        }

        if (!IsCanonical(target))
        {
            return RaiseProtection();
        }

        bool inner = call && (code.Attributes & AttributeConforming) == 0 && code.Dpl < cpl;
        ulong pointer = _state->Gpr[Esp];
        if (inner && !TryReadLongStack((int)code.Dpl, ist: 0, out pointer))
        {
            return false;
        }

        PushFrame frame = default;
        if (inner)
        {
            frame.Add(_state->Segment(SegmentRegister.Ss).Selector);
            frame.Add(_state->Gpr[Esp]);
        }

        frame.Add(_state->Segment(SegmentRegister.Cs).Selector);
        frame.Add(nextIp);
        if (call && !TryWriteLongFrame(ref pointer, ref frame, 8, (inner ? code.Dpl : cpl) == 3, 0))
        {
            return false;
        }

        if (inner)
        {
            _state->Segment(SegmentRegister.Ss) = NullStack(code.Dpl);
        }

        CommitCode(ref code, inner ? code.Dpl : cpl, target);
        if (call)
        {
            _state->Gpr[Esp] = pointer;
        }

        return true;
    }

    /// <summary>The 64-bit code segment of a gate: its checks against the current CPL. A JMP
    /// (<paramref name="anyInner"/> false) may not go inwards.</summary>
    private bool TryPrepareLongHandler(uint selector, bool anyInner, out SegmentCache code)
    {
        code = default;
        if (IsNull(selector))
        {
            return RaiseProtection(_externalEvent);
        }

        if (!TryReadDescriptor(selector, Vector.GeneralProtection, out ulong descriptor))
        {
            return false;
        }

        code = Unpack(descriptor, selector);
        const uint codeSegment = AttributeSegment | AttributeCode;
        const uint size = SegmentCache.LongBit | SegmentCache.BigBit;
        bool conforming = (code.Attributes & AttributeConforming) != 0;
        if ((code.Attributes & codeSegment) != codeSegment || code.Dpl > _state->Cpl
            || (!anyInner && !conforming && code.Dpl != _state->Cpl)
            || (code.Attributes & size) != SegmentCache.LongBit)
        {
            return RaiseProtection(SelectorError(selector));
        }

        if ((code.Attributes & AttributePresent) == 0)
        {
            return Raise(Vector.SegmentNotPresent, SelectorError(selector));
        }

        return TryMarkAccessed(ref code);
    }

    /// <summary>RSP for a ring, or the stack of an interrupt stack table entry (1-7), from the 64-bit TSS
    /// (SDM vol. 3, 7.7).</summary>
    private bool TryReadLongStack(int cpl, int ist, out ulong pointer)
    {
        pointer = 0;
        ref SegmentCache task = ref _state->Segment(SegmentRegister.Tr);
        uint offset = ist != 0 ? 0x24 + ((uint)(ist - 1) * 8) : 4 + ((uint)cpl * 8);
        if (offset + 7 > task.Limit)
        {
            return Raise(Vector.InvalidTss, SelectorError(task.Selector));
        }

        if (!_memory.TryRead(task.Base + offset, 8, user: false, out pointer))
        {
            return false;
        }

        return IsCanonical(pointer) || Raise(Vector.StackFault, _externalEvent);
    }

    /// <summary>The second half of a 16-byte descriptor (SDM vol. 3, figures 5-8 and 7-4). Its type field
    /// must be zero.</summary>
    private bool TryReadUpperDescriptor(uint selector, uint vector, out ulong upper)
    {
        upper = 0;
        if (!TryLocateDescriptor(selector + 8, out ulong linear))
        {
            return Raise(vector, SelectorError(selector));
        }

        if (!_memory.TryRead(linear, 8, user: false, out upper))
        {
            return false;
        }

        return ((upper >> 40) & 0x1F) == 0 || Raise(vector, SelectorError(selector));
    }

    /// <summary>Completes the base of an LDT or TSS descriptor in IA-32e mode.</summary>
    private bool TryWidenSystemSegment(uint selector, uint vector, ref SegmentCache segment)
    {
        if (!IsLongMode)
        {
            return true;
        }

        if (!TryReadUpperDescriptor(selector, vector, out ulong upper))
        {
            return false;
        }

        segment.Base |= upper << 32;
        return IsCanonical(segment.Base) || Raise(vector, SelectorError(selector));
    }
}
