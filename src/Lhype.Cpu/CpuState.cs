// The architectural state of one vCPU and the engine's hot data, in one native struct with explicit layout.
// Emitted code reaches every field through r15 + offset; C# reads the same fields by name. The Offset
// constants are used both by the FieldOffset attributes and by the emitter, so the two can never disagree.
//
// While guest code runs, general registers, arithmetic flags and x87/MMX/SSE state live in host registers;
// the exit stub writes registers and arithmetic flags here before any C# sees the state (x87/MMX stays in the
// host CPU, see FpuState). Offsets are bytes.

using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Lhype.Cpu;

/// <summary>Segment register numbers as encoded in instructions, followed by LDTR and TR.</summary>
public enum SegmentRegister
{
    Es, Cs, Ss, Ds, Fs, Gs, Ldtr, Tr,
}

/// <summary>A segment register with its hidden part, the descriptor cache (SDM vol. 3, 3.4.3).</summary>
[StructLayout(LayoutKind.Explicit, Size = 32)]
public struct SegmentCache
{
    /// <summary>Linear base address.</summary>
    [FieldOffset(0)] public ulong Base;
    /// <summary>Limit in bytes, already scaled by the granularity bit; the highest valid offset
    /// (expand-up).</summary>
    [FieldOffset(8)] public uint Limit;
    /// <summary>Descriptor bits 40-55 in place 0-15: type 0-3, S 4, DPL 5-6, P 7, AVL 12, L 13, D/B 14, G 15.
    /// <see cref="UnusableBit"/> marks a register loaded with a null selector.</summary>
    [FieldOffset(12)] public uint Attributes;
    /// <summary>The visible selector.</summary>
    [FieldOffset(16)] public ushort Selector;

    /// <summary>Set in <see cref="Attributes"/> when the register holds a null selector: any access
    /// faults.</summary>
    public const uint UnusableBit = 1 << 16;
    /// <summary>D/B bit in <see cref="Attributes"/>: 32-bit code or stack, or 4 GiB expand-down
    /// bound.</summary>
    public const uint BigBit = 1 << 14;
    /// <summary>L bit in <see cref="Attributes"/>: 64-bit code.</summary>
    public const uint LongBit = 1 << 13;

    /// <summary>Descriptor privilege level.</summary>
    public readonly uint Dpl => (Attributes >> 5) & 3;
    /// <summary>Type field, 4 bits (SDM vol. 3, tables 3-1 and 3-2).</summary>
    public readonly uint Type => Attributes & 15;
    /// <summary>True after a null selector was loaded.</summary>
    public readonly bool Unusable => (Attributes & UnusableBit) != 0;
}

/// <summary>One entry of the data TLB: a hit adds <see cref="Addend"/> to the linear address.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
public struct TlbEntry
{
    /// <summary>Linear page address; all ones when invalid.</summary>
    [FieldOffset(0)] public ulong Tag;
    /// <summary>Host address minus linear address.</summary>
    [FieldOffset(8)] public ulong Addend;
}

/// <summary>One entry of the code TLB: linear page and mode to the table of translated entry
/// points.</summary>
[StructLayout(LayoutKind.Explicit, Size = 32)]
public struct CodeTlbEntry
{
    /// <summary>Linear page address | mode key; all ones when invalid.</summary>
    [FieldOffset(0)] public ulong Tag;
    /// <summary>Host address of the page's 4096 four-byte code offsets.</summary>
    [FieldOffset(8)] public ulong Table;
    /// <summary>Identifies the pair (tag, page of code): equal stamps mean the same code is mapped
    /// here.</summary>
    [FieldOffset(16)] public uint Stamp;
    /// <summary>Non-zero if the translation is global (survives a CR3 load).</summary>
    [FieldOffset(20)] public uint Global;
}

/// <summary>One entry of the jump cache, see <c>JumpCache</c>.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
public struct JumpEntry
{
    /// <summary>Host address to jump to; never 0.</summary>
    [FieldOffset(0)] public ulong Host;
    /// <summary>Minus the linear address the entry is for.</summary>
    [FieldOffset(8)] public ulong NegatedLinear;
}

/// <summary>State of one vCPU. Allocated by the engine in native memory, 4096-byte aligned, zeroed.</summary>
[StructLayout(LayoutKind.Explicit, Size = SizeBytes)]
public unsafe struct CpuState
{
    /// <summary>Byte offsets of the fields, for the emitter.</summary>
    public static class Offset
    {
        internal const int Gpr = 0x000;
        internal const int Rip = 0x080;
        internal const int ArithFlags = 0x088;
        internal const int InterruptFlag = 0x08C;
        internal const int DirectionStep = 0x090;
        internal const int SystemFlags = 0x098;
        internal const int Cpl = 0x09C;
        internal const int Segments = 0x0A0;
        internal const int Cr0 = 0x1A0;
        internal const int Cr2 = 0x1A8;
        internal const int Cr3 = 0x1B0;
        internal const int Cr4 = 0x1B8;
        internal const int Cr8 = 0x1C0;
        internal const int Efer = 0x1C8;
        internal const int GdtBase = 0x1D0;
        internal const int IdtBase = 0x1D8;
        internal const int GdtLimit = 0x1E0;
        internal const int IdtLimit = 0x1E4;
        internal const int Dr = 0x1E8;
        internal const int SysenterCs = 0x228;
        internal const int SysenterEsp = 0x230;
        internal const int SysenterEip = 0x238;
        internal const int Star = 0x240;
        internal const int Lstar = 0x248;
        internal const int Cstar = 0x250;
        internal const int Fmask = 0x258;
        internal const int KernelGsBase = 0x260;
        internal const int Pat = 0x268;
        internal const int TscAux = 0x270;
        internal const int TscOffset = 0x278;
        internal const int Pdpte = 0x280;
        internal const int MiscEnable = 0x2A0;
        internal const int FaultVector = 0x2C0;
        internal const int FaultError = 0x2C4;
        internal const int FaultAddress = 0x2C8;
        internal const int InterruptShadow = 0x2D0;
        internal const int Halted = 0x2D4;
        internal const int EventPending = 0x2D8;
        internal const int ModeKey = 0x2DC;
        internal const int ExitReason = 0x2E0;
        internal const int ExitSite = 0x2E4;
        internal const int ExitHostPc = 0x2E8;
        internal const int Counter = 0x2F0;
        internal const int Activity = 0x2F4;
        internal const int CodePageBase = 0x2F8;
        internal const int HostRsp = 0x300;
        internal const int Handle = 0x308;
        internal const int Mxcsr = 0x310;
        internal const int HostMxcsr = 0x314;
        internal const int HostTrap = 0x318;
        internal const int HostError = 0x31C;
        internal const int HostFaultAddress = 0x320;
        internal const int Temp0 = 0x328;
        internal const int Temp1 = 0x330;
        internal const int CodeBase = 0x338;
        internal const int BounceActive = 0x340;
        internal const int BounceInfo = 0x344;
        internal const int BounceLinear = 0x348;
        internal const int NativeCount = 0x350;
        internal const int BudgetStart = 0x358;
        internal const int InterruptWaiting = 0x35C;
        internal const int ScratchGpr = 0x360;
        internal const int UserModeBits = 0x3A0;
        internal const int SupervisorModeBits = 0x3A4;
        internal const int WindowActive = 0x3A8;
        internal const int WalkKind = 0x3AC;
        internal const int GlobalBit = 0x3B0;
        internal const int UserPolls = 0x3B4;
        internal const int RamBase = 0x3B8;
        internal const int RamEnd = 0x3C0;
        internal const int PageFlags = 0x3C8;
        internal const int LocalLog = 0x3D0;
        internal const int GlobalLog = 0x3D8;
        internal const int TlbFlushes = 0x3E0;
        internal const int TlbWalks = 0x3E8;
        internal const int SystemThunks = 0x3F0;
        internal const int WindowBase = 0x3F8;
        /// <summary>Bytes before the vector registers: what a profile copies.</summary>
        internal const int Head = Xmm;
        internal const int Xmm = 0x400;
        internal const int LargeRegions = 0x500;
        internal const int JumpMiss = 0x600;
        internal const int CodePages = 0x608;
        internal const int ReturnStack = 0x610;
        internal const int ReturnTop = 0x618;
        internal const int ThunkReturn = 0x620;
        internal const int ThunkFlags = 0x628;
        internal const int LinearMapDelta = 0x630;
        internal const int LinearMapLimit = 0x638;
        internal const int StackTag = 0x640;
        internal const int StackDelta = 0x648;
        internal const int HostFaultGpr = 0x650;
        internal const int HostFaultTemp = 0x668;
        internal const int StackInfo = 0x670;
        internal const int Xcr0 = 0x8D0;
        internal const int UpperInUse = 0x8D8;
        internal const int UpperMask = 0x8E0;
        internal const int Upper = 0x900;
        internal const int Bounce = 0xA00;
        internal const int Descriptors = 0x1000;
        internal const int Tlb = 0x2000;
        internal const int CodeTlb = Tlb + (4 * TlbEntries * 16);
        internal const int JumpCache = CodeTlb + (CodeTlbEntries * 32);
        internal const int StoreBarriers = JumpCache + (JumpTables * JumpTableEntries * 16);
        /// <summary>At the end of the last page.</summary>
        internal const int Regions = StoreBarriers + (1 << 20) + 4096 - (RegionCount * 8);
    }

    /// <summary>Entries of each of the four data TLBs (user/supervisor x read/write); a power of
    /// two.</summary>
    public const int TlbEntries = 2048;
    /// <summary>Entries of the code TLB; a power of two.</summary>
    public const int CodeTlbEntries = 2048;
    /// <summary>Tables of the jump cache, one for each mode in use.</summary>
    public const int JumpTables = 16;
    /// <summary>Entries of each table, found by the low bits of the linear address; a power of
    /// two.</summary>
    public const int JumpTableEntries = 8192;
    /// <summary>log2 of the bytes of linear addresses for each entry of <see cref="Regions"/>.</summary>
    internal const int RegionShift = 40;
    /// <summary>Entries of <see cref="Regions"/>: 47 bits of user addresses.</summary>
    internal const int RegionCount = 128;
    /// <summary>Size of the whole struct, a multiple of 4096.</summary>
    public const int SizeBytes = Offset.Regions + (RegionCount * 8);
    /// <summary>What must not be accessible behind the struct: emitted code looks into <see cref="Regions"/>
    /// with any 24-bit index.</summary>
    internal const ulong RegionGuardBytes = 1UL << (64 - RegionShift + 3);
    /// <summary>Bytes available for a bounced memory operand (fxsave is the largest, plus alignment
    /// slack).</summary>
    public const int BounceBytes = 1024;

    /// <summary>Guest RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8-R15. Upper halves are 0 outside long
    /// mode.</summary>
    [FieldOffset(Offset.Gpr)] public fixed ulong Gpr[16];
    /// <summary>EIP/RIP: the offset in CS of the current instruction.</summary>
    [FieldOffset(Offset.Rip)] public ulong Rip;
    /// <summary>OF, SF, ZF, AF, PF and CF in their EFLAGS places; other bits are garbage to be
    /// masked.</summary>
    [FieldOffset(Offset.ArithFlags)] public uint ArithFlags;
    /// <summary>EFLAGS.IF in its place: 0 or 0x200.</summary>
    [FieldOffset(Offset.InterruptFlag)] public uint InterruptFlag;
    /// <summary>EFLAGS.DF as a step: +1 (clear) or -1 (set).</summary>
    [FieldOffset(Offset.DirectionStep)] public long DirectionStep;
    /// <summary>TF, IOPL, NT, RF, VM, AC, VIF, VIP and ID in their EFLAGS places.</summary>
    [FieldOffset(Offset.SystemFlags)] public uint SystemFlags;
    /// <summary>Current privilege level, 0-3 (3 in virtual-8086 mode, 0 in real mode).</summary>
    [FieldOffset(Offset.Cpl)] public uint Cpl;
    [FieldOffset(Offset.Segments)] private SegmentCache _firstSegment;
    /// <summary>CR0.</summary>
    [FieldOffset(Offset.Cr0)] public ulong Cr0;
    /// <summary>CR2: linear address of the last delivered page fault.</summary>
    [FieldOffset(Offset.Cr2)] public ulong Cr2;
    /// <summary>CR3.</summary>
    [FieldOffset(Offset.Cr3)] public ulong Cr3;
    /// <summary>CR4.</summary>
    [FieldOffset(Offset.Cr4)] public ulong Cr4;
    /// <summary>CR8 (task priority; long mode only).</summary>
    [FieldOffset(Offset.Cr8)] public ulong Cr8;
    /// <summary>IA32_EFER.</summary>
    [FieldOffset(Offset.Efer)] public ulong Efer;
    /// <summary>GDTR base.</summary>
    [FieldOffset(Offset.GdtBase)] public ulong GdtBase;
    /// <summary>IDTR base.</summary>
    [FieldOffset(Offset.IdtBase)] public ulong IdtBase;
    /// <summary>GDTR limit.</summary>
    [FieldOffset(Offset.GdtLimit)] public uint GdtLimit;
    /// <summary>IDTR limit.</summary>
    [FieldOffset(Offset.IdtLimit)] public uint IdtLimit;
    /// <summary>DR0-DR7 (4 and 5 unused).</summary>
    [FieldOffset(Offset.Dr)] public fixed ulong Dr[8];
    /// <summary>IA32_SYSENTER_CS.</summary>
    [FieldOffset(Offset.SysenterCs)] public ulong SysenterCs;
    /// <summary>IA32_SYSENTER_ESP.</summary>
    [FieldOffset(Offset.SysenterEsp)] public ulong SysenterEsp;
    /// <summary>IA32_SYSENTER_EIP.</summary>
    [FieldOffset(Offset.SysenterEip)] public ulong SysenterEip;
    /// <summary>IA32_STAR.</summary>
    [FieldOffset(Offset.Star)] public ulong Star;
    /// <summary>IA32_LSTAR.</summary>
    [FieldOffset(Offset.Lstar)] public ulong Lstar;
    /// <summary>IA32_CSTAR.</summary>
    [FieldOffset(Offset.Cstar)] public ulong Cstar;
    /// <summary>IA32_FMASK.</summary>
    [FieldOffset(Offset.Fmask)] public ulong Fmask;
    /// <summary>IA32_KERNEL_GS_BASE.</summary>
    [FieldOffset(Offset.KernelGsBase)] public ulong KernelGsBase;
    /// <summary>IA32_PAT.</summary>
    [FieldOffset(Offset.Pat)] public ulong Pat;
    /// <summary>IA32_TSC_AUX.</summary>
    [FieldOffset(Offset.TscAux)] public ulong TscAux;
    /// <summary>Guest TSC = host TSC + this.</summary>
    [FieldOffset(Offset.TscOffset)] public ulong TscOffset;
    /// <summary>The four PDPTEs loaded with CR3 in PAE mode (SDM vol. 3, 4.4.1).</summary>
    [FieldOffset(Offset.Pdpte)] public fixed ulong Pdpte[4];
    /// <summary>IA32_MISC_ENABLE.</summary>
    [FieldOffset(Offset.MiscEnable)] public ulong MiscEnable;
    /// <summary>Vector of the fault the last failed operation raised (see <see cref="Fault"/>).</summary>
    [FieldOffset(Offset.FaultVector)] public uint FaultVector;
    /// <summary>Its error code, if the vector has one.</summary>
    [FieldOffset(Offset.FaultError)] public uint FaultError;
    /// <summary>For #PF: the linear address that becomes CR2 on delivery.</summary>
    [FieldOffset(Offset.FaultAddress)] public ulong FaultAddress;
    /// <summary>Non-zero: interrupts wait for one more instruction (after STI, MOV SS, POP SS).</summary>
    [FieldOffset(Offset.InterruptShadow)] public uint InterruptShadow;
    /// <summary>Non-zero after HLT until an interrupt or reset.</summary>
    [FieldOffset(Offset.Halted)] public uint Halted;
    /// <summary>Written by any thread: non-zero asks the vCPU to look at its bus and inbox soon.</summary>
    [FieldOffset(Offset.EventPending)] public int EventPending;
    /// <summary>The translation mode; see <see cref="Cpu.ModeKey"/>.</summary>
    [FieldOffset(Offset.ModeKey)] public uint ModeKey;

    [FieldOffset(Offset.ExitReason)] internal uint ExitReason;
    [FieldOffset(Offset.ExitSite)] internal uint ExitSite;
    [FieldOffset(Offset.ExitHostPc)] internal ulong ExitHostPc;
    [FieldOffset(Offset.Counter)] internal int Counter;
    [FieldOffset(Offset.CodePageBase)] internal ulong CodePageBase;
    [FieldOffset(Offset.HostRsp)] internal ulong HostRsp;
    [FieldOffset(Offset.Handle)] internal nint Handle;
    /// <summary>Guest MXCSR, valid while C# runs.</summary>
    [FieldOffset(Offset.Mxcsr)] public uint Mxcsr;
    [FieldOffset(Offset.HostMxcsr)] internal uint HostMxcsr;
    [FieldOffset(Offset.HostTrap)] internal uint HostTrap;
    [FieldOffset(Offset.HostError)] internal uint HostError;
    [FieldOffset(Offset.HostFaultAddress)] internal ulong HostFaultAddress;
    [FieldOffset(Offset.Temp0)] internal ulong Temp0;
    [FieldOffset(Offset.Temp1)] internal ulong Temp1;
    [FieldOffset(Offset.CodeBase)] internal ulong CodeBase;
    [FieldOffset(Offset.BounceActive)] internal uint BounceActive;
    [FieldOffset(Offset.BounceInfo)] internal uint BounceInfo;
    [FieldOffset(Offset.BounceLinear)] internal ulong BounceLinear;
    /// <summary>Guest instructions run so far (exact at exits).</summary>
    [FieldOffset(Offset.NativeCount)] public ulong InstructionCount;
    [FieldOffset(Offset.BudgetStart)] internal int BudgetStart;
    /// <summary>Non-zero while the bus asserts INTR: STI and POPF then leave the block soon.</summary>
    [FieldOffset(Offset.InterruptWaiting)] internal uint InterruptWaiting;
    [FieldOffset(Offset.ScratchGpr)] internal fixed ulong ScratchGpr[8];
    /// <summary>Bits of <see cref="Cpu.ModeKey.Privilege"/> for code at CPL 3; emitted transitions between
    /// rings put them into <see cref="ModeKey"/>.</summary>
    [FieldOffset(Offset.UserModeBits)] internal uint UserModeBits;
    /// <summary>The same for CPL 0.</summary>
    [FieldOffset(Offset.SupervisorModeBits)] internal uint SupervisorModeBits;
    /// <summary>Non-zero while user code runs in the window (see <c>UserWindow</c>): MOV to CR3 and INVLPG
    /// must then go through C#.</summary>
    [FieldOffset(Offset.WindowActive)] internal uint WindowActive;
    /// <summary>Budgets of user instructions since the last flush (see <c>UserWindow</c>).</summary>
    [FieldOffset(Offset.UserPolls)] internal int UserPolls;
    /// <summary>How emitted code may walk the guest's page tables (see <see cref="Mmu.WalkKind"/>).</summary>
    [FieldOffset(Offset.WalkKind)] internal Mmu.WalkKind WalkKind;
    /// <summary>The G bit of paging entries if CR4.PGE is set, otherwise 0.</summary>
    [FieldOffset(Offset.GlobalBit)] internal uint GlobalBit;
    /// <summary>Host address of guest-physical address 0.</summary>
    [FieldOffset(Offset.RamBase)] internal ulong RamBase;
    /// <summary>End of RAM in guest-physical memory; holes below have PageFlag.Device.</summary>
    [FieldOffset(Offset.RamEnd)] internal ulong RamEnd;
    /// <summary>Host address of one byte for each RAM page (see <see cref="Mmu.PageFlag"/>).</summary>
    [FieldOffset(Offset.PageFlags)] internal ulong PageFlags;
    /// <summary>Host address of the log of non-global TLB entries (see Mmu.TlbLog).</summary>
    [FieldOffset(Offset.LocalLog)] internal ulong LocalLog;
    /// <summary>Host address of the log of global TLB entries.</summary>
    [FieldOffset(Offset.GlobalLog)] internal ulong GlobalLog;
    /// <summary>TLB flushes, complete or non-global.</summary>
    [FieldOffset(Offset.TlbFlushes)] internal ulong TlbFlushes;
    /// <summary>TLB misses that emitted code handled.</summary>
    [FieldOffset(Offset.TlbWalks)] internal ulong TlbWalks;
    /// <summary>System instructions that emitted code executed.</summary>
    [FieldOffset(Offset.SystemThunks)] internal ulong SystemThunks;
    /// <summary>One bit for each 2 MiB of linear memory that holds pieces of large pages.</summary>
    [FieldOffset(Offset.LargeRegions)] internal fixed ulong LargeRegions[2048 / 64];
    /// <summary>Host address of linear address 0 in the user window, 4 GiB aligned.</summary>
    [FieldOffset(Offset.WindowBase)] internal ulong WindowBase;
    /// <summary>What the vCPU's thread does (<see cref="Cpu.Activity"/>), for profiles.</summary>
    [FieldOffset(Offset.Activity)] internal int Activity;
    /// <summary>What empty entries of the jump cache lead to.</summary>
    [FieldOffset(Offset.JumpMiss)] internal ulong JumpMiss;
    /// <summary>Host address of one bit for each linear page that has run code since the last complete
    /// flush: there may be jump cache entries and return addresses for it.</summary>
    [FieldOffset(Offset.CodePages)] internal ulong CodePages;
    /// <summary>Host stack pointer of emitted code, while C# runs: return addresses of translated calls (see
    /// Translator.LowerCall).</summary>
    [FieldOffset(Offset.ReturnStack)] internal ulong ReturnStack;
    /// <summary>The same when no call is open.</summary>
    [FieldOffset(Offset.ReturnTop)] internal ulong ReturnTop;
    /// <summary>In the kernel's map of memory, host address = linear address + this (see
    /// Mmu.LinearMap).</summary>
    [FieldOffset(Offset.LinearMapDelta)] internal ulong LinearMapDelta;
    /// <summary>Bytes of the map in which a load may begin; 0: there is none.</summary>
    [FieldOffset(Offset.LinearMapLimit)] internal uint LinearMapLimit;
    /// <summary>The page that the stack of a 64-bit kernel was in last, or NoStack; behind it the host
    /// address minus the linear one (see Translator/StackGroups.cs).</summary>
    [FieldOffset(Offset.StackTag)] internal ulong StackTag;
    [FieldOffset(Offset.StackDelta)] internal ulong StackDelta;
    /// <summary>Host r8, r9 and r10 at a host fault.</summary>
    [FieldOffset(Offset.HostFaultGpr)] internal fixed ulong HostFaultGpr[3];
    /// <summary>XMM0-XMM15, 16 bytes each, valid while C# runs.</summary>
    [FieldOffset(Offset.Xmm)] public fixed byte Xmm[16 * 16];
    /// <summary>XCR0; 1 (x87) after RESET and for models without XSAVE.</summary>
    [FieldOffset(Offset.Xcr0)] public ulong Xcr0;
    /// <summary>Non-zero if <see cref="Upper"/> is valid; otherwise the upper halves of YMM0-YMM15 are 0.
    /// Valid while C# runs, like <see cref="Xmm"/>; guests reach upper halves with AVX only.</summary>
    [FieldOffset(Offset.UpperInUse)] internal uint UpperInUse;
    /// <summary>Selects the upper half of a YMM register: 16 bytes of 0, 16 of FF.</summary>
    [FieldOffset(Offset.UpperMask)] internal fixed ulong UpperMask[4];
    /// <summary>Bits 255-128 of YMM0-YMM15, 16 bytes each.</summary>
    [FieldOffset(Offset.Upper)] internal fixed ulong Upper[16 * 2];
    [FieldOffset(Offset.Bounce)] internal fixed byte Bounce[BounceBytes];
    [FieldOffset(Offset.Tlb)] private TlbEntry _firstTlbEntry;
    /// <summary>For each TiB of user addresses, host minus linear address in the window (see
    /// <c>UserWindow</c>).</summary>
    [FieldOffset(Offset.Regions)] internal fixed ulong Regions[RegionCount];
    [FieldOffset(Offset.CodeTlb)] private CodeTlbEntry _firstCodeTlbEntry;

    /// <summary>The segment register <paramref name="register"/> with its descriptor cache.</summary>
    [UnscopedRef]
    public ref SegmentCache Segment(SegmentRegister register) =>
        ref Unsafe.Add(ref _firstSegment, (int)register);

    /// <summary>The base of one of the four data TLBs.</summary>
    internal static TlbEntry* DataTlb(CpuState* state, bool user, bool write) =>
        (TlbEntry*)((byte*)state + DataTlbOffset(user, write));

    /// <summary>Byte offset of one of the four data TLBs.</summary>
    internal static int DataTlbOffset(bool user, bool write) =>
        Offset.Tlb + (((user ? 2 : 0) + (write ? 1 : 0)) * TlbEntries * 16);

    /// <summary>The index of the code TLB entry for the page of <paramref name="linear"/> in
    /// <paramref name="mode"/>.</summary>
    internal static int CodeSlot(ulong linear, uint mode) =>
        (int)(((linear >> 12) ^ ((mode & Lhype.Cpu.ModeKey.Slot) << CodeSlotShift)) & (CodeTlbEntries - 1));

    /// <summary>Moves the bits of ModeKey.Slot to the top of the index: code that runs in two modes has its
    /// neighbours close by, and they must not take each other's slots.</summary>
    internal const int CodeSlotShift = 4;

    /// <summary>The code TLB.</summary>
    internal static CodeTlbEntry* CodeTlb(CpuState* state) =>
        (CodeTlbEntry*)((byte*)state + Offset.CodeTlb);

    /// <summary>The whole EFLAGS register, assembled from its parts; bit 1 reads as 1.</summary>
    public uint Eflags
    {
        readonly get => (ArithFlags & EflagsBits.Arithmetic) | InterruptFlag | SystemFlags | 2
            | (DirectionStep < 0 ? EflagsBits.Direction : 0);
        set
        {
            ArithFlags = value & EflagsBits.Arithmetic;
            InterruptFlag = value & EflagsBits.Interrupt;
            DirectionStep = (value & EflagsBits.Direction) != 0 ? -1 : 1;
            SystemFlags = value & EflagsBits.System;
        }
    }
}

/// <summary>EFLAGS bit masks (SDM vol. 1, 3.4.3).</summary>
public static class EflagsBits
{
    /// <summary>CF.</summary>
    public const uint Carry = 1;
    /// <summary>PF.</summary>
    public const uint Parity = 4;
    /// <summary>AF.</summary>
    public const uint Adjust = 0x10;
    /// <summary>ZF.</summary>
    public const uint Zero = 0x40;
    /// <summary>SF.</summary>
    public const uint Sign = 0x80;
    /// <summary>TF.</summary>
    public const uint Trap = 0x100;
    /// <summary>IF.</summary>
    public const uint Interrupt = 0x200;
    /// <summary>DF.</summary>
    public const uint Direction = 0x400;
    /// <summary>OF.</summary>
    public const uint Overflow = 0x800;
    /// <summary>IOPL.</summary>
    public const uint Iopl = 0x3000;
    /// <summary>NT.</summary>
    public const uint NestedTask = 0x4000;
    /// <summary>RF.</summary>
    public const uint Resume = 0x1_0000;
    /// <summary>VM.</summary>
    public const uint Virtual8086 = 0x2_0000;
    /// <summary>AC.</summary>
    public const uint AlignmentCheck = 0x4_0000;
    /// <summary>VIF.</summary>
    public const uint VirtualInterrupt = 0x8_0000;
    /// <summary>VIP.</summary>
    public const uint VirtualInterruptPending = 0x10_0000;
    /// <summary>ID.</summary>
    public const uint Identification = 0x20_0000;
    /// <summary>CF, PF, AF, ZF, SF, OF.</summary>
    public const uint Arithmetic = Carry | Parity | Adjust | Zero | Sign | Overflow;
    /// <summary>The bits kept in <see cref="CpuState.SystemFlags"/>.</summary>
    public const uint System = Trap | Iopl | NestedTask | Resume | Virtual8086 | AlignmentCheck
        | VirtualInterrupt | VirtualInterruptPending | Identification;
}
