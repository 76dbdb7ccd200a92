// The translation mode: every property of the CPU that emitted code bakes in. Two executions of the same
// bytes share a translation only if their keys are equal. Twelve bits, because the code TLB keeps the key in
// the low bits of its tags, beside the linear page address. Recomputed by Vcpu.StateChanged after anything
// that may alter it.

namespace Lhype.Cpu;

/// <summary>Bits of the translation mode.</summary>
public static class ModeKey
{
    /// <summary>CPL is 3: memory accesses use the user TLBs and privileged instructions trap.</summary>
    public const uint User = 1 << 0;
    /// <summary>CPL is not 0, or IOPL/VM rules make CLI, STI, PUSHF and POPF more than a flag
    /// update.</summary>
    public const uint TrapFlags = 1 << 1;
    /// <summary>CS.D is set: 32-bit default operand and address size.</summary>
    public const uint Code32 = 1 << 2;
    /// <summary>CS, DS, ES and SS are all flat: base 0, limit 4 GiB, usable, SS.B set, data segments
    /// writable, and the CPU is in protected mode. When clear, every memory access and control transfer goes
    /// through C#.</summary>
    public const uint Flat = 1 << 3;
    /// <summary>FS is usable, writable and spans 4 GiB (any base).</summary>
    public const uint FsOpen = 1 << 4;
    /// <summary>GS is usable, writable and spans 4 GiB (any base).</summary>
    public const uint GsOpen = 1 << 5;
    /// <summary>CR0.EM or CR0.TS: x87 and MMX instructions trap.</summary>
    public const uint TrapX87 = 1 << 6;
    /// <summary>CR0.EM or CR0.TS set, or CR4.OSFXSR clear: SSE instructions trap.</summary>
    public const uint TrapSse = 1 << 7;
    /// <summary>EFLAGS.TF, or code breakpoints in DR7: one instruction per block, no chaining.</summary>
    public const uint SingleStep = 1 << 8;
    /// <summary>64-bit code. <see cref="Code32"/> is set too, and <see cref="Flat"/> with both FS and GS open
    /// unless accesses are watched: 64-bit mode has no segment limits.</summary>
    public const uint Long = 1 << 9;
    /// <summary>With <see cref="User"/>: memory operands go through the user window instead of the TLBs (see
    /// Mmu.UserWindow).</summary>
    public const uint Window = 1 << 10;
    /// <summary>Without <see cref="User"/> the same bit: memory operands are looked for in the kernel's map
    /// of memory before the TLBs (see Mmu.LinearMap).</summary>
    public const uint LinearMap = Window;
    /// <summary>The same bit in 64-bit code without <see cref="User"/>, and never in the CPU's own mode: the
    /// translation that checks each stack access (see Translator/StackGroups.cs).</summary>
    public const uint Ungrouped = Window;
    /// <summary>16 or 32-bit code in compatibility mode: TLB entries have 64-bit tags, and gates and stacks
    /// of events are those of long mode.</summary>
    public const uint Compatibility = 1 << 11;
    /// <summary>EFER.LMA is set.</summary>
    public const uint LongMode = Long | Compatibility;
    /// <summary>The bits that depend on the privilege level alone. Code that changes rings in emitted code
    /// replaces them by CpuState.UserModeBits or SupervisorModeBits.</summary>
    public const uint Privilege = User | TrapFlags | Window;
    /// <summary>The bits in which modes that run the same page often differ (kernel entry code runs with
    /// the program's FS and with its own): they select the slot of the code TLB together with the
    /// page.</summary>
    public const uint Slot = FsOpen | GsOpen | TrapX87;
    /// <summary>True if memory operands go through the user window.</summary>
    public static bool HasWindow(uint mode) => (mode & (Window | User)) == (Window | User);

    /// <summary>True if memory operands are looked for in the kernel's map.</summary>
    public static bool HasLinearMap(uint mode) => (mode & (LinearMap | User | LongMode)) == LinearMap;

    /// <summary>The CPU's own mode for the mode of a translation.</summary>
    public static uint Grouped(uint mode) => (mode & (Long | User)) == Long ? mode & ~Ungrouped : mode;

    /// <summary>All bits in use.</summary>
    public const uint Mask = 0xFFF;
}
