// The upper halves of the YMM registers in both oracles and both harnesses. The oracles load them by XRSTOR
// and find them in the XSAVE area of the signal frame; the harnesses set them in the state of the vCPU, since
// a guest's XSAVE would need EAX and EDX.

using System;
using Iced.Intel;
using Lhype.Cpu;
using Lhype.Cpu.Architecture;
using static Iced.Intel.AssemblerRegisters;

namespace Lhype.Tests.Cpu.Oracle;

internal static unsafe class OracleUppers
{
    private const int Header = 512, Upper = 576, AreaBytes = 832, Mxcsr = 24, Avx = 4;

    /// <summary>Loads UpperIn. Changes rax and rdx.</summary>
    internal static void EmitLoad(Assembler a)
    {
        if (HostCpu.HasAvx)
        {
            a.mov(eax, Avx);
            a.xor(edx, edx);
            a.xrstor(__[r15 + OracleContext.UpperIn]);
        }
    }

    /// <summary>Copies the area of the signal frame at rdx to UpperOut. Changes rsi, rdi and rcx.</summary>
    internal static void EmitStore(Assembler a)
    {
        if (HostCpu.HasAvx)
        {
            a.mov(rsi, __qword_ptr[rdx + SignalFrame.FpState]);
            a.lea(rdi, __[r15 + OracleContext.UpperOut]);
            a.mov(ecx, AreaBytes / 8);
            a.rep.movsq();
        }
    }

    /// <summary>Fills UpperIn. XRSTOR takes MXCSR with the upper halves.</summary>
    internal static void Set(byte* context, byte[] fx, byte[] upper)
    {
        byte* area = context + OracleContext.UpperIn;
        new Span<byte>(area, AreaBytes).Clear();
        fx.AsSpan(Mxcsr, 4).CopyTo(new Span<byte>(area + Mxcsr, 4));
        *(ulong*)(area + Header) = Avx;
        upper.CopyTo(new Span<byte>(area + Upper, 16 * 16));
    }

    /// <summary>Takes them from UpperOut.</summary>
    internal static void Get(byte* context, byte[] upper)
    {
        byte* area = context + OracleContext.UpperOut;
        if (HostCpu.HasAvx && (*(ulong*)(area + Header) & Avx) != 0)
        {
            new ReadOnlySpan<byte>(area + Upper, upper.Length).CopyTo(upper);
        }
    }

    /// <summary>Enables AVX as a kernel would, and sets the upper halves.</summary>
    internal static void Set(CpuState* state, byte[] upper)
    {
        state->Cr4 |= ControlBits.Cr4Osxsave;
        state->Xcr0 = 7;
        new Span<ulong>(state->Upper, 32).Clear();
        upper.CopyTo(new Span<byte>(state->Upper, 16 * 16));
        state->UpperInUse = upper.AsSpan().ContainsAnyExcept((byte)0) ? 1u : 0;
    }

    /// <summary>The upper halves after a run.</summary>
    internal static void Get(CpuState* state, byte[] upper)
    {
        if (state->UpperInUse != 0)
        {
            new ReadOnlySpan<byte>(state->Upper, upper.Length).CopyTo(upper);
        }
    }
}
