// The privileged and rare half of the x86 architecture in plain C#: whatever emitted code does not do itself
// ends here, one routine per SDM section, spread over the files of this folder (partial class Processor).
// Called by the translator's trap exit with a decoded instruction, and by the vCPU's run loop to deliver
// exceptions and interrupts.
//
// The rule that everything here obeys: check before commit. A routine that returns false has recorded a fault
// and changed nothing the guest can see (A, D and descriptor-accessed bits excepted), so the instruction can
// be restarted.

using Lhype.Cpu.Mmu;
using Lhype.Host;

namespace Lhype.Cpu.Architecture;

/// <summary>Executes instructions and delivers events on a <see cref="CpuState"/>.</summary>
public sealed unsafe partial class Processor
{
    private readonly CpuState* _state;
    private readonly LinearMemory _memory;
    private readonly GuestRam _ram;
    private readonly ICpuBus _bus;
    private readonly NativeRoutines _native;
    private readonly CpuModel _model;

    internal Processor(CpuState* state, LinearMemory memory, GuestRam ram, ICpuBus bus, NativeRoutines native,
        CpuModel model)
    {
        _state = state;
        _memory = memory;
        _ram = ram;
        _bus = bus;
        _native = native;
        _model = model;
    }

    /// <summary>CR0.PE set and EFLAGS.VM clear: selectors name descriptors.</summary>
    private bool UsesDescriptors => (_state->Cr0 & ControlBits.Cr0Protection) != 0 && !IsVirtual8086;

    /// <summary>CR0.PE clear.</summary>
    private bool IsRealMode => (_state->Cr0 & ControlBits.Cr0Protection) == 0;

    /// <summary>EFLAGS.VM set (only ever together with CR0.PE).</summary>
    private bool IsVirtual8086 => (_state->SystemFlags & EflagsBits.Virtual8086) != 0;

    /// <summary>EFLAGS.IOPL, 0-3.</summary>
    private uint Iopl => (_state->SystemFlags >> 12) & 3;

    /// <summary>Memory is accessed with user privilege.</summary>
    private bool IsUser => _state->Cpl == 3;

    /// <summary>Records <paramref name="vector"/> and returns false.</summary>
    private bool Raise(uint vector, uint error = 0) => Fault.Raise(_state, vector, error);

    /// <summary>Records #GP and returns false.</summary>
    private bool RaiseProtection(uint error = 0) => Fault.Raise(_state, Vector.GeneralProtection, error);

    /// <summary>Records #UD and returns false.</summary>
    private bool RaiseUndefined() => Fault.Raise(_state, Vector.InvalidOpcode);

    /// <summary>CPL 0, or #GP(0). Virtual-8086 mode runs at CPL 3.</summary>
    private bool RequireRing0() => _state->Cpl == 0 || RaiseProtection();

    /// <summary>
    /// The state after RESET (SDM vol. 3, table 9-1): real mode at F000:FFF0 with the CS base at the top of 4
    /// GiB. The TSC starts at 0 and the FPU as FNINIT leaves it with every SSE exception masked.
    /// </summary>
    public void Reset()
    {
        ResetVectors();
        for (int i = 0; i < 16; i++)
        {
            _state->Gpr[i] = 0;
        }

        for (int i = 0; i < 6; i++)
        {
            ref SegmentCache segment = ref _state->Segment((SegmentRegister)i);
            segment.Selector = 0;
            segment.Base = 0;
            segment.Limit = 0xFFFF;
            segment.Attributes = RealModeAttributes;
        }

        ref SegmentCache code = ref _state->Segment(SegmentRegister.Cs);
        code.Selector = 0xF000;
        code.Base = 0xFFFF_0000;
        ref SegmentCache ldtr = ref _state->Segment(SegmentRegister.Ldtr);
        ldtr = new SegmentCache { Limit = 0xFFFF, Attributes = 0x82 };
        ref SegmentCache tr = ref _state->Segment(SegmentRegister.Tr);
        tr = new SegmentCache { Limit = 0xFFFF, Attributes = 0x8B };
        _state->Gpr[2] = _model.Signature;
        _state->Rip = 0xFFF0;
        _state->Eflags = 0;
        _state->Cpl = 0;
        _state->Cr0 = ControlBits.Cr0CacheDisable | ControlBits.Cr0NotWriteThrough
            | ControlBits.Cr0ExtensionType;
        _state->Cr2 = 0;
        _state->Cr3 = 0;
        _state->Cr4 = 0;
        _state->Cr8 = 0;
        _state->GdtBase = 0;
        _state->IdtBase = 0;
        _state->GdtLimit = 0xFFFF;
        _state->IdtLimit = 0xFFFF;
        for (int i = 0; i < 8; i++)
        {
            _state->Dr[i] = 0;
        }

        _state->Dr[6] = DebugStatusFixed;
        _state->Dr[7] = DebugControlFixed;
        ResetMsrs();
        _state->Mxcsr = 0x1F80;
        _state->InterruptShadow = 0;
        _state->Halted = 0;
        if (_native.Fninit != null)
        {
            _native.Fninit();
        }

        _state->UserModeBits = ModeKey.User | ModeKey.TrapFlags;
        _state->SupervisorModeBits = 0;
        DropDescriptors();
        _memory.FlushAll();
    }

    /// <summary>Computes the translation mode from the state (see <see cref="ModeKey"/>).</summary>
    public uint ComputeModeKey()
    {
        uint key = _state->Cpl switch
        {
            0 => _state->SupervisorModeBits,
            3 => _state->UserModeBits & ~ModeKey.Window,
            _ => ModeKey.TrapFlags,
        };

        ref SegmentCache code = ref _state->Segment(SegmentRegister.Cs);
        bool longCode = IsLongCode;
        if (longCode)
        {
            // A 32-bit kernel's map means nothing to 64-bit code.
            key = (key & ~ModeKey.LinearMap) | ModeKey.Long | ModeKey.Code32;
        }
        else
        {
            key |= (code.Attributes & SegmentCache.BigBit) != 0 ? ModeKey.Code32 : 0;
            key |= IsLongMode ? ModeKey.Compatibility : 0;
        }

        bool watched = AlignmentChecked || HasDataBreakpoints;
        if (longCode)
        {
            key |= watched ? 0 : ModeKey.Flat | ModeKey.FsOpen | ModeKey.GsOpen;
        }
        else if (UsesDescriptors && !watched)
        {
            // CS must be readable too, because flat code may read its constants through a CS override
            // unchecked.
            const uint codeMask = SegmentCache.UnusableBit | 0x8 | 0x2;
            if (code.Base == 0 && code.Limit == uint.MaxValue && (code.Attributes & codeMask) == 0xA
                && IsOpenData(SegmentRegister.Ds, flat: true) && IsOpenData(SegmentRegister.Es, flat: true)
                && IsOpenData(SegmentRegister.Ss, flat: true)
                && (_state->Segment(SegmentRegister.Ss).Attributes & SegmentCache.BigBit) != 0)
            {
                key |= ModeKey.Flat;
            }

            key |= IsOpenData(SegmentRegister.Fs, flat: false) ? ModeKey.FsOpen : 0;
            key |= IsOpenData(SegmentRegister.Gs, flat: false) ? ModeKey.GsOpen : 0;
        }

        if ((_state->Cr0 & (ControlBits.Cr0Emulation | ControlBits.Cr0TaskSwitched)) != 0)
        {
            key |= ModeKey.TrapX87 | ModeKey.TrapSse;
        }
        else if ((_state->Cr4 & ControlBits.Cr4Osfxsr) == 0)
        {
            key |= ModeKey.TrapSse;
        }

        if ((_state->SystemFlags & EflagsBits.Trap) != 0 || HasCodeBreakpoints || HasDataBreakpoints)
        {
            key |= ModeKey.SingleStep;
        }

        const uint windowed = ModeKey.User | ModeKey.Flat | ModeKey.Code32;
        if ((key & (windowed | ModeKey.Compatibility)) == windowed)
        {
            key |= _state->UserModeBits & ModeKey.Window;
        }

        return key;
    }

    /// <summary>Usable, writable, expand-up data of 4 GiB; with base 0 if <paramref name="flat"/>.</summary>
    private bool IsOpenData(SegmentRegister register, bool flat)
    {
        ref SegmentCache segment = ref _state->Segment(register);
        return IsOpen(ref segment) && (!flat || segment.Base == 0);
    }

    private static bool IsOpen(ref SegmentCache segment) =>
        (segment.Attributes & (SegmentCache.UnusableBit | 0xE)) == 2 && segment.Limit == uint.MaxValue;
}
