// The CPU models of --cpu: what CPUID shows, and with it what the translator accepts. A feature that is not
// shown raises #UD, so a guest never depends on something by accident, and moves between hosts that all have
// it.

using System;
using System.Collections.Generic;
using System.Linq;
using Iced.Intel;
using Lhype.Cpu.Mmu;
using Lhype.Host;

namespace Lhype.Cpu.Architecture;

/// <summary>The four registers CPUID returns.</summary>
public readonly record struct CpuidResult(uint Eax, uint Ebx, uint Ecx, uint Edx);

/// <summary>A named set of CPUID leaves.</summary>
public sealed partial class CpuModel
{
    // CPUID.1:EDX (SDM vol. 2, table 3-11).
    private const uint Fpu = 1 << 0, De = 1 << 2, Pse = 1 << 3, Tsc = 1 << 4, Msr = 1 << 5, Pae = 1 << 6;
    private const uint Cx8 = 1 << 8, Apic = 1 << 9, Sep = 1 << 11, Pge = 1 << 13, Cmov = 1 << 15;
    private const uint PatBit = 1 << 16;
    private const uint Pse36 = 1 << 17, Clfsh = 1 << 19, Mmx = 1 << 23, Fxsr = 1 << 24, Sse = 1 << 25;
    private const uint Sse2 = 1 << 26;
    // CPUID.1:ECX.
    private const uint Sse3 = 1 << 0, Ssse3 = 1 << 9, Cx16 = 1 << 13, Sse41 = 1 << 19, Sse42 = 1 << 20;
    private const uint Popcnt = 1 << 23, Deadline = 1 << 24;
    private const uint Rdrand = 1 << 30, HypervisorBit = 1u << 31;
    // CPUID.7:EBX and EDX. With the two about REP MOVS and STOS kernels and C libraries copy by one
    // instruction what would be a check for each of many.
    private const uint FdpOnErrorOnly = 1 << 6, EnhancedRepMove = 1 << 9, NoFcsFds = 1 << 13;
    private const uint FastShortRepMove = 1 << 4, ArchCapabilitiesBit = 1 << 29;
    // CPUID.80000001H.
    private const uint ExtendedSyscall = 1 << 11, ExtendedNx = 1 << 20, ExtendedRdtscp = 1 << 27;
    private const uint ExtendedLong = 1 << 29;
    private const uint ExtendedLahf = 1 << 0, ExtendedPrefetchw = 1 << 8;

    private readonly uint _maxLeaf;
    private readonly uint _edx1;
    private readonly uint _ecx1;
    private readonly uint _edxExtended;
    private readonly uint _ecxExtended;
    private readonly uint _ebx7;
    private readonly uint _ecx7;
    private readonly uint _eax7Sub1;

    private CpuModel(string name, string description, uint signature, uint maxLeaf, uint edx, uint ecx = 0,
        uint edxExtended = 0, uint ecxExtended = 0, uint ebx7 = 0, uint ecx7 = 0, uint eax7Sub1 = 0)
    {
        Name = name;
        Description = description;
        Signature = signature;
        _maxLeaf = maxLeaf;
        _edx1 = edx;
        _ecx1 = ecx & (HostCpu.Leaf1Ecx | ~(Sse3 | Ssse3 | Cx16 | Sse41 | Sse42 | Popcnt | Rdrand));
        _edxExtended = edxExtended;
        _ecxExtended = ecxExtended;
        _ebx7 = ebx7;
        _ecx7 = ecx7;
        _eax7Sub1 = eax7Sub1;
    }

    /// <summary>
    /// Frequency in Hz of the "crystal" of CPUID leaf 15H, which is also the input clock of the local APIC
    /// timer (1 GHz here): Linux derives the timer's period from it instead of calibrating.
    /// </summary>
    public const uint CrystalHz = 1_000_000_000;

    /// <summary>
    /// The default: an Intel family 6 CPU for today's 32-bit kernels. The signature is that of the in-order
    /// Atom of 2010, because kernels know that it does not speculate and use no mitigations on it (on Lhype
    /// the host kernel and the host CPU mitigate); stepping 10 avoids the errata work-around of the first
    /// steppings.
    /// </summary>
    public static CpuModel Base { get; } = new("base", "family 6 with long mode, SSE2, SSSE3, NX", 0x106CA,
        0x16,
        Fpu | De | Pse | Tsc | Msr | Pae | Cx8 | Apic | Sep | Pge | Cmov | PatBit | Pse36 | Clfsh | Mmx | Fxsr
            | Sse | Sse2,
        BaseEcx,
        ExtendedSyscall | ExtendedNx | ExtendedLong, ExtendedLahf | ExtendedPrefetchw);

    private const uint BaseEcx = Sse3 | Ssse3 | Cx16 | Popcnt | Deadline | Rdrand | HypervisorBit;

    /// <summary>All models, the default first.</summary>
    public static IReadOnlyList<CpuModel> All { get; } =
    [
        Base,
        new("v2", "base with SSE4.1 and SSE4.2: the level x86-64-v2", Base.Signature, Base._maxLeaf,
            Base._edx1,
            BaseEcx | Sse41 | Sse42, Base._edxExtended, Base._ecxExtended),
        MakeVersion3(),
        MakeHost(),
        new("486", "Intel486 DX2, no CPUID instruction", 0x435, 0, Fpu),
        new("pentium", "Pentium P54C", 0x52C, 1, Fpu | De | Pse | Tsc | Msr | Cx8 | Apic),
        new("pentium-mmx", "Pentium MMX", 0x543, 1, Fpu | De | Pse | Tsc | Msr | Cx8 | Apic | Mmx),
        new("pentium2", "Pentium II", 0x652, 2,
            Fpu | De | Pse | Tsc | Msr | Pae | Cx8 | Apic | Sep | Pge | Cmov | PatBit | Pse36 | Mmx | Fxsr),
        new("pentium3", "Pentium III", 0x68A, 2,
            Fpu | De | Pse | Tsc | Msr | Pae | Cx8 | Apic | Sep | Pge | Cmov | PatBit | Pse36 | Mmx | Fxsr
                | Sse),
    ];

    /// <summary>The name given to <c>--cpu</c>.</summary>
    public string Name { get; }

    /// <summary>A few words for the user.</summary>
    public string Description { get; }

    /// <summary>CPUID.1:EAX, and EDX after RESET: family, model, stepping.</summary>
    public uint Signature { get; }

    /// <summary>The CPUID instruction exists and EFLAGS.ID can be changed.</summary>
    public bool HasCpuid => _maxLeaf != 0;

    /// <summary>CR4 bits a guest may set; any other raises #GP.</summary>
    public ulong Cr4Mask
    {
        get
        {
            ulong mask = Has(Tsc) ? ControlBits.Cr4Tsd : 0;
            mask |= Has(De) ? ControlBits.Cr4De : 0;
            mask |= Has(Pse) ? ControlBits.Cr4Pse : 0;
            mask |= Has(Pae) ? ControlBits.Cr4Pae : 0;
            mask |= Has(Pge) ? ControlBits.Cr4Pge : 0;
            mask |= HasPerformanceCounters ? ControlBits.Cr4Pce : 0;
            mask |= Has(Fxsr) ? ControlBits.Cr4Osfxsr : 0;
            mask |= HasXsave ? ControlBits.Cr4Osxsave : 0;
            return mask | SystemCr4 | (Has(Sse) ? ControlBits.Cr4Osxmmexcpt : 0);
        }
    }

    /// <summary>CR4 exists at all.</summary>
    public bool HasCr4 => HasCpuid;

    /// <summary>IA32_EFER bits a guest may set; 0 means the register does not exist.</summary>
    public ulong EferMask => ((_edxExtended & ExtendedNx) != 0 ? ControlBits.EferNoExecute : 0)
        | (HasLongMode ? ControlBits.EferSyscall | ControlBits.EferLongEnable : 0);

    /// <summary>EFLAGS bits that exist. VIF and VIP belong to VME, which no model has.</summary>
    public uint EflagsMask => EflagsBits.Arithmetic | EflagsBits.Interrupt | EflagsBits.Direction
        | (EflagsBits.System & ~(EflagsBits.VirtualInterrupt | EflagsBits.VirtualInterruptPending
            | (HasCpuid ? 0 : EflagsBits.Identification)));

    /// <summary>RDMSR, WRMSR and the time-stamp counter's MSR exist.</summary>
    public bool HasMsr => Has(Msr);

    /// <summary>SYSENTER and its MSRs exist.</summary>
    public bool HasSysenter => Has(Sep);

    /// <summary>IA-32e mode, SYSCALL and their MSRs exist.</summary>
    public bool HasLongMode => (_edxExtended & ExtendedLong) != 0;

    /// <summary>RDTSCP and IA32_TSC_AUX exist.</summary>
    public bool HasRdtscp => (_edxExtended & ExtendedRdtscp) != 0;

    /// <summary>IA32_PAT exists.</summary>
    public bool HasPat => Has(PatBit);

    /// <summary>The local APIC is shown.</summary>
    public bool HasApic => Has(Apic);

    /// <summary>MXCSR bits that may be set (MXCSR_MASK of FXSAVE); DAZ came with SSE2.</summary>
    public uint MxcsrMask => Has(Sse2) ? 0xFFFFu : 0xFFBF;

    /// <summary>SSE registers exist and FXSAVE saves them.</summary>
    public bool HasSse => Has(Sse);

    /// <summary>IA32_ARCH_CAPABILITIES: RDCL_NO, SKIP_L1DFL, SSB_NO, MDS_NO, PSCHANGE_MC_NO, TAA_NO,
    /// SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, GDS_NO, RFDS_NO. False if the model lacks it.</summary>
    public bool TryGetArchCapabilities(out ulong value)
    {
        value = (1UL << 0) | (1 << 3) | (1 << 4) | (1 << 5) | (1 << 6) | (1 << 8) | (1 << 13) | (1 << 14)
            | (1 << 15) | (1 << 26) | (1 << 27);
        return _maxLeaf >= 7;
    }

    private bool HasPerformanceCounters => _maxLeaf >= 2 || Has(Mmx);

    private uint Family => (Signature >> 8) & 15;

    /// <summary>The model called <paramref name="name"/>. Throws LhypeException that lists the names, or
    /// says what the host's CPU lacks for it.</summary>
    public static CpuModel Find(string name)
    {
        CpuModel model = All.FirstOrDefault(model =>
            string.Equals(model.Name, name, StringComparison.OrdinalIgnoreCase))
            ?? throw new LhypeException(
                $"--cpu: there is no CPU model '{name}'; use one of "
                + $"{string.Join(", ", All.Select(model => model.Name))}.");
        return model.MissingOnHost is not { } missing ? model : throw new LhypeException(
            $"--cpu {model.Name}: this host's CPU or kernel has no {missing}; use another model, such as "
            + "'host'.");
    }

    /// <summary>True if the model has the instructions of <paramref name="feature"/>; all others raise #UD.
    /// Hint encodings (PAUSE, ENDBR, PREFETCHW) are accepted where the CPU they stand for runs them as
    /// NOP.</summary>
    public bool Accepts(CpuidFeature feature) => feature switch
    {
        CpuidFeature.INTEL8086 or CpuidFeature.INTEL186 or CpuidFeature.INTEL286 or CpuidFeature.INTEL386
            or CpuidFeature.INTEL486 => true,
        CpuidFeature.FPU or CpuidFeature.FPU287 or CpuidFeature.FPU387 => Has(Fpu),
        CpuidFeature.PAUSE => true,
        CpuidFeature.CPUID => HasCpuid,
        CpuidFeature.MULTIBYTENOP or CpuidFeature.CET_IBT => Family >= 6,
        CpuidFeature.TSC => Has(Tsc),
        CpuidFeature.MSR => Has(Msr),
        CpuidFeature.CX8 => Has(Cx8),
        CpuidFeature.SEP => Has(Sep),
        CpuidFeature.CMOV => Has(Cmov),
        CpuidFeature.RDPMC => HasPerformanceCounters,
        CpuidFeature.CLFSH => Has(Clfsh),
        CpuidFeature.MMX => Has(Mmx),
        CpuidFeature.FXSR => Has(Fxsr),
        CpuidFeature.SSE => Has(Sse),
        CpuidFeature.SSE2 => Has(Sse2),
        CpuidFeature.SSE3 => (_ecx1 & Sse3) != 0,
        CpuidFeature.SSSE3 => (_ecx1 & Ssse3) != 0,
        CpuidFeature.X64 or CpuidFeature.SYSCALL => HasLongMode,
        CpuidFeature.CMPXCHG16B => (_ecx1 & Cx16) != 0,
        CpuidFeature.RDTSCP => HasRdtscp,
        CpuidFeature.SSE4_1 => (_ecx1 & Sse41) != 0,
        CpuidFeature.SSE4_2 => (_ecx1 & Sse42) != 0,
        CpuidFeature.POPCNT => (_ecx1 & Popcnt) != 0,
        CpuidFeature.RDRAND => (_ecx1 & Rdrand) != 0,
        CpuidFeature.PREFETCHW => (_ecxExtended & ExtendedPrefetchw) != 0,
        _ => AcceptsVector(feature) || AcceptsSystem(feature),
    };

    /// <summary>What CPUID returns for EAX = <paramref name="leaf"/> and ECX = <paramref name="subleaf"/>.
    /// Leaves beyond the highest basic one return that one's values, as Intel CPUs do.</summary>
    public CpuidResult Query(uint leaf, uint subleaf, ulong tscHz)
    {
        if (leaf >> 28 == 4 && (_ecx1 & HypervisorBit) != 0)
        {
            return QueryHypervisor(leaf, tscHz);
        }

        if (leaf >= 0x8000_0000 && _edxExtended != 0 && leaf <= 0x8000_0008)
        {
            return QueryExtended(leaf);
        }

        return QueryBasic(Math.Min(leaf, _maxLeaf), subleaf, tscHz);
    }

    private bool Has(uint edx) => (_edx1 & edx) == edx;

    private CpuidResult QueryBasic(uint leaf, uint subleaf, ulong tscHz) => leaf switch
    {
        0 => new(_maxLeaf, 0x756E_6547, 0x6C65_746E, 0x4965_6E69),
        // One logical CPU with APIC ID 0; CLFLUSH lines of 64 bytes.
        1 => new(Signature, Has(Clfsh) ? 0x0001_0800u : 0, _ecx1 | SystemEcx1, _edx1),
        // One descriptor, 0xFF: "see leaf 4". Older CPUs list 16 KiB L1 caches and a 512 KiB L2.
        2 => _maxLeaf >= 4 ? new(0xFF01, 0, 0, 0) : new(0x0302_0101, 0, 0, 0x0C04_0843),
        4 => QueryCache(subleaf),
        // ARAT: the local APIC timer runs in every idle state.
        6 => new(4, 0, 0, 0),
        7 => subleaf switch
        {
            0 => new(_eax7Sub1 != 0 ? 1u : 0,
                FdpOnErrorOnly | EnhancedRepMove | NoFcsFds | _ebx7 | SystemEbx7, _ecx7 | SystemEcx7,
                FastShortRepMove | ArchCapabilitiesBit),
            1 => new(_eax7Sub1, 0, 0, 0),
            _ => default,
        },
        0xD => QueryXsave(subleaf),
        0x15 => QueryTscRatio(tscHz),
        0x16 => new((uint)(tscHz / 1_000_000), (uint)(tscHz / 1_000_000), 100, 0),
        _ => default,
    };

    /// <summary>L1 data, L1 instruction and L2 cache: 64-byte lines, 8 ways.</summary>
    private static CpuidResult QueryCache(uint subleaf) => subleaf switch
    {
        0 => new(0x121, (7u << 22) | 63, 63, 0),
        1 => new(0x122, (7u << 22) | 63, 63, 0),
        2 => new(0x143, (7u << 22) | 63, 2047, 0),
        _ => default,
    };

    /// <summary>
    /// TSC = crystal * EBX / EAX. Linux multiplies the crystal in kHz by EBX in 32 bits, so EBX must stay
    /// below 2^32 / 10^6; the fraction below that bound nearest to the true ratio is off by less than one in
    /// a million.
    /// </summary>
    private static CpuidResult QueryTscRatio(ulong tscHz)
    {
        const uint largest = 4294;
        uint bestNumerator = 1, bestDenominator = 1;
        double ratio = (double)tscHz / CrystalHz;
        double bestError = double.MaxValue;
        for (uint denominator = 1; denominator <= largest && ratio * denominator <= largest; denominator++)
        {
            uint numerator = (uint)((ratio * denominator) + 0.5);
            double error = Math.Abs(((double)numerator / denominator) - ratio);
            if (numerator is > 0 and <= largest && error < bestError)
            {
                (bestNumerator, bestDenominator, bestError) = (numerator, denominator, error);
            }
        }

        return new(bestDenominator, bestNumerator, CrystalHz, 0);
    }

    private CpuidResult QueryExtended(uint leaf) => leaf switch
    {
        0x8000_0000 => new(0x8000_0008, 0, 0, 0),
        0x8000_0001 => new(0, 0, _ecxExtended, _edxExtended | SystemExtendedEdx),
        0x8000_0002 => Text("Lhype virtual CP"),
        0x8000_0003 => Text("U"),
        0x8000_0004 => Text(""),
        // L2: 1 MiB, 8-way, 64-byte lines.
        0x8000_0006 => new(0, 0, (1024u << 16) | (6 << 12) | 64, 0),
        // The TSC runs at one rate in every state.
        0x8000_0007 => new(0, 0, 0, 1 << 8),
        0x8000_0008 => new(((HasLongMode ? 48u : 32) << 8) | PageWalk.PhysicalAddressBits, 0, 0, 0),
        _ => default,
    };

    /// <summary>
    /// The hypervisor leaves: KVM's signature, because stock kernels take the clock frequency from kvm-clock
    /// under it (features: clock source with old and new MSRs, stable flag, no I/O delay), and the TSC
    /// frequency leaf.
    /// </summary>
    private static CpuidResult QueryHypervisor(uint leaf, ulong tscHz) => leaf switch
    {
        0x4000_0000 => new(0x4000_0010, 0x4B4D_564B, 0x564B_4D56, 0x4D),
        0x4000_0001 => new((1 << 0) | (1 << 1) | (1 << 3) | (1 << 24), 0, 0, 0),
        0x4000_0010 => new((uint)(tscHz / 1000), CrystalHz / 1000, 0, 0),
        _ => default,
    };

    private static CpuidResult Text(string text)
    {
        Span<byte> bytes = stackalloc byte[16];
        bytes.Clear();
        _ = System.Text.Encoding.ASCII.GetBytes(text, bytes);
        return new(BitConverter.ToUInt32(bytes), BitConverter.ToUInt32(bytes[4..]),
            BitConverter.ToUInt32(bytes[8..]), BitConverter.ToUInt32(bytes[12..]));
    }
}
