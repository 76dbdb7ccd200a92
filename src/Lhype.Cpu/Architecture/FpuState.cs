// State of the x87 FPU and of SSE (SDM vol. 1, 8.1 and 10.5): FXSAVE, FXRSTOR, FNSAVE, FRSTOR, FNSTENV,
// FLDENV, LDMXCSR, STMXCSR, and the faults of floating-point instructions that CR0 and CR4 disable. x87
// registers are live in the host CPU while C# runs; XMM registers and MXCSR are in the state.
//
// The instruction and data pointers (FIP, FCS, FDP, FDS, FOP) always read as 0: the host records host
// addresses there, which a guest must not see. CPUs with the ZERO_FCS_FDS bit behave much the same.

using System;
using Iced.Intel;

namespace Lhype.Cpu.Architecture;

public sealed unsafe partial class Processor
{
    private const int FxBytes = 512;
    /// <summary>What 32-bit code stores, up to and including XMM7, and what 64-bit code does.</summary>
    private const int FxStored32 = 288, FxStored64 = 416;
    private const int FxMxcsr = 24, FxRegisters = 32, FxXmm = 160;
    private const int EnvironmentBytes = 28;
    private const int SaveBytes = 108;
    private const uint MxcsrReset = 0x1F80;

    /// <summary>CR0.EM and CR0.TS: #NM for every x87 instruction but FWAIT.</summary>
    private bool RequireX87() =>
        (_state->Cr0 & (ControlBits.Cr0Emulation | ControlBits.Cr0TaskSwitched)) == 0
        || Raise(Vector.DeviceNotAvailable);

    /// <summary>MMX: #UD under EM, #NM under TS (SDM vol. 3, table 12-2).</summary>
    private bool RequireMmx() =>
        (_state->Cr0 & ControlBits.Cr0Emulation) != 0 ? RaiseUndefined() : RequireX87();

    /// <summary>SSE: #UD under EM or without CR4.OSFXSR, #NM under TS (SDM vol. 3, table 13-1).</summary>
    private bool RequireSse() =>
        (_state->Cr4 & ControlBits.Cr4Osfxsr) == 0 ? RaiseUndefined() : RequireMmx();

    /// <summary>A pending unmasked x87 exception stops every waiting instruction with #MF.</summary>
    private bool RequireNoPendingX87()
    {
        byte* area = AlignedArea(stackalloc byte[FxBytes + 16]);
        _native.Fxsave(area);
        return (area[2] & 0x80) == 0 || Raise(Vector.FloatingPoint);
    }

    private static byte* AlignedArea(Span<byte> space)
    {
        // SAFETY: the span is stack memory of the caller, which outlives the returned pointer.
        fixed (byte* start = space)
        {
            return (byte*)(((ulong)start + 15) & ~15UL);
        }
    }

    /// <summary>Instructions that come here because CR0.EM, CR0.TS or CR4.OSFXSR disable their unit, and the
    /// few of their features' instructions that need no unit. Everything else is #UD.</summary>
    private bool ExecuteDisabled(in Instruction instruction)
    {
        bool x87 = false, mmx = false, sse = false;
        foreach (CpuidFeature feature in instruction.Code.CpuidFeatures())
        {
            x87 |= feature is CpuidFeature.FPU or CpuidFeature.FPU287 or CpuidFeature.FPU387;
            mmx |= feature == CpuidFeature.MMX;
            sse |= feature is CpuidFeature.SSE or CpuidFeature.SSE2 or CpuidFeature.SSE3
                or CpuidFeature.SSE4_1 or CpuidFeature.SSE4_2 or CpuidFeature.SSSE3 or CpuidFeature.AES
                or CpuidFeature.PCLMULQDQ or CpuidFeature.SHA or CpuidFeature.GFNI;
        }

        switch (instruction.Mnemonic)
        {
            case Mnemonic.Lfence or Mnemonic.Mfence or Mnemonic.Sfence:
                return true;
            case Mnemonic.Movnti:
                return TryWriteOperand(instruction, 0, SizeOf(instruction.Op1Register),
                    ReadRegister(instruction.Op1Register));
            case Mnemonic.Wait:
                const ulong both = ControlBits.Cr0MonitorCoprocessor | ControlBits.Cr0TaskSwitched;
                return (_state->Cr0 & both) == both
                    ? Raise(Vector.DeviceNotAvailable)
                    : RequireNoPendingX87();
        }

        bool enabled = x87 ? RequireX87()
            : mmx || (sse && IsMmxForm(instruction)) ? RequireMmx()
            : !sse || RequireSse();
        return enabled && RaiseUndefined();
    }

    /// <summary>SSE-era instructions on MMX registers alone do not depend on CR4.OSFXSR.</summary>
    private static bool IsMmxForm(in Instruction instruction)
    {
        bool mmx = false;
        for (int i = 0; i < instruction.OpCount; i++)
        {
            if (instruction.GetOpKind(i) == OpKind.Register)
            {
                Register register = instruction.GetOpRegister(i);
                if (register.IsXMM())
                {
                    return false;
                }

                mmx |= register.IsMM();
            }
        }

        return mmx && instruction.Mnemonic is not (Mnemonic.Cvtps2pi or Mnemonic.Cvttps2pi
            or Mnemonic.Cvtpd2pi or Mnemonic.Cvttpd2pi);
    }

    private int FxStored => IsLongCode ? FxStored64 : FxStored32;

    /// <summary>FXSAVE: 16-byte aligned, 512 bytes, of which 32-bit code writes the first 288 and 64-bit code
    /// the first 416.</summary>
    private bool ExecuteFxsave(in Instruction instruction)
    {
        if (!RequireX87() || !TryOperandAddress(instruction, FxBytes, write: true, out ulong linear))
        {
            return false;
        }

        if ((linear & 15) != 0)
        {
            return RaiseProtection();
        }

        if (!_memory.TryProbeWrite(linear, FxBytes, IsUser))
        {
            return false;
        }

        byte* area = AlignedArea(stackalloc byte[FxBytes + 16]);
        _native.Fxsave(area);
        new Span<byte>(area + 6, FxRegisters - 6).Clear();
        if (_model.HasSse)
        {
            *(uint*)(area + FxMxcsr) = _state->Mxcsr;
            *(uint*)(area + FxMxcsr + 4) = _model.MxcsrMask;
        }

        int bytes = FxStored - FxXmm;
        new ReadOnlySpan<byte>(_state->Xmm, bytes).CopyTo(new Span<byte>(area + FxXmm, bytes));
        return _memory.TryWriteBytes(linear, area, FxStored, IsUser);
    }

    /// <summary>FXRSTOR: reserved MXCSR bits raise #GP before anything is loaded.</summary>
    private bool ExecuteFxrstor(in Instruction instruction)
    {
        if (!RequireX87() || !TryOperandAddress(instruction, FxBytes, write: false, out ulong linear))
        {
            return false;
        }

        byte* area = AlignedArea(stackalloc byte[FxBytes + 16]);
        if ((linear & 15) != 0)
        {
            return RaiseProtection();
        }

        if (!_memory.TryReadBytes(linear, area, FxBytes, IsUser))
        {
            return false;
        }

        uint mxcsr = *(uint*)(area + FxMxcsr);
        if (_model.HasSse)
        {
            if ((mxcsr & ~_model.MxcsrMask) != 0)
            {
                return RaiseProtection();
            }

            _state->Mxcsr = mxcsr;
            int bytes = FxStored - FxXmm;
            new ReadOnlySpan<byte>(area + FxXmm, bytes).CopyTo(new Span<byte>(_state->Xmm, bytes));
        }

        // The host's own MXCSR must not take the guest's unmasked exceptions.
        *(uint*)(area + FxMxcsr) = MxcsrReset;
        new Span<byte>(area + 6, FxMxcsr - 6).Clear();
        _native.Fxrstor(area);
        return true;
    }

    /// <summary>FNSAVE and FNSTENV in the 32-bit or the 16-bit layout.</summary>
    private bool ExecuteStoreEnvironment(in Instruction instruction, bool narrow, bool registers)
    {
        int header = narrow ? EnvironmentBytes / 2 : EnvironmentBytes;
        int bytes = registers ? header + SaveBytes - EnvironmentBytes : header;
        if (!RequireX87() || !TryOperandAddress(instruction, bytes, write: true, out ulong linear)
            || !_memory.TryProbeWrite(linear, bytes, IsUser))
        {
            return false;
        }

        byte* area = stackalloc byte[SaveBytes];
        if (registers)
        {
            _native.Fnsave(area);
        }
        else
        {
            _native.Fnstenv(area);
        }

        byte* image = stackalloc byte[SaveBytes];
        for (int i = 0; i < 7; i++)
        {
            uint field = i < 3 ? *(uint*)(area + (i * 4)) : i == 6 ? 0xFFFF_0000 : 0;
            if (narrow)
            {
                *(ushort*)(image + (i * 2)) = (ushort)field;
            }
            else
            {
                *(uint*)(image + (i * 4)) = field;
            }
        }

        new ReadOnlySpan<byte>(area + EnvironmentBytes, SaveBytes - EnvironmentBytes)
            .CopyTo(new Span<byte>(image + header, SaveBytes - header));
        return _memory.TryWriteBytes(linear, image, bytes, IsUser);
    }

    /// <summary>FRSTOR and FLDENV.</summary>
    private bool ExecuteLoadEnvironment(in Instruction instruction, bool narrow, bool registers)
    {
        int header = narrow ? EnvironmentBytes / 2 : EnvironmentBytes;
        int bytes = registers ? header + SaveBytes - EnvironmentBytes : header;
        byte* image = stackalloc byte[SaveBytes];
        if (!RequireX87() || !RequireNoPendingX87()
            || !TryOperandAddress(instruction, bytes, write: false, out ulong linear)
            || !_memory.TryReadBytes(linear, image, bytes, IsUser))
        {
            return false;
        }

        byte* area = stackalloc byte[SaveBytes];
        new Span<byte>(area, SaveBytes).Clear();
        for (int i = 0; i < 3; i++)
        {
            *(uint*)(area + (i * 4)) = narrow ? *(ushort*)(image + (i * 2)) : *(uint*)(image + (i * 4));
        }

        if (!registers)
        {
            _native.Fldenv(area);
            return true;
        }

        new ReadOnlySpan<byte>(image + header, SaveBytes - EnvironmentBytes)
            .CopyTo(new Span<byte>(area + EnvironmentBytes, SaveBytes - EnvironmentBytes));
        _native.Frstor(area);
        return true;
    }

    /// <summary>LDMXCSR and STMXCSR.</summary>
    private bool ExecuteMxcsr(in Instruction instruction, bool store)
    {
        if (!RequireSse())
        {
            return false;
        }

        return store ? TryWriteOperand(instruction, 0, 4, _state->Mxcsr) : TryLoadMxcsr(instruction);
    }

    private bool TryLoadMxcsr(in Instruction instruction)
    {
        if (!TryReadOperand(instruction, 0, 4, out ulong image))
        {
            return false;
        }

        uint value = (uint)image;
        if ((value & ~_model.MxcsrMask) != 0)
        {
            return RaiseProtection();
        }

        _state->Mxcsr = value;
        return true;
    }

    /// <summary>CLFLUSH: faults as a byte load does, and has nothing to flush.</summary>
    private bool ExecuteFlushLine(in Instruction instruction) =>
        TryOperandAddress(instruction, 1, write: false, out ulong linear)
        && (_memory.TryGetRun(linear, write: false, IsUser, out _, out _, out bool isRam) || !isRam);
}
