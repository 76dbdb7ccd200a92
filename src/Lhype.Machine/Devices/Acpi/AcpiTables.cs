// The ACPI tables of the board: what Linux reads instead of asking firmware. Built once by MachineBuilder and
// copied to MemoryMap.FirmwareStart, which must be reserved in the memory map the kernel gets. Every number
// comes from MemoryMap, so tables and devices cannot disagree. Source: ACPI 6.4, chapter 5.

using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Text;
using Lhype.Host;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Devices.Acpi;

/// <summary>Builds RSDP, RSDT, XSDT, FADT, FACS, MADT and DSDT.</summary>
public static class AcpiTables
{
    /// <summary>Guest-physical address of the RSDP (for boot_params.acpi_rsdp_addr; scanning finds it
    /// too).</summary>
    public const ulong RsdpAddress = MemoryMap.FirmwareStart;

    private const int RsdpLength = 36;
    private const int HeaderLength = 36;
    private const int FacsLength = 64;
    private const int FadtLength = 244;

    // MPS INTI flags of MADT entries (ACPI 6.4, table 5.26).
    private const ushort FollowsBus = 0x0000;
    private const ushort LevelActiveHigh = 0x000D;
    private const ushort LevelActiveLow = 0x000F;

    /// <summary>Copies the tables for <paramref name="cpuCount"/> CPUs into guest memory.</summary>
    public static void Place(GuestMemory memory, int cpuCount)
    {
        bool placed = memory.TryWrite(RsdpAddress, Build(cpuCount));
        Invariant.Check(placed, "guest memory does not reach the firmware area");
    }

    /// <summary>The bytes to put at <see cref="RsdpAddress"/>.</summary>
    public static byte[] Build(int cpuCount)
    {
        byte[] dsdt = Table("DSDT", 2, BuildDsdtBody());
        byte[] madt = Table("APIC", 4, BuildMadtBody(cpuCount));

        int facsOffset = Align(RsdpLength, 64);
        int dsdtOffset = facsOffset + FacsLength;
        int madtOffset = Align(dsdtOffset + dsdt.Length, 16);
        int fadtOffset = Align(madtOffset + madt.Length, 16);
        int rsdtOffset = Align(fadtOffset + FadtLength, 16);
        uint fadtAddress = Address(fadtOffset);
        uint madtAddress = Address(madtOffset);
        byte[] fadt = Table("FACP", 4, BuildFadtBody(Address(facsOffset), Address(dsdtOffset)));
        byte[] rsdt = Table("RSDT", 1, Pointers(4, fadtAddress, madtAddress));
        int xsdtOffset = Align(rsdtOffset + rsdt.Length, 16);
        byte[] xsdt = Table("XSDT", 1, Pointers(8, fadtAddress, madtAddress));

        byte[] image = new byte[xsdtOffset + xsdt.Length];
        Invariant.Check(
            (ulong)image.Length <= MemoryMap.FirmwareEnd - MemoryMap.FirmwareStart, "ACPI tables too long");
        BuildRsdp(Address(rsdtOffset), Address(xsdtOffset)).CopyTo(image, 0);
        BuildFacs().CopyTo(image, facsOffset);
        dsdt.CopyTo(image, dsdtOffset);
        madt.CopyTo(image, madtOffset);
        fadt.CopyTo(image, fadtOffset);
        rsdt.CopyTo(image, rsdtOffset);
        xsdt.CopyTo(image, xsdtOffset);
        return image;
    }

    private static byte[] BuildRsdp(uint rsdt, uint xsdt)
    {
        byte[] rsdp = new byte[RsdpLength];
        Encoding.ASCII.GetBytes("RSD PTR ").CopyTo(rsdp, 0);
        Encoding.ASCII.GetBytes("LHYPE ").CopyTo(rsdp, 9);
        rsdp[15] = 2;
        Put32(rsdp, 16, rsdt);
        Put32(rsdp, 20, RsdpLength);
        Put32(rsdp, 24, xsdt);
        rsdp[8] = Checksum(rsdp.AsSpan(0, 20));
        rsdp[32] = Checksum(rsdp);
        return rsdp;
    }

    // The FACS holds the global lock, which nobody but the guest takes here.
    private static byte[] BuildFacs()
    {
        byte[] facs = new byte[FacsLength];
        Encoding.ASCII.GetBytes("FACS").CopyTo(facs, 0);
        Put32(facs, 4, FacsLength);
        facs[32] = 2;
        return facs;
    }

    // Offsets are those of the whole table (ACPI 6.4, table 5.9), less the header.
    private static byte[] BuildFadtBody(uint facs, uint dsdt)
    {
        const ushort Pm = MemoryMap.AcpiPmPort;
        byte[] body = new byte[FadtLength - HeaderLength];
        Span<byte> Field(int offset) => body.AsSpan(offset - HeaderLength);

        BinaryPrimitives.WriteUInt32LittleEndian(Field(36), facs);
        BinaryPrimitives.WriteUInt32LittleEndian(Field(40), dsdt);
        BinaryPrimitives.WriteUInt16LittleEndian(Field(46), MemoryMap.AcpiIrq);
        BinaryPrimitives.WriteUInt32LittleEndian(Field(56), Pm);
        BinaryPrimitives.WriteUInt32LittleEndian(Field(64), Pm + 4);
        BinaryPrimitives.WriteUInt32LittleEndian(Field(76), Pm + 8);
        Field(88)[0] = 4;
        Field(89)[0] = 2;
        Field(91)[0] = 4;
        // C2 and C3 latencies above the limits: these states do not exist.
        BinaryPrimitives.WriteUInt16LittleEndian(Field(96), 0x0FFF);
        BinaryPrimitives.WriteUInt16LittleEndian(Field(98), 0xFFFF);
        Field(108)[0] = Rtc146818.CenturyIndex;
        // ISA devices: yes (COM1). 8042: say no, so that nobody probes it. VGA: none.
        BinaryPrimitives.WriteUInt16LittleEndian(Field(109), (1 << 0) | (1 << 2));
        // WBINVD works, C1 by HLT, fixed power button, no sleep button, RTC does not wake, reset register.
        const uint Flags = (1 << 0) | (1 << 2) | (1 << 5) | (1 << 6) | (1 << 10);
        BinaryPrimitives.WriteUInt32LittleEndian(Field(112), Flags);
        PutPortAddress(Field(116), 8, 1, MemoryMap.ResetControlPort);
        Field(128)[0] = AcpiPm.ResetValue;
        BinaryPrimitives.WriteUInt64LittleEndian(Field(140), dsdt);
        PutPortAddress(Field(148), 32, 2, Pm);
        PutPortAddress(Field(172), 16, 2, Pm + 4);
        PutPortAddress(Field(208), 32, 4, Pm + 8);
        return body;
    }

    private static byte[] BuildMadtBody(int cpuCount)
    {
        List<byte> body = [];
        PutLittleEndian(body, MemoryMap.LocalApicBase, 4);
        // Bit 0: there are 8259s too, to be masked when the APICs are used.
        PutLittleEndian(body, 1, 4);
        for (int cpu = 0; cpu < cpuCount; cpu++)
        {
            body.AddRange([0, 8, (byte)cpu, (byte)cpu, 1, 0, 0, 0]);
        }

        body.AddRange([1, 12, 0, 0]);
        PutLittleEndian(body, MemoryMap.IoApicBase, 4);
        PutLittleEndian(body, 0, 4);
        PutOverride(body, MemoryMap.PitIrq, MemoryMap.PitGsi, FollowsBus);
        PutOverride(body, MemoryMap.AcpiIrq, MemoryMap.AcpiIrq, LevelActiveHigh);
        for (int slot = 0; slot < 3; slot++)
        {
            PutOverride(body, MemoryMap.PciIrq(slot), MemoryMap.PciIrq(slot), LevelActiveLow);
        }

        // NMI on LINT1 of every CPU.
        body.AddRange([4, 6, 0xFF, 0, 0, 1]);
        return [.. body];
    }

    private static byte[] BuildDsdtBody()
    {
        AmlWriter aml = new();
        aml.NamePackage("\\_S5", [AcpiPm.SleepTypeOff, AcpiPm.SleepTypeOff, 0, 0]);
        aml.Scope("\\_SB", scope =>
        {
            scope.Device("PCI0", DescribePci);
            scope.Device("RTC", device =>
            {
                device.NameEisaId("_HID", "PNP0B00");
                device.NameResources("_CRS",
                    new ResourceTemplate().Ports(MemoryMap.RtcPort, 2).Irq(MemoryMap.RtcIrq));
            });
            scope.Device("COM1", device =>
            {
                device.NameEisaId("_HID", "PNP0501");
                device.Name("_UID", 1);
                device.NameResources("_CRS",
                    new ResourceTemplate().Ports(MemoryMap.Com1Port, 8).Irq(MemoryMap.Com1Irq));
            });
        });
        return aml.ToArray();
    }

    private static void DescribePci(AmlWriter device)
    {
        device.NameEisaId("_HID", "PNP0A03");
        device.Name("_UID", 0);
        device.Name("_BBN", 0);
        device.NameResources("_CRS", new ResourceTemplate()
            .BusNumbers(0, 0)
            .Ports(MemoryMap.PciConfigPort, 8)
            .BridgePorts(0, MemoryMap.PciConfigPort - 1)
            .BridgePorts(MemoryMap.PciConfigPort + 8, ushort.MaxValue)
            .BridgeMemory((uint)MemoryMap.PciMmioStart, (uint)MemoryMap.PciMmioEnd - 1));

        // INTA# of every slot goes to a fixed interrupt: source zero means the index is the global interrupt.
        List<uint[]> routes = [];
        for (int slot = 1; slot < 32; slot++)
        {
            routes.Add([((uint)slot << 16) | 0xFFFF, 0, 0, (uint)MemoryMap.PciIrq(slot)]);
        }

        device.NamePackages("_PRT", routes);
    }

    private static byte[] Table(string signature, byte revision, byte[] body)
    {
        byte[] table = new byte[HeaderLength + body.Length];
        Encoding.ASCII.GetBytes(signature).CopyTo(table, 0);
        Put32(table, 4, (uint)table.Length);
        table[8] = revision;
        Encoding.ASCII.GetBytes("LHYPE LHYPE PC").CopyTo(table, 10);
        Put32(table, 24, 1);
        Encoding.ASCII.GetBytes("LHYP").CopyTo(table, 28);
        Put32(table, 32, 1);
        body.CopyTo(table, HeaderLength);
        table[9] = Checksum(table);
        return table;
    }

    private static byte[] Pointers(int size, params ReadOnlySpan<uint> addresses)
    {
        List<byte> bytes = [];
        foreach (uint address in addresses)
        {
            PutLittleEndian(bytes, address, size);
        }

        return [.. bytes];
    }

    private static void PutOverride(List<byte> body, int irq, int gsi, ushort flags)
    {
        body.AddRange([2, 10, 0, (byte)irq]);
        PutLittleEndian(body, (uint)gsi, 4);
        PutLittleEndian(body, flags, 2);
    }

    // A generic address structure in port space.
    private static void PutPortAddress(Span<byte> destination, byte bits, int accessBytes, ushort port)
    {
        destination[0] = 1;
        destination[1] = bits;
        destination[3] = (byte)(accessBytes == 4 ? 3 : accessBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[4..], port);
    }

    private static void PutLittleEndian(List<byte> bytes, ulong value, int count)
    {
        for (int i = 0; i < count; i++)
        {
            bytes.Add((byte)(value >> (8 * i)));
        }
    }

    private static void Put32(byte[] bytes, int offset, uint value) =>
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(offset), value);

    // What must be added so that all bytes sum to zero.
    private static byte Checksum(ReadOnlySpan<byte> bytes)
    {
        byte sum = 0;
        foreach (byte value in bytes)
        {
            sum += value;
        }

        return (byte)-sum;
    }

    private static int Align(int offset, int alignment) => (offset + alignment - 1) & -alignment;

    private static uint Address(int offset) => (uint)(RsdpAddress + (ulong)offset);
}
