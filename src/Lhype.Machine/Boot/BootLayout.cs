// Where the loader puts its own structures in the guest's low memory. All of it is free for the kernel once
// it has read the structures. Used by BootLoader and its parts.

namespace Lhype.Machine.Boot;

/// <summary>Guest-physical places below 64 KiB used while booting, in bytes.</summary>
internal static class BootLayout
{
    /// <summary>First address used by the loader.</summary>
    public const uint Start = 0x1000;

    /// <summary>The small descriptor table a kernel starts with.</summary>
    public const uint Gdt = 0x1000;

    /// <summary>boot_params, the Linux zero page (4 KiB), or the structure that multiboot and PVH have
    /// instead.</summary>
    public const uint ZeroPage = 0x2000;

    /// <summary>The random seed handed over as setup_data.</summary>
    public const uint SetupData = 0x3000;

    /// <summary>Top of the stack a kernel starts with, which grows down from here.</summary>
    public const uint StackTop = 0x5000;

    /// <summary>The command line, NUL-terminated.</summary>
    public const uint CommandLine = 0x6000;

    /// <summary>Room for the command line with its NUL.</summary>
    public const int CommandLineBytes = 0x4000;

    /// <summary>What one kind of start needs and no other: memory map, module list and names of multiboot and
    /// PVH, or the page tables of the 64-bit protocol.</summary>
    public const uint Tables = 0xA000;

    /// <summary>Room for these tables.</summary>
    public const int TableBytes = 0x6000;

    /// <summary>First address after the loader's structures.</summary>
    public const uint End = 0x1_0000;

    /// <summary>Start of the range that is never offered as RAM: video memory, option ROMs, BIOS and ACPI
    /// tables.</summary>
    public const uint ReservedStart = 0xA_0000;

    /// <summary>End of that range.</summary>
    public const uint ReservedEnd = 0x10_0000;
}
