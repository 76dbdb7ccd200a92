// The CPU models with AVX: `v3`, which is the level x86-64-v3 and nothing else, and `host`, which is what of
// the host's CPU the translator can run. AVX-512, AMX, protection keys and shadow stacks are in neither, so
// XCR0 has bits for x87, SSE and AVX, and the XSAVE area has 832 bytes.

using System.Collections.Generic;
using Iced.Intel;

namespace Lhype.Cpu.Architecture;

public sealed partial class CpuModel
{
    // CPUID.1:ECX (SDM vol. 2, table 3-10).
    private const uint Pclmul = 1 << 1, Fma = 1 << 12, Movbe = 1 << 22, Aes = 1 << 25, Xsave = 1 << 26;
    private const uint OsXsave = 1 << 27, Avx = 1 << 28, F16c = 1 << 29;
    // CPUID.(7,0):EBX and ECX, CPUID.(7,1):EAX, CPUID.80000001H:ECX.
    private const uint Bmi1 = 1 << 3, Avx2 = 1 << 5, Bmi2 = 1 << 8, Rdseed = 1 << 18, Adx = 1 << 19;
    private const uint Sha = 1 << 29;
    private const uint Gfni = 1 << 8, Vaes = 1 << 9, Vpclmul = 1 << 10;
    private const uint AvxVnni = 1 << 4, AvxIfma = 1 << 23;
    private const uint ExtendedLzcnt = 1 << 5;

    private const uint Version3Ecx = Fma | Movbe | Xsave | Avx | F16c;
    private const uint Version3Ebx = Bmi1 | Avx2 | Bmi2;

    // What of those needs YMM registers or their instruction encoding with them.
    private const uint VectorEcx = Fma | Xsave | Avx | F16c, VectorEcx7 = Vaes | Vpclmul;

    /// <summary>XCR0 bits: x87, SSE, AVX.</summary>
    internal const ulong XcrX87 = 1, XcrSse = 2, XcrAvx = 4;

    /// <summary>Bytes of an XSAVE area: the FXSAVE image, the header, and the upper halves.</summary>
    internal const int XsaveLegacyBytes = 512, XsaveHeaderBytes = 64, XsaveUpperBytes = 256;

    private static CpuModel MakeVersion3() => new("v3", "v2 with AVX2, BMI, FMA: the level x86-64-v3",
        Base.Signature, Base._maxLeaf, Base._edx1, BaseEcx | Sse41 | Sse42 | Version3Ecx, Base._edxExtended,
        Base._ecxExtended | ExtendedLzcnt, Version3Ebx);

    private static CpuModel MakeHost()
    {
        const uint ecx = Pclmul | Fma | Movbe | Aes | Xsave | Avx | F16c;
        const uint ebx7 = Bmi1 | Avx2 | Bmi2 | Rdseed | Adx | Sha;
        uint hidden = HostCpu.HasAvx ? 0 : VectorEcx;
        return new("host", "all of the host's CPU that guests can use; no AVX-512", Base.Signature,
            Base._maxLeaf, Base._edx1, BaseEcx | Sse41 | Sse42 | (ecx & HostCpu.Leaf1Ecx & ~hidden),
            Base._edxExtended, Base._ecxExtended | (ExtendedLzcnt & HostCpu.ExtendedEcx),
            ebx7 & HostCpu.Leaf7Ebx & ~(HostCpu.HasAvx ? 0 : Avx2 | Bmi1 | Bmi2),
            (Gfni | Vaes | Vpclmul) & HostCpu.Leaf7Ecx & ~(HostCpu.HasAvx ? 0 : VectorEcx7),
            HostCpu.HasAvx ? (AvxVnni | AvxIfma) & HostCpu.Leaf7Sub1Eax : 0);
    }

    /// <summary>XSAVE, XCR0 and CR4.OSXSAVE exist. AVX always comes with it.</summary>
    public bool HasXsave => (_ecx1 & Xsave) != 0;

    /// <summary>AVX, and with it YMM registers, exist.</summary>
    public bool HasAvx => (_ecx1 & Avx) != 0;

    /// <summary>F3 0F BC is TZCNT and not BSF.</summary>
    internal bool HasTzcnt => (_ebx7 & Bmi1) != 0;

    /// <summary>F3 0F BD is LZCNT and not BSR.</summary>
    internal bool HasLzcnt => (_ecxExtended & ExtendedLzcnt) != 0;

    /// <summary>Bits of XCR0 that can be set.</summary>
    internal ulong Xcr0Mask => HasAvx ? XcrX87 | XcrSse | XcrAvx : XcrX87 | XcrSse;

    /// <summary>The features the model promises and the host lacks, or null.</summary>
    public string? MissingOnHost
    {
        get
        {
            if (Name == "host")
            {
                return null;
            }

            List<string> missing = [];
            Require(missing, "AVX", !HasAvx || HostCpu.HasAvx);
            Require(missing, "AVX2", !HasAvx || (HostCpu.HasAvx && (_ebx7 & Avx2 & ~HostCpu.Leaf7Ebx) == 0));
            Require(missing, "BMI1", (_ebx7 & Bmi1 & ~HostCpu.Leaf7Ebx) == 0);
            Require(missing, "BMI2", (_ebx7 & Bmi2 & ~HostCpu.Leaf7Ebx) == 0);
            Require(missing, "FMA", (_ecx1 & Fma & ~HostCpu.Leaf1Ecx) == 0);
            Require(missing, "F16C", (_ecx1 & F16c & ~HostCpu.Leaf1Ecx) == 0);
            Require(missing, "MOVBE", (_ecx1 & Movbe & ~HostCpu.Leaf1Ecx) == 0);
            Require(missing, "LZCNT", (_ecxExtended & ExtendedLzcnt & ~HostCpu.ExtendedEcx) == 0);
            return missing.Count == 0 ? null : string.Join(", ", missing);
        }
    }

    private static void Require(List<string> missing, string feature, bool there)
    {
        if (!there)
        {
            missing.Add(feature);
        }
    }

    private bool AcceptsVector(CpuidFeature feature) => feature switch
    {
        CpuidFeature.AVX => HasAvx,
        CpuidFeature.AVX2 => (_ebx7 & Avx2) != 0,
        CpuidFeature.FMA => (_ecx1 & Fma) != 0,
        CpuidFeature.F16C => (_ecx1 & F16c) != 0,
        CpuidFeature.BMI1 => HasTzcnt,
        CpuidFeature.BMI2 => (_ebx7 & Bmi2) != 0,
        CpuidFeature.LZCNT => HasLzcnt,
        CpuidFeature.MOVBE => (_ecx1 & Movbe) != 0,
        CpuidFeature.XSAVE or CpuidFeature.XSAVEOPT or CpuidFeature.XSAVEC => HasXsave,
        CpuidFeature.AES => (_ecx1 & Aes) != 0,
        CpuidFeature.PCLMULQDQ => (_ecx1 & Pclmul) != 0,
        CpuidFeature.SHA => (_ebx7 & Sha) != 0,
        CpuidFeature.ADX => (_ebx7 & Adx) != 0,
        CpuidFeature.RDSEED => (_ebx7 & Rdseed) != 0,
        CpuidFeature.GFNI => (_ecx7 & Gfni) != 0,
        CpuidFeature.VAES => (_ecx7 & Vaes) != 0,
        CpuidFeature.VPCLMULQDQ => (_ecx7 & Vpclmul) != 0,
        CpuidFeature.AVX_VNNI => (_eax7Sub1 & AvxVnni) != 0,
        CpuidFeature.AVX_IFMA => (_eax7Sub1 & AvxIfma) != 0,
        _ => false,
    };

    /// <summary>CPUID leaf 0DH with all components enabled; what depends on XCR0 is filled in by
    /// <see cref="WithState"/>.</summary>
    private CpuidResult QueryXsave(uint subleaf)
    {
        const uint legacy = XsaveLegacyBytes + XsaveHeaderBytes;
        return !HasXsave ? default : subleaf switch
        {
            0 => new((uint)Xcr0Mask, legacy, legacy + (HasAvx ? (uint)XsaveUpperBytes : 0), 0),
            // XSAVEOPT, XSAVEC, XGETBV with ECX = 1; no XSAVES.
            1 => new(7, legacy, 0, 0),
            2 when HasAvx => new(XsaveUpperBytes, legacy, 0, 0),
            _ => default,
        };
    }

    /// <summary>What CPUID shows of the state of the CPU itself: OSXSAVE mirrors CR4, and leaf 0DH tells the
    /// size of the area for the components that XCR0 enables.</summary>
    internal CpuidResult WithState(uint leaf, uint subleaf, CpuidResult result, ulong cr4, ulong xcr0)
    {
        if (leaf == 1 && HasXsave)
        {
            return result with { Ecx = result.Ecx | ((cr4 & ControlBits.Cr4Osxsave) != 0 ? OsXsave : 0) };
        }

        return leaf == 0xD && subleaf <= 1 && (xcr0 & XcrAvx) != 0
            ? result with { Ebx = result.Ebx + XsaveUpperBytes } : result;
    }
}
