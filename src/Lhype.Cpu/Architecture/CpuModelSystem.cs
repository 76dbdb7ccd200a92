// What the CPU models with long mode show to kernels beyond the instructions of programs: PCID and INVPCID,
// FSGSBASE, SMEP, UMIP and pages of 1 GiB. SMAP is missing on purpose (docs/decisions/0017).

using Iced.Intel;

namespace Lhype.Cpu.Architecture;

public sealed partial class CpuModel
{
    // CPUID.1:ECX, CPUID.(7,0):EBX and ECX, CPUID.80000001H:EDX (SDM vol. 2, CPUID).
    private const uint Pcid = 1 << 17;
    private const uint FsGsBase = 1 << 0, Smep = 1 << 7, InvalidatePcid = 1 << 10;
    private const uint Umip = 1 << 2;
    private const uint ExtendedHugePages = 1 << 26;

    private uint SystemEcx1 => HasLongMode ? Pcid : 0;

    private uint SystemEbx7 => HasLongMode ? FsGsBase | Smep | InvalidatePcid : 0;

    private uint SystemEcx7 => HasLongMode ? Umip : 0;

    private uint SystemExtendedEdx => HasLongMode ? ExtendedHugePages : 0;

    private ulong SystemCr4 => HasLongMode
        ? ControlBits.Cr4Fsgsbase | ControlBits.Cr4Pcide | ControlBits.Cr4Smep | ControlBits.Cr4Umip : 0;

    private bool AcceptsSystem(CpuidFeature feature) =>
        feature is CpuidFeature.FSGSBASE or CpuidFeature.INVPCID && HasLongMode;
}
