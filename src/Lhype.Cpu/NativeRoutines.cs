// Small emitted functions that C# cannot express: saving and loading the x87 state that stays live in the
// host CPU while a vCPU thread runs C#, and reading the time-stamp counter. Emitted once per vCPU into its
// code memory; all must be called on the vCPU's thread.

namespace Lhype.Cpu;

/// <summary>Host instructions C# has no intrinsic for, as function pointers into emitted code.</summary>
public sealed unsafe class NativeRoutines
{
    /// <summary>RDTSC of the host.</summary>
    public delegate* unmanaged[Cdecl, SuppressGCTransition]<ulong> ReadTsc { get; internal set; }
    /// <summary>FXSAVE of the live x87 state to a 16-byte aligned 512-byte buffer (its XMM part is
    /// meaningless).</summary>
    public delegate* unmanaged[Cdecl, SuppressGCTransition]<byte*, void> Fxsave { get; internal set; }
    /// <summary>FXRSTOR of the x87 part from a 16-byte aligned 512-byte buffer.</summary>
    public delegate* unmanaged[Cdecl, SuppressGCTransition]<byte*, void> Fxrstor { get; internal set; }
    /// <summary>FNSAVE, 32-bit format, 108 bytes; leaves the FPU initialised.</summary>
    public delegate* unmanaged[Cdecl, SuppressGCTransition]<byte*, void> Fnsave { get; internal set; }
    /// <summary>FRSTOR, 32-bit format, 108 bytes.</summary>
    public delegate* unmanaged[Cdecl, SuppressGCTransition]<byte*, void> Frstor { get; internal set; }
    /// <summary>FNSTENV, 32-bit format, 28 bytes; masks all exceptions, as the instruction does.</summary>
    public delegate* unmanaged[Cdecl, SuppressGCTransition]<byte*, void> Fnstenv { get; internal set; }
    /// <summary>FLDENV, 32-bit format, 28 bytes.</summary>
    public delegate* unmanaged[Cdecl, SuppressGCTransition]<byte*, void> Fldenv { get; internal set; }
    /// <summary>FNSTSW: the status word; bit 7 (ES) tells of a pending unmasked exception.</summary>
    public delegate* unmanaged[Cdecl, SuppressGCTransition]<uint> Fnstsw { get; internal set; }
    /// <summary>FNINIT.</summary>
    public delegate* unmanaged[Cdecl, SuppressGCTransition]<void> Fninit { get; internal set; }
    /// <summary>REP MOVSB/W/D/Q forwards: (destination, source, count, element size).</summary>
    public delegate* unmanaged[Cdecl, SuppressGCTransition]<byte*, byte*, nuint, int, void> RepMovs
    {
        get; internal set;
    }

    /// <summary>REP STOSB/W/D/Q forwards: (destination, value, count, element size).</summary>
    public delegate* unmanaged[Cdecl, SuppressGCTransition]<byte*, ulong, nuint, int, void> RepStos
    {
        get; internal set;
    }
}
