// How a vCPU starts a kernel, as plain data: the machine builder copies it into the engine's CPU state, so
// that boot code needs no pointer into it. Made by BootLoader.

namespace Lhype.Machine.Boot;

/// <summary>A segment register with its descriptor: <paramref name="Attributes"/> are descriptor bits 40-55
/// (SDM vol. 3, figure 3-8), <paramref name="Limit"/> is in bytes.</summary>
public readonly record struct BootSegment(ushort Selector, uint Base, uint Limit, uint Attributes)
{
    /// <summary>The flat 32-bit code segment of both boot protocols: 4 GiB, execute/read, accessed, ring
    /// 0.</summary>
    public static BootSegment FlatCode { get; } = new(0x10, 0, uint.MaxValue, 0xC09B);

    /// <summary>The 64-bit code segment of the Linux 64-bit boot protocol: L instead of D.</summary>
    public static BootSegment LongCode { get; } = new(0x10, 0, uint.MaxValue, 0xA09B);

    /// <summary>The flat 32-bit data segment: 4 GiB, read/write, accessed, ring 0.</summary>
    public static BootSegment FlatData { get; } = new(0x18, 0, uint.MaxValue, 0xC093);
}

/// <summary>Registers at the kernel's first instruction. Everything not named here is as after RESET, with
/// general registers zero, interrupts off (EFLAGS = 2) and an IDT of limit 0.</summary>
public sealed record BootState
{
    /// <summary>First instruction, an offset in <see cref="Code"/>: EIP, or RIP, whose upper half is 0
    /// because kernels are placed below 4 GiB.</summary>
    public required uint Eip { get; init; }

    /// <summary>Stack pointer; the protocols leave it open, kernels set their own.</summary>
    public uint Esp { get; init; } = BootLayout.StackTop;

    /// <summary>EAX: the multiboot magic number, else 0.</summary>
    public uint Eax { get; init; }

    /// <summary>EBX: the multiboot information structure or the PVH start info, else 0.</summary>
    public uint Ebx { get; init; }

    /// <summary>ESI: the Linux zero page, else 0.</summary>
    public uint Esi { get; init; }

    /// <summary>CR0: protection on, ET as on every x86 since the 486; paging on for 64-bit starts
    /// only.</summary>
    public uint Cr0 { get; init; } = 0x11;

    /// <summary>CR3: the identity map of a 64-bit start.</summary>
    public uint Cr3 { get; init; }

    /// <summary>CR4: PAE for a 64-bit start.</summary>
    public uint Cr4 { get; init; }

    /// <summary>IA32_EFER: LME and LMA for a 64-bit start.</summary>
    public uint Efer { get; init; }

    /// <summary>CS.</summary>
    public BootSegment Code { get; init; } = BootSegment.FlatCode;

    /// <summary>DS, ES, FS, GS and SS.</summary>
    public BootSegment Data { get; init; } = BootSegment.FlatData;

    /// <summary>GDTR base: a table with both segments, already in guest memory.</summary>
    public uint GdtBase { get; init; } = BootLayout.Gdt;

    /// <summary>GDTR limit.</summary>
    public uint GdtLimit { get; init; } = BootLoader.GdtBytes - 1;
}
