// Bits of the control registers and of IA32_EFER, by their SDM names. Used by Architecture and by the
// page walk; kept in one place so that a reserved-bit check and a use can never disagree about a position.

namespace Lhype.Cpu;

/// <summary>Control-register bits (SDM vol. 3, 2.5 and 2.2.1).</summary>
public static class ControlBits
{
    /// <summary>CR0.PE: protected mode.</summary>
    public const ulong Cr0Protection = 1 << 0;
    /// <summary>CR0.MP: FWAIT obeys TS.</summary>
    public const ulong Cr0MonitorCoprocessor = 1 << 1;
    /// <summary>CR0.EM: no FPU, x87 instructions raise #NM.</summary>
    public const ulong Cr0Emulation = 1 << 2;
    /// <summary>CR0.TS: task switched, x87 and SSE instructions raise #NM.</summary>
    public const ulong Cr0TaskSwitched = 1 << 3;
    /// <summary>CR0.ET: hard-wired to 1 since the Pentium.</summary>
    public const ulong Cr0ExtensionType = 1 << 4;
    /// <summary>CR0.NE: x87 errors raise #MF.</summary>
    public const ulong Cr0NumericError = 1 << 5;
    /// <summary>CR0.WP: supervisor writes obey read-only pages.</summary>
    public const ulong Cr0WriteProtect = 1 << 16;
    /// <summary>CR0.AM: EFLAGS.AC is heeded.</summary>
    public const ulong Cr0AlignmentMask = 1 << 18;
    /// <summary>CR0.NW: not write-through.</summary>
    public const ulong Cr0NotWriteThrough = 1 << 29;
    /// <summary>CR0.CD: cache disable.</summary>
    public const ulong Cr0CacheDisable = 1 << 30;
    /// <summary>CR0.PG: paging.</summary>
    public const ulong Cr0Paging = 1UL << 31;

    /// <summary>CR4.VME.</summary>
    public const ulong Cr4Vme = 1 << 0;
    /// <summary>CR4.PVI.</summary>
    public const ulong Cr4Pvi = 1 << 1;
    /// <summary>CR4.TSD: RDTSC only at CPL 0.</summary>
    public const ulong Cr4Tsd = 1 << 2;
    /// <summary>CR4.DE: debugging extensions; DR4 and DR5 raise #UD.</summary>
    public const ulong Cr4De = 1 << 3;
    /// <summary>CR4.PSE: 4 MiB pages.</summary>
    public const ulong Cr4Pse = 1 << 4;
    /// <summary>CR4.PAE: 8-byte paging entries.</summary>
    public const ulong Cr4Pae = 1 << 5;
    /// <summary>CR4.MCE.</summary>
    public const ulong Cr4Mce = 1 << 6;
    /// <summary>CR4.PGE: global pages.</summary>
    public const ulong Cr4Pge = 1 << 7;
    /// <summary>CR4.PCE: RDPMC at any CPL.</summary>
    public const ulong Cr4Pce = 1 << 8;
    /// <summary>CR4.OSFXSR: SSE enabled, FXSAVE saves XMM.</summary>
    public const ulong Cr4Osfxsr = 1 << 9;
    /// <summary>CR4.OSXMMEXCPT: SIMD exceptions raise #XM.</summary>
    public const ulong Cr4Osxmmexcpt = 1 << 10;
    /// <summary>CR4.UMIP: SGDT, SIDT, SLDT, SMSW and STR only at CPL 0.</summary>
    public const ulong Cr4Umip = 1 << 11;
    /// <summary>CR4.FSGSBASE: RDFSBASE and its family are enabled.</summary>
    public const ulong Cr4Fsgsbase = 1 << 16;
    /// <summary>CR4.OSXSAVE: XSAVE, XGETBV and XSETBV are enabled, and AVX if XCR0 says so.</summary>
    public const ulong Cr4Osxsave = 1 << 18;
    /// <summary>CR4.PCIDE: bits 0-11 of CR3 name a process context, and bit 63 of a value loaded keeps its
    /// translations.</summary>
    public const ulong Cr4Pcide = 1 << 17;
    /// <summary>CR4.SMEP: no supervisor fetch from user pages.</summary>
    public const ulong Cr4Smep = 1 << 20;
    /// <summary>CR4.SMAP: no supervisor data access to user pages.</summary>
    public const ulong Cr4Smap = 1 << 21;

    /// <summary>IA32_EFER.SCE: SYSCALL enabled.</summary>
    public const ulong EferSyscall = 1 << 0;
    /// <summary>IA32_EFER.LME: long mode wanted.</summary>
    public const ulong EferLongEnable = 1 << 8;
    /// <summary>IA32_EFER.LMA: long mode active.</summary>
    public const ulong EferLongActive = 1 << 10;
    /// <summary>IA32_EFER.NXE: bit 63 of paging entries forbids execution.</summary>
    public const ulong EferNoExecute = 1 << 11;
}
