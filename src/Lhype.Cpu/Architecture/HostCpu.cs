// What the host's CPU can do for guests, straight from its CPUID. CpuModel masks its models with it, and the
// translator asks for the two instructions it has substitutes for. AVX counts only if the host's kernel saves
// its registers, which XCR0 tells; the runtime's IsSupported is about what the program was compiled for.

using System.Runtime.Intrinsics.X86;
using Lhype.Host;

namespace Lhype.Cpu.Architecture;

/// <summary>CPUID leaves of the host.</summary>
internal static unsafe class HostCpu
{
    private const uint OsXsave = 1 << 27, Avx = 1 << 28;

    /// <summary>CPUID.1:ECX.</summary>
    internal static uint Leaf1Ecx { get; } = (uint)Query(1).Ecx;

    /// <summary>CPUID.(7,0):EBX.</summary>
    internal static uint Leaf7Ebx { get; } = (uint)Query(7).Ebx;

    /// <summary>RORX and its like, which leave the flags alone.</summary>
    internal static bool HasBmi2 => (Leaf7Ebx & (1 << 8)) != 0;

    /// <summary>CPUID.(7,0):ECX.</summary>
    internal static uint Leaf7Ecx { get; } = (uint)Query(7).Ecx;

    /// <summary>CPUID.(7,1):EAX.</summary>
    internal static uint Leaf7Sub1Eax { get; } = Query(7).Eax >= 1 ? (uint)Query(7, 1).Eax : 0;

    /// <summary>CPUID.80000001H:ECX.</summary>
    internal static uint ExtendedEcx { get; } = (uint)Query(unchecked((int)0x8000_0001)).Ecx;

    /// <summary>The host's AVX can be used.</summary>
    internal static bool HasAvx { get; } = (Leaf1Ecx & (OsXsave | Avx)) == (OsXsave | Avx)
        && (ReadXcr0() & 6) == 6;

    /// <summary>XGETBV with ECX = 1 tells which registers are in use.</summary>
    internal static bool HasInUse { get; } = HasAvx && (Query(0xD, 1).Eax & 4) != 0;

    private static uint ReadXcr0()
    {
        using var code = new CodeMemory(4096);
        // xor ecx, ecx; xgetbv; ret
        System.ReadOnlySpan<byte> routine = [0x31, 0xC9, 0x0F, 0x01, 0xD0, 0xC3];
        routine.CopyTo(new System.Span<byte>(code.Writable, routine.Length));
        return ((delegate* unmanaged[Cdecl]<uint>)code.Executable)();
    }

    private static (int Eax, int Ebx, int Ecx, int Edx) Query(int leaf, int subleaf = 0) =>
        X86Base.IsSupported && (uint)leaf <= (uint)X86Base.CpuId(leaf & unchecked((int)0x8000_0000), 0).Eax
            ? X86Base.CpuId(leaf, subleaf) : default;
}
