// Every guest-physical address, port and interrupt number of the PC board, in one place. MachineBuilder gives
// these to the bus, AcpiTables tells the guest about them, chips use them for nothing but their own defaults.
// The numbers are those of the IBM PC/AT and of the Intel 440FX board, because that is what kernels without
// ACPI expect.

namespace Lhype.Machine;

/// <summary>Addresses, ports and interrupt lines of the board.</summary>
public static class MemoryMap
{
    /// <summary>Where firmware tables (ACPI) are put: the former BIOS ROM, RAM here and reserved in e820. The
    /// RSDP is found by scanning 0xE0000-0xFFFFF on 16-byte boundaries (ACPI 6.4, 5.2.5.1).</summary>
    public const ulong FirmwareStart = 0xE_0000;
    /// <summary>End (exclusive) of the firmware area.</summary>
    public const ulong FirmwareEnd = 0x10_0000;
    /// <summary>Start of the window PCI memory BARs are placed in.</summary>
    public const ulong PciMmioStart = 0xE000_0000;
    /// <summary>End (exclusive) of the PCI memory window.</summary>
    public const ulong PciMmioEnd = 0xFEC0_0000;
    /// <summary>Start of the ports PCI I/O BARs are placed in.</summary>
    public const ushort PciIoStart = 0xC000;
    /// <summary>IO-APIC registers.</summary>
    public const ulong IoApicBase = 0xFEC0_0000;
    /// <summary>Length of the IO-APIC window.</summary>
    public const ulong IoApicLength = 0x1000;
    /// <summary>Local APIC registers after reset (SDM vol. 3, 11.4.1).</summary>
    public const ulong LocalApicBase = 0xFEE0_0000;
    /// <summary>Length of the local APIC window.</summary>
    public const ulong LocalApicLength = 0x1000;

    /// <summary>Master 8259: command and data.</summary>
    public const ushort PicMasterPort = 0x20;
    /// <summary>Slave 8259: command and data.</summary>
    public const ushort PicSlavePort = 0xA0;
    /// <summary>Edge/level control registers of both 8259s, two ports.</summary>
    public const ushort ElcrPort = 0x4D0;
    /// <summary>8254: three counters and the control word, four ports.</summary>
    public const ushort PitPort = 0x40;
    /// <summary>System control port B: gate and output of 8254 counter 2.</summary>
    public const ushort SpeakerPort = 0x61;
    /// <summary>8042 data port; the command and status port is four higher.</summary>
    public const ushort KeyboardDataPort = 0x60;
    /// <summary>8042 command and status port.</summary>
    public const ushort KeyboardCommandPort = 0x64;
    /// <summary>System control port A: A20 and quick reset.</summary>
    public const ushort SystemControlPort = 0x92;
    /// <summary>RTC index; data is one higher.</summary>
    public const ushort RtcPort = 0x70;
    /// <summary>COM1, eight ports.</summary>
    public const ushort Com1Port = 0x3F8;
    /// <summary>Where --debug-exit listens.</summary>
    public const ushort DebugExitPort = 0xF4;
    /// <summary>ACPI PM1a event block (4 ports), control block (2) at +4, PM timer (4) at +8.</summary>
    public const ushort AcpiPmPort = 0x600;
    /// <summary>Number of ports from <see cref="AcpiPmPort"/>.</summary>
    public const int AcpiPmPortCount = 12;
    /// <summary>PCI configuration address; data at +4 (PCI 2.3, 3.2.2.3.2).</summary>
    public const ushort PciConfigPort = 0xCF8;
    /// <summary>Reset control register, a byte inside the PCI configuration address.</summary>
    public const ushort ResetControlPort = 0xCF9;

    /// <summary>PIT counter 0.</summary>
    public const int PitIrq = 0;
    /// <summary>8042 keyboard.</summary>
    public const int KeyboardIrq = 1;
    /// <summary>COM1.</summary>
    public const int Com1Irq = 4;
    /// <summary>RTC.</summary>
    public const int RtcIrq = 8;
    /// <summary>ACPI system control interrupt, level-triggered.</summary>
    public const int AcpiIrq = 9;
    /// <summary>Global system interrupt that IRQ 0 is wired to; input 0 of the IO-APIC is free.</summary>
    public const int PitGsi = 2;

    /// <summary>The interrupt line of INTA# in PCI slot <paramref name="slot"/>: 10, 11 or 5, fixed by the
    /// wiring, the same in PIC and in APIC mode.</summary>
    public static int PciIrq(int slot) => (slot % 3) switch
    {
        0 => 5,
        1 => 10,
        _ => 11,
    };
}
