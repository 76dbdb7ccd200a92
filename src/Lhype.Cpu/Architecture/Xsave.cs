// XCR0 and the XSAVE family (SDM vol. 1, chapter 13): XGETBV, XSETBV, XSAVE, XSAVEOPT, XSAVEC, XRSTOR, for
// the components x87, SSE and AVX. Their area is the FXSAVE image, a header, and the upper halves of the YMM
// registers; the compacted form has them at the same place, because AVX is the first component behind the
// header. x87 and SSE always count as in use, AVX while an upper half is not 0.
//
// Called by Execute for models that have XSAVE.

using System;
using Iced.Intel;

namespace Lhype.Cpu.Architecture;

public sealed unsafe partial class Processor
{
    private const int XsaveHeader = CpuModel.XsaveLegacyBytes;
    private const int XsaveUpper = XsaveHeader + CpuModel.XsaveHeaderBytes;
    private const int XsaveBytes = XsaveUpper + CpuModel.XsaveUpperBytes;
    private const ulong CompactedBit = 1UL << 63;
    private const ulong Vectors = CpuModel.XcrSse | CpuModel.XcrAvx;

    private void ResetVectors()
    {
        new Span<byte>(_state->Xmm, 16 * 16).Clear();
        new Span<ulong>(_state->Upper, 16 * 2).Clear();
        _state->UpperInUse = 0;
        _state->UpperMask[0] = _state->UpperMask[1] = 0;
        _state->UpperMask[2] = _state->UpperMask[3] = ulong.MaxValue;
        _state->Xcr0 = CpuModel.XcrX87;
    }

    /// <summary>The guest's kernel has enabled AVX: without it every VEX-encoded vector instruction is
    /// #UD.</summary>
    internal bool AvxEnabled => (_state->Cr4 & ControlBits.Cr4Osxsave) != 0
        && (_state->Xcr0 & Vectors) == Vectors;

    /// <summary>VEX-encoded vector instructions: #UD before the kernel has enabled AVX, #NM under CR0.TS (SDM
    /// vol. 2, 2.4).</summary>
    private bool RequireAvx() => !AvxEnabled ? RaiseUndefined() : RequireNotSwitched();

    private bool RequireXsave() =>
        (_state->Cr4 & ControlBits.Cr4Osxsave) == 0 ? RaiseUndefined() : RequireNotSwitched();

    private bool RequireNotSwitched() =>
        (_state->Cr0 & ControlBits.Cr0TaskSwitched) == 0 || Raise(Vector.DeviceNotAvailable);

    /// <summary>Vector registers the code can name; the others are neither saved nor loaded.</summary>
    private int VectorCount => IsLongCode ? 16 : 8;

    private ulong InUse => CpuModel.XcrX87 | CpuModel.XcrSse
        | (_state->UpperInUse != 0 ? CpuModel.XcrAvx : 0);

    /// <summary>The components EDX:EAX asks for, of those that are enabled.</summary>
    private ulong RequestedComponents => (((ulong)Gpr32(Edx) << 32) | Gpr32(Eax)) & _state->Xcr0;

    /// <summary>XGETBV: XCR0, or which of its components are in use.</summary>
    private bool ExecuteGetExtendedControl()
    {
        if ((_state->Cr4 & ControlBits.Cr4Osxsave) == 0)
        {
            return RaiseUndefined();
        }

        if (Gpr32(Ecx) > 1)
        {
            return RaiseProtection();
        }

        ulong value = Gpr32(Ecx) == 0 ? _state->Xcr0 : _state->Xcr0 & InUse;
        _state->Gpr[Eax] = (uint)value;
        _state->Gpr[Edx] = value >> 32;
        return true;
    }

    /// <summary>XSETBV. x87 cannot be disabled, AVX needs SSE.</summary>
    private bool ExecuteSetExtendedControl()
    {
        if ((_state->Cr4 & ControlBits.Cr4Osxsave) == 0)
        {
            return RaiseUndefined();
        }

        ulong value = ((ulong)Gpr32(Edx) << 32) | Gpr32(Eax);
        if (!RequireRing0())
        {
            return false;
        }

        if (Gpr32(Ecx) != 0 || (value & ~_model.Xcr0Mask) != 0 || (value & CpuModel.XcrX87) == 0
            || (value & Vectors) == CpuModel.XcrAvx)
        {
            return RaiseProtection();
        }

        _state->Xcr0 = value;
        return true;
    }

    private bool TryXsaveArea(in Instruction instruction, int bytes, bool write, out ulong linear)
    {
        linear = 0;
        return RequireXsave() && TryOperandAddress(instruction, bytes, write, out linear)
            && ((linear & 63) == 0 || RaiseProtection());
    }

    /// <summary>XSAVE, XSAVEOPT (components not in use are not written) and XSAVEC (the same, with a new
    /// header).</summary>
    private bool ExecuteXsave(in Instruction instruction)
    {
        bool compacted = instruction.Mnemonic is Mnemonic.Xsavec or Mnemonic.Xsavec64;
        bool all = instruction.Mnemonic is Mnemonic.Xsave or Mnemonic.Xsave64;
        ulong wanted = RequestedComponents;
        int bytes = (wanted & CpuModel.XcrAvx) != 0 ? XsaveBytes : XsaveUpper;
        if (!TryXsaveArea(instruction, bytes, write: true, out ulong linear)
            || !_memory.TryProbeWrite(linear, bytes, IsUser)
            || !_memory.TryRead(linear + XsaveHeader, 8, IsUser, out ulong stateBits))
        {
            return false;
        }

        byte* area = AlignedArea(stackalloc byte[FxBytes + 16]);
        if ((wanted & CpuModel.XcrX87) != 0)
        {
            _native.Fxsave(area);
            new Span<byte>(area + 6, FxMxcsr - 6).Clear();
            if (!_memory.TryWriteBytes(linear, area, FxMxcsr, IsUser)
                || !_memory.TryWriteBytes(linear + FxRegisters, area + FxRegisters, FxXmm - FxRegisters,
                    IsUser))
            {
                return false;
            }
        }

        ulong mxcsr = _state->Mxcsr | ((ulong)_model.MxcsrMask << 32);
        bool control = (wanted & (compacted ? CpuModel.XcrSse : Vectors)) != 0;
        if ((control && !_memory.TryWrite(linear + FxMxcsr, 8, mxcsr, IsUser))
            || ((wanted & CpuModel.XcrSse) != 0
                && !_memory.TryWriteBytes(linear + FxXmm, _state->Xmm, VectorCount * 16, IsUser))
            || ((wanted & CpuModel.XcrAvx & (all ? ulong.MaxValue : InUse)) != 0
                && !TryWriteUppers(linear + XsaveUpper)))
        {
            return false;
        }

        stateBits = compacted ? wanted & InUse : (stateBits & ~wanted) | (wanted & InUse);
        return _memory.TryWrite(linear + XsaveHeader, 8, stateBits, IsUser)
            && (!compacted || _memory.TryWrite(linear + XsaveHeader + 8, 8, wanted | CompactedBit, IsUser));
    }

    private bool TryWriteUppers(ulong linear)
    {
        ulong* uppers = stackalloc ulong[16 * 2];
        new Span<ulong>(uppers, 16 * 2).Clear();
        if (_state->UpperInUse != 0)
        {
            new ReadOnlySpan<ulong>(_state->Upper, 16 * 2).CopyTo(new Span<ulong>(uppers, 16 * 2));
        }

        return _memory.TryWriteBytes(linear, (byte*)uppers, VectorCount * 16, IsUser);
    }

    /// <summary>XRSTOR in both forms (SDM vol. 1, 13.8). What the header leaves out is
    /// initialised.</summary>
    private bool ExecuteXrstor(in Instruction instruction)
    {
        ulong wanted = RequestedComponents;
        int bytes = (wanted & CpuModel.XcrAvx) != 0 ? XsaveBytes : XsaveUpper;
        byte* area = AlignedArea(stackalloc byte[XsaveBytes + 16]);
        if (!TryXsaveArea(instruction, bytes, write: false, out ulong linear)
            || !_memory.TryReadBytes(linear, area, XsaveUpper, IsUser))
        {
            return false;
        }

        ulong* header = (ulong*)(area + XsaveHeader);
        bool compacted = (header[1] & CompactedBit) != 0;
        uint mxcsr = *(uint*)(area + FxMxcsr);
        bool control = compacted ? (wanted & header[0] & CpuModel.XcrSse) != 0 : (wanted & Vectors) != 0;
        if (!IsXsaveHeaderValid(header, compacted) || (control && (mxcsr & ~_model.MxcsrMask) != 0))
        {
            return RaiseProtection();
        }

        ulong loaded = wanted & header[0];
        if ((loaded & CpuModel.XcrAvx) != 0
            && !_memory.TryReadBytes(linear + XsaveUpper, area + XsaveUpper, VectorCount * 16, IsUser))
        {
            return false;
        }

        if (control)
        {
            _state->Mxcsr = mxcsr;
        }
        else if ((wanted & CpuModel.XcrSse) != 0)
        {
            _state->Mxcsr = MxcsrReset;
        }

        LoadVectorComponents(wanted, loaded, area);
        if ((wanted & CpuModel.XcrX87) != 0)
        {
            LoadX87(area, (loaded & CpuModel.XcrX87) != 0);
        }

        return true;
    }

    private bool IsXsaveHeaderValid(ulong* header, bool compacted)
    {
        ulong xcr0 = _state->Xcr0;
        if (!compacted)
        {
            return (header[0] & ~xcr0) == 0 && header[1] == 0 && header[2] == 0;
        }

        ulong reserved = 0;
        for (int i = 2; i < CpuModel.XsaveHeaderBytes / 8; i++)
        {
            reserved |= header[i];
        }

        ulong components = header[1] & ~CompactedBit;
        return (components & ~xcr0) == 0 && (header[0] & ~components) == 0 && reserved == 0;
    }

    private void LoadVectorComponents(ulong wanted, ulong loaded, byte* area)
    {
        int count = VectorCount;
        if ((wanted & CpuModel.XcrSse) != 0)
        {
            var low = new Span<byte>(_state->Xmm, count * 16);
            low.Clear();
            if ((loaded & CpuModel.XcrSse) != 0)
            {
                new ReadOnlySpan<byte>(area + FxXmm, count * 16).CopyTo(low);
            }
        }

        if ((wanted & CpuModel.XcrAvx) != 0)
        {
            for (int i = 0; i < count; i++)
            {
                bool there = (loaded & CpuModel.XcrAvx) != 0;
                ulong* upper = (ulong*)(area + XsaveUpper) + (i * 2);
                SetUpper(i, there ? upper[0] : 0, there ? upper[1] : 0);
            }

            ForgetZeroUppers();
        }
    }

    private void LoadX87(byte* area, bool there)
    {
        if (!there)
        {
            new Span<byte>(area, FxXmm).Clear();
            *(ushort*)area = 0x37F;
        }

        // The host's own MXCSR must not take the guest's unmasked exceptions.
        *(uint*)(area + FxMxcsr) = MxcsrReset;
        new Span<byte>(area + 6, FxMxcsr - 6).Clear();
        _native.Fxrstor(area);
    }

    /// <summary>Writes bits 255-128 of a YMM register.</summary>
    private void SetUpper(int register, ulong low, ulong high)
    {
        if (_state->UpperInUse == 0)
        {
            if ((low | high) == 0)
            {
                return;
            }

            new Span<ulong>(_state->Upper, 16 * 2).Clear();
            _state->UpperInUse = 1;
        }

        _state->Upper[register * 2] = low;
        _state->Upper[(register * 2) + 1] = high;
    }

    /// <summary>Upper halves that are all 0 are not in use: SSE instructions are slow on some CPUs while they
    /// are.</summary>
    private void ForgetZeroUppers()
    {
        if (!new ReadOnlySpan<ulong>(_state->Upper, 16 * 2).ContainsAnyExcept(0UL))
        {
            _state->UpperInUse = 0;
        }
    }
}
