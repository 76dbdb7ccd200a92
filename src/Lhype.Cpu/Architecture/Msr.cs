// Model-specific registers (SDM vol. 4) and the time-stamp counter. The machine is asked first: it owns the
// APIC base, the TSC deadline and the paravirtual registers. A short list of registers that stock kernels
// touch without asking CPUID reads as 0 and ignores writes; every other unknown register raises #GP, which
// kernels probe for.

namespace Lhype.Cpu.Architecture;

public sealed unsafe partial class Processor
{
    private const uint MsrTsc = 0x10;
    private const uint MsrFeatureControl = 0x3A;
    private const uint MsrMicrocode = 0x8B;
    private const uint MsrArchCapabilities = 0x10A;
    private const uint MsrSysenterCs = 0x174;
    private const uint MsrSysenterEsp = 0x175;
    private const uint MsrSysenterEip = 0x176;
    private const uint MsrMiscEnable = 0x1A0;
    private const uint MsrPat = 0x277;
    private const uint MsrEfer = 0xC000_0080;
    private const uint MsrStar = 0xC000_0081;
    private const uint MsrLstar = 0xC000_0082;
    private const uint MsrCstar = 0xC000_0083;
    private const uint MsrFmask = 0xC000_0084;
    private const uint MsrFsBase = 0xC000_0100;
    private const uint MsrGsBase = 0xC000_0101;
    private const uint MsrKernelGsBase = 0xC000_0102;
    private const uint MsrTscAux = 0xC000_0103;

    /// <summary>IA32_PAT after RESET (SDM vol. 3, table 11-12).</summary>
    private const ulong PatReset = 0x0007_0406_0007_0406;
    /// <summary>IA32_MISC_ENABLE after RESET: fast strings; no branch trace store, no PEBS.</summary>
    private const ulong MiscEnableReset = 0x1801;

    private void ResetMsrs()
    {
        _state->Efer = 0;
        _state->SysenterCs = 0;
        _state->SysenterEsp = 0;
        _state->SysenterEip = 0;
        _state->Star = 0;
        _state->Lstar = 0;
        _state->Cstar = 0;
        _state->Fmask = 0;
        _state->KernelGsBase = 0;
        _state->TscAux = 0;
        _state->Pat = PatReset;
        _state->MiscEnable = MiscEnableReset;
        SetTsc(0);
    }

    /// <summary>The guest's time-stamp counter now.</summary>
    public ulong ReadTsc() => _native.ReadTsc() + _state->TscOffset;

    private void SetTsc(ulong value) =>
        _state->TscOffset = _native.ReadTsc == null ? 0 : value - _native.ReadTsc();

    /// <summary>RDTSC: only at CPL 0 while CR4.TSD is set.</summary>
    private bool ExecuteReadTsc()
    {
        if ((_state->Cr4 & ControlBits.Cr4Tsd) != 0 && _state->Cpl != 0)
        {
            return RaiseProtection();
        }

        ulong tsc = ReadTsc();
        _state->Gpr[Eax] = (uint)tsc;
        _state->Gpr[Edx] = tsc >> 32;
        return true;
    }

    /// <summary>RDMSR.</summary>
    private bool ExecuteReadMsr()
    {
        if (!RequireRing0())
        {
            return false;
        }

        if (!TryReadMsr(Gpr32(Ecx), out ulong value))
        {
            return RaiseProtection();
        }

        _state->Gpr[Eax] = (uint)value;
        _state->Gpr[Edx] = value >> 32;
        return true;
    }

    /// <summary>WRMSR.</summary>
    private bool ExecuteWriteMsr()
    {
        if (!RequireRing0())
        {
            return false;
        }

        return TryWriteMsr(Gpr32(Ecx), ((ulong)Gpr32(Edx) << 32) | Gpr32(Eax)) || RaiseProtection();
    }

    private bool TryReadMsr(uint index, out ulong value)
    {
        if (_bus.TryReadMsr(index, out value))
        {
            return true;
        }

        switch (index)
        {
            case MsrTsc:
                value = ReadTsc();
                return true;
            case MsrFeatureControl:
                // Locked, nothing enabled: no VMX, no SGX.
                value = 1;
                return true;
            case MsrMicrocode:
                // Revision 1 in the upper half.
                value = 1UL << 32;
                return true;
            case MsrArchCapabilities:
                return _model.TryGetArchCapabilities(out value);
            case MsrSysenterCs:
                value = _state->SysenterCs;
                return _model.HasSysenter;
            case MsrSysenterEsp:
                value = _state->SysenterEsp;
                return _model.HasSysenter;
            case MsrSysenterEip:
                value = _state->SysenterEip;
                return _model.HasSysenter;
            case MsrMiscEnable:
                value = _state->MiscEnable;
                return true;
            case MsrPat:
                value = _state->Pat;
                return _model.HasPat;
            case MsrEfer:
                value = _state->Efer;
                return _model.EferMask != 0;
            default:
                return TryReadLongMsr(index, out value);
        }
    }

    /// <summary>The registers of IA-32e mode.</summary>
    private bool TryReadLongMsr(uint index, out ulong value)
    {
        switch (index)
        {
            case MsrStar:
                value = _state->Star;
                return _model.HasLongMode;
            case MsrLstar:
                value = _state->Lstar;
                return _model.HasLongMode;
            case MsrCstar:
                value = _state->Cstar;
                return _model.HasLongMode;
            case MsrFmask:
                value = _state->Fmask;
                return _model.HasLongMode;
            case MsrFsBase:
                value = _state->Segment(SegmentRegister.Fs).Base;
                return _model.HasLongMode;
            case MsrGsBase:
                value = _state->Segment(SegmentRegister.Gs).Base;
                return _model.HasLongMode;
            case MsrKernelGsBase:
                value = _state->KernelGsBase;
                return _model.HasLongMode;
            case MsrTscAux:
                value = _state->TscAux;
                return _model.HasRdtscp;
            default:
                value = 0;
                return IsTolerated(index);
        }
    }

    private bool TryWriteLongMsr(uint index, ulong value)
    {
        bool canonical = _model.HasLongMode && IsCanonical(value);
        switch (index)
        {
            case MsrStar:
                _state->Star = value;
                return _model.HasLongMode;
            case MsrLstar:
                _state->Lstar = canonical ? value : _state->Lstar;
                return canonical;
            case MsrCstar:
                _state->Cstar = canonical ? value : _state->Cstar;
                return canonical;
            case MsrFmask:
                _state->Fmask = (uint)value;
                return _model.HasLongMode && value <= uint.MaxValue;
            case MsrFsBase:
                ref ulong fs = ref _state->Segment(SegmentRegister.Fs).Base;
                fs = canonical ? value : fs;
                return canonical;
            case MsrGsBase:
                ref ulong gs = ref _state->Segment(SegmentRegister.Gs).Base;
                gs = canonical ? value : gs;
                return canonical;
            case MsrKernelGsBase:
                _state->KernelGsBase = canonical ? value : _state->KernelGsBase;
                return canonical;
            case MsrTscAux:
                _state->TscAux = (uint)value;
                return _model.HasRdtscp && value <= uint.MaxValue;
            default:
                return IsTolerated(index);
        }
    }

    private bool TryWriteMsr(uint index, ulong value)
    {
        MsrResult result = _bus.WriteMsr(index, value);
        if (result != MsrResult.NotHandled)
        {
            return result == MsrResult.Written;
        }

        switch (index)
        {
            case MsrTsc:
                SetTsc(value);
                return true;
            case MsrSysenterCs:
                _state->SysenterCs = value & 0xFFFF_FFFF;
                return _model.HasSysenter;
            case MsrSysenterEsp:
                return TrySetSysenter(ref _state->SysenterEsp, value);
            case MsrSysenterEip:
                return TrySetSysenter(ref _state->SysenterEip, value);
            case MsrMiscEnable:
                _state->MiscEnable = value;
                return true;
            case MsrPat:
                return TrySetPat(value);
            case MsrEfer:
                return TrySetEfer(value);
            case MsrMicrocode:
                return true;
            default:
                return TryWriteLongMsr(index, value);
        }
    }

    /// <summary>IA32_SYSENTER_ESP and _EIP: 32 bits wide on CPUs without long mode.</summary>
    private bool TrySetSysenter(ref ulong register, ulong value)
    {
        if (!_model.HasSysenter || (_model.HasLongMode && !IsCanonical(value)))
        {
            return false;
        }

        register = _model.HasLongMode ? value : (uint)value;
        return true;
    }

    /// <summary>Every byte of IA32_PAT must be a memory type: UC, WC, WT, WP, WB or UC-.</summary>
    private bool TrySetPat(ulong value)
    {
        for (int i = 0; i < 8; i++)
        {
            if (((value >> (i * 8)) & 0xFF) is not (0 or 1 or 4 or 5 or 6 or 7))
            {
                return false;
            }
        }

        _state->Pat = value;
        return _model.HasPat;
    }

    private bool TrySetEfer(ulong value)
    {
        ulong mask = _model.EferMask;
        const ulong active = ControlBits.EferLongActive, enable = ControlBits.EferLongEnable;
        value = (value & ~active) | (_state->Efer & active);
        ulong changed = _state->Efer ^ value;
        if (mask == 0 || (value & ~(mask | active)) != 0
            || ((changed & enable) != 0 && (_state->Cr0 & ControlBits.Cr0Paging) != 0))
        {
            return false;
        }

        _state->Efer = value;
        if ((changed & ControlBits.EferNoExecute) != 0)
        {
            _memory.FlushAll();
        }

        return true;
    }

    /// <summary>Registers that stock kernels read or write unasked: 0 is the answer "not in use".</summary>
    private static bool IsTolerated(uint index) => index switch
    {
        0x17 => true,                           // platform ID, read with the microcode revision
        0x2A => true,                           // EBL_CR_POWERON
        >= 0xC1 and <= 0xC4 => true,            // performance counters
        0xCD or 0xCE => true,                   // bus speed, platform information
        0x140 => true,                          // MISC_FEATURE_ENABLES
        0x179 or 0x17A => true,                 // machine-check capabilities and status: no banks
        >= 0x186 and <= 0x189 => true,          // performance event selectors
        0x198 or 0x199 => true,                 // performance state
        >= 0x19A and <= 0x19C => true,          // thermal monitor
        0x1D9 => true,                          // DEBUGCTL
        0x345 or 0x38D or 0x38E or 0x38F => true,
        0xC001_1029 => true,                    // DE_CFG, written for LFENCE whatever the vendor
        _ => false,
    };
}
