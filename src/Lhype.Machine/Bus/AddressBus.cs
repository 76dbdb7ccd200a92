// Port and MMIO dispatch: which device answers which address. Filled by MachineBuilder, then read-only except
// for PCI BARs, which move. Look-up must be quick: ports through a 64 Ki table, MMIO through a short list
// checked in order of last use.

using System;
using System.Collections.Generic;
using Lhype.Host;

namespace Lhype.Machine.Bus;

/// <summary>The port space and the guest-physical ranges that are not RAM.</summary>
public sealed class AddressBus
{
    private readonly byte[] _portOwner = new byte[65536];
    private readonly List<IPortDevice> _portDevices = [null!];
    private readonly bool[] _byteWide = new bool[256];
    private readonly List<MmioRange> _mmio = [];

    /// <summary>Gives ports to an 8-bit device: wider accesses reach it, and the ports after it, byte by
    /// byte, as on an ISA bus.</summary>
    public void AddBytePorts(ushort first, int count, IPortDevice device)
    {
        AddPorts(first, count, device);
        _byteWide[_portOwner[first]] = true;
    }

    /// <summary>Gives ports [<paramref name="first"/>, +<paramref name="count"/>) to a device. Overlap is a
    /// bug.</summary>
    public void AddPorts(ushort first, int count, IPortDevice device)
    {
        int index = _portDevices.IndexOf(device, 1);
        if (index < 0)
        {
            index = _portDevices.Count;
            _portDevices.Add(device);
            Invariant.Check(index < 256, "more than 255 port devices");
        }

        for (int port = first; port < first + count; port++)
        {
            Invariant.Check(_portOwner[port] == 0, $"port {port:x} has two owners");
            _portOwner[port] = (byte)index;
        }
    }

    /// <summary>Gives a guest-physical range to a device. Returns a handle that can move or disable it
    /// (BARs).</summary>
    public MmioRange AddMmio(ulong start, ulong length, IMmioDevice device)
    {
        MmioRange range = new(start, length, device);
        _mmio.Add(range);
        return range;
    }

    /// <summary>Reads a port; all ones where nobody answers. A wide access to byte registers is
    /// split.</summary>
    public uint ReadPort(ushort port, int size)
    {
        int owner = _portOwner[port];
        if (size != 1 && _byteWide[owner])
        {
            uint value = 0;
            for (int i = 0; i < size; i++)
            {
                value |= (ReadPort((ushort)(port + i), 1) & 0xFF) << (8 * i);
            }

            return value;
        }

        return owner != 0 ? _portDevices[owner].ReadPort(port, size) : uint.MaxValue >> (32 - (8 * size));
    }

    /// <summary>Writes a port; ignored where nobody answers. A wide access to byte registers is
    /// split.</summary>
    public void WritePort(ushort port, int size, uint value)
    {
        int owner = _portOwner[port];
        if (size != 1 && _byteWide[owner])
        {
            for (int i = 0; i < size; i++)
            {
                WritePort((ushort)(port + i), 1, (byte)(value >> (8 * i)));
            }
        }
        else if (owner != 0)
        {
            _portDevices[owner].WritePort(port, size, value);
        }
    }

    /// <summary>Reads MMIO; all ones where nobody answers.</summary>
    public ulong ReadMmio(ulong gpa, int size)
    {
        MmioRange? range = Find(gpa, size);
        return range != null
            ? range.Device.ReadMmio(gpa - range.Start, size)
            : ulong.MaxValue >> (64 - (8 * size));
    }

    /// <summary>Writes MMIO; ignored where nobody answers.</summary>
    public void WriteMmio(ulong gpa, int size, ulong value)
    {
        MmioRange? range = Find(gpa, size);
        range?.Device.WriteMmio(gpa - range.Start, size, value);
    }

    private MmioRange? Find(ulong gpa, int size)
    {
        for (int i = 0; i < _mmio.Count; i++)
        {
            MmioRange range = _mmio[i];
            ulong offset = gpa - range.Start;
            if (range.Enabled && offset < range.Length && (ulong)size <= range.Length - offset)
            {
                if (i != 0)
                {
                    _mmio[i] = _mmio[i - 1];
                    _mmio[i - 1] = range;
                }

                return range;
            }
        }

        return null;
    }
}

/// <summary>A guest-physical range owned by a device.</summary>
public sealed class MmioRange
{
    internal MmioRange(ulong start, ulong length, IMmioDevice device)
    {
        Start = start;
        Length = length;
        Device = device;
    }

    /// <summary>First guest-physical address.</summary>
    public ulong Start { get; set; }
    /// <summary>Length in bytes.</summary>
    public ulong Length { get; }
    /// <summary>The owner.</summary>
    public IMmioDevice Device { get; }
    /// <summary>False while the device does not decode (PCI command register).</summary>
    public bool Enabled { get; set; } = true;
}
