// A _CRS buffer: which ports, addresses and interrupts a device uses. Used by AcpiTables through AmlWriter.
// Source: ACPI 6.4, 6.4 (resource data types).

using System.Collections.Generic;

namespace Lhype.Machine.Devices.Acpi;

/// <summary>A list of resource descriptors.</summary>
internal sealed class ResourceTemplate
{
    // General flags of address space descriptors: both ends fixed, positive decode.
    private const byte RangeFixed = 0x0C;

    private readonly List<byte> _bytes = [];

    /// <summary>The descriptors with the end tag; its checksum byte of zero means "not given".</summary>
    public byte[] ToArray() => [.. _bytes, 0x79, 0x00];

    /// <summary>Ports at a fixed place, 16 address bits decoded.</summary>
    public ResourceTemplate Ports(ushort first, byte count)
    {
        _bytes.AddRange([0x47, 0x01]);
        Put(first, 2);
        Put(first, 2);
        _bytes.AddRange([1, count]);
        return this;
    }

    /// <summary>An ISA interrupt: edge-triggered, active high, not shared.</summary>
    public ResourceTemplate Irq(int irq)
    {
        _bytes.Add(0x22);
        Put(1u << irq, 2);
        return this;
    }

    /// <summary>PCI buses a bridge owns.</summary>
    public ResourceTemplate BusNumbers(ushort first, ushort last) => Words(2, 0, first, last);

    /// <summary>Ports a bridge passes on.</summary>
    public ResourceTemplate BridgePorts(ushort first, ushort last) => Words(1, 3, first, last);

    /// <summary>Memory a bridge passes on, read-write, not cacheable.</summary>
    public ResourceTemplate BridgeMemory(uint first, uint last)
    {
        _bytes.Add(0x87);
        Put(23, 2);
        _bytes.AddRange([0, RangeFixed, 1]);
        Put(0, 4);
        Put(first, 4);
        Put(last, 4);
        Put(0, 4);
        Put(last - first + 1, 4);
        return this;
    }

    private ResourceTemplate Words(byte type, byte typeFlags, ushort first, ushort last)
    {
        _bytes.Add(0x88);
        Put(13, 2);
        _bytes.AddRange([type, RangeFixed, typeFlags]);
        Put(0, 2);
        Put(first, 2);
        Put(last, 2);
        Put(0, 2);
        Put((uint)(last - first + 1), 2);
        return this;
    }

    private void Put(uint value, int count)
    {
        for (int i = 0; i < count; i++)
        {
            _bytes.Add((byte)(value >> (8 * i)));
        }
    }
}
