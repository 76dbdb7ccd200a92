// The ACPI tables, found and walked as an operating system does it: scan for the RSDP, follow pointers, check
// sums.

using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Text;
using Lhype.Machine.Devices.Acpi;
using Xunit;

namespace Lhype.Tests.Machine.Devices;

public sealed class AcpiTablesTests
{
    private readonly byte[] _image = AcpiTables.Build(2);

    [Fact]
    public void RootPointerIsValid()
    {
        Assert.Equal("RSD PTR ", Encoding.ASCII.GetString(_image, 0, 8));
        Assert.Equal(0, Sum(0, 20));
        Assert.Equal(0, Sum(0, 36));
        Assert.Equal(0ul, AcpiTables.RsdpAddress & 15);
    }

    [Fact]
    public void BothRootTablesListTheSameTables()
    {
        Dictionary<string, int> tables = Tables();
        Assert.Equal(["APIC", "FACP"], [.. new SortedSet<string>(tables.Keys)]);
        int rsdt = Offset(16);
        Assert.Equal(0, Sum(rsdt, Length(rsdt)));
        Assert.Equal(tables["FACP"], Offset(rsdt + 36));
        Assert.Equal(tables["APIC"], Offset(rsdt + 40));
        foreach (int offset in tables.Values)
        {
            Assert.Equal(0, Sum(offset, Length(offset)));
        }
    }

    [Fact]
    public void FixedTableDescribesThePmBlock()
    {
        int fadt = Tables()["FACP"];
        Assert.Equal(244, Length(fadt));
        Assert.Equal(9, _image[fadt + 46]);
        Assert.Equal(0u, Word(fadt + 48));
        Assert.Equal(0x600u, Word(fadt + 56));
        Assert.Equal(0x604u, Word(fadt + 64));
        Assert.Equal(0x608u, Word(fadt + 76));
        Assert.Equal(0x32, _image[fadt + 108]);
        Assert.Equal(0, _image[fadt + 109] & 2);
        Assert.Equal(0xCF9u, Word(fadt + 120));
        Assert.Equal(6, _image[fadt + 128]);
        Assert.Equal(Word(fadt + 40), Word(fadt + 140));
        Assert.Equal(0x600u, Word(fadt + 152));
        int facs = Offset(fadt + 36);
        Assert.Equal("FACS", Encoding.ASCII.GetString(_image, facs, 4));
        Assert.Equal(0u, Word(fadt + 36) & 63);
    }

    [Fact]
    public void InterruptTableListsCpusAndOverrides()
    {
        int madt = Tables()["APIC"];
        Assert.Equal(0xFEE0_0000u, Word(madt + 36));
        Dictionary<int, (uint Gsi, int Flags)> overrides = [];
        int cpus = 0;
        int ioApics = 0;
        for (int at = madt + 44; at < madt + Length(madt); at += _image[at + 1])
        {
            switch (_image[at])
            {
                case 0:
                    Assert.Equal(cpus, _image[at + 3]);
                    cpus++;
                    break;
                case 1:
                    Assert.Equal(0xFEC0_0000u, Word(at + 4));
                    ioApics++;
                    break;
                case 2:
                    overrides[_image[at + 3]] = (Word(at + 4), _image[at + 8]);
                    break;
            }
        }

        Assert.Equal(2, cpus);
        Assert.Equal(1, ioApics);
        Assert.Equal((2u, 0), overrides[0]);
        Assert.Equal((9u, 0x0D), overrides[9]);
        Assert.Equal((5u, 0x0F), overrides[5]);
        Assert.Equal((10u, 0x0F), overrides[10]);
        Assert.Equal((11u, 0x0F), overrides[11]);
    }

    [Fact]
    public void DifferentiatedTableHoldsTheDevices()
    {
        int dsdt = Offset(Tables()["FACP"] + 40);
        Assert.Equal("DSDT", Encoding.ASCII.GetString(_image, dsdt, 4));
        Assert.Equal(0, Sum(dsdt, Length(dsdt)));
        string body = Encoding.Latin1.GetString(_image, dsdt, Length(dsdt));
        foreach (string name in new[] { "\\_S5_", "\\_SB_", "PCI0", "_PRT", "_CRS", "COM1", "RTC_" })
        {
            Assert.Contains(name, body, StringComparison.Ordinal);
        }

        // PNP0A03 as the ACPI specification's own example compresses it.
        Assert.Equal(0x030A_D041u, AmlWriter.EisaId("PNP0A03"));
        Assert.Contains("\u0041\u00D0\u000A\u0003", body, StringComparison.Ordinal);
    }

    private Dictionary<string, int> Tables()
    {
        int xsdt = Offset(24);
        Assert.Equal("XSDT", Encoding.ASCII.GetString(_image, xsdt, 4));
        Assert.Equal(0, Sum(xsdt, Length(xsdt)));
        Dictionary<string, int> tables = [];
        for (int at = xsdt + 36; at < xsdt + Length(xsdt); at += 8)
        {
            int offset = Offset(at);
            tables[Encoding.ASCII.GetString(_image, offset, 4)] = offset;
        }

        return tables;
    }

    private uint Word(int offset) => BinaryPrimitives.ReadUInt32LittleEndian(_image.AsSpan(offset));

    private int Offset(int pointer) => (int)(Word(pointer) - AcpiTables.RsdpAddress);

    private int Length(int table) => (int)Word(table + 4);

    private byte Sum(int offset, int length)
    {
        byte sum = 0;
        foreach (byte value in _image.AsSpan(offset, length))
        {
            sum += value;
        }

        return sum;
    }
}
