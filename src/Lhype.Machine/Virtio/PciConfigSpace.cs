// The 256 configuration bytes of a PCI function with a type 0 header (PCI Local Bus 3.0, 6.1): values, which
// bits the guest may write, and the capability list. BAR sizing needs no code: the low address bits are
// simply not writable. Used by VirtioPciTransport.

using System;
using System.IO;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Virtio;

/// <summary>Configuration space of one function.</summary>
internal sealed class PciConfigSpace : ISaveable
{
    internal const int Command = 0x04, Status = 0x06, FirstBar = 0x10, InterruptLine = 0x3C;
    internal const ushort CommandMemory = 0x0002, CommandBusMaster = 0x0004, CommandIntxDisable = 0x0400;
    internal const ushort StatusInterrupt = 0x0008, StatusCapabilities = 0x0010;

    private const int Bytes = 256;
    private const int CapabilityPointer = 0x34, InterruptPin = 0x3D;

    private readonly byte[] _values = new byte[Bytes];
    private readonly byte[] _writable = new byte[Bytes];
    private int _lastLink = CapabilityPointer;
    private int _nextFree = 0x40;

    internal PciConfigSpace(ushort vendor, ushort device, byte revision, uint classCode, ushort subsystem)
    {
        Set(0x00, 2, vendor);
        Set(0x02, 2, device);
        Set(Command, 2, 0, CommandMemory | CommandBusMaster | CommandIntxDisable);
        Set(Status, 2, StatusCapabilities);
        Set(0x08, 1, revision);
        Set(0x09, 1, classCode);
        Set(0x0A, 2, classCode >> 8);
        Set(0x0C, 1, 0, 0xFF);
        Set(0x2C, 2, vendor);
        Set(0x2E, 2, subsystem);
        Set(InterruptLine, 1, 0, 0xFF);
        Set(InterruptPin, 1, 1);
    }

    /// <summary>Sets a register, bypassing the write mask.</summary>
    internal void Set(int offset, int size, uint value)
    {
        for (int i = 0; i < size; i++)
        {
            _values[offset + i] = (byte)(value >> (8 * i));
        }
    }

    /// <summary>Sets a register and which of its bits the guest may write.</summary>
    internal void Set(int offset, int size, uint value, uint writable)
    {
        Set(offset, size, value);
        for (int i = 0; i < size; i++)
        {
            _writable[offset + i] = (byte)(writable >> (8 * i));
        }
    }

    /// <summary>Adds a 32-bit memory BAR of <paramref name="length"/> (a power of two) at an
    /// address.</summary>
    internal void AddBar(int index, uint address, uint length) =>
        Set(FirstBar + (4 * index), 4, address, ~(length - 1) & ~0xFU);

    /// <summary>The address the guest (or the builder) gave a memory BAR.</summary>
    internal uint BarAddress(int index) => Read(FirstBar + (4 * index), 4) & ~0xFU;

    /// <summary>Appends a capability of <paramref name="length"/> bytes. Returns its offset.</summary>
    internal int AddCapability(byte id, int length)
    {
        int at = _nextFree;
        _nextFree = (at + length + 3) & ~3;
        Set(_lastLink, 1, (uint)at);
        Set(at, 1, id);
        _lastLink = at + 1;
        return at;
    }

    /// <summary>Reads 1, 2 or 4 bytes; bytes past the end read 0.</summary>
    internal uint Read(int offset, int size)
    {
        uint value = 0;
        for (int i = 0; i < size; i++)
        {
            int at = offset + i;
            value |= (uint)(at is >= 0 and < Bytes ? _values[at] : 0) << (8 * i);
        }

        return value;
    }

    /// <summary>Writes the bits the guest may write.</summary>
    internal void Write(int offset, int size, uint value)
    {
        for (int i = 0; i < size; i++)
        {
            int at = offset + i;
            if (at is >= 0 and < Bytes)
            {
                int mask = _writable[at];
                _values[at] = (byte)((_values[at] & ~mask) | ((int)(value >> (8 * i)) & mask));
            }
        }
    }

    /// <inheritdoc/>
    public void Save(BinaryWriter writer) => writer.Write(_values);

    /// <inheritdoc/>
    public void Restore(BinaryReader reader)
    {
        // Only bits the guest could have written are taken over: the rest is this build's own.
        byte[] saved = reader.ReadBytes(Bytes);
        if (saved.Length != Bytes || !saved.AsSpan(0, 4).SequenceEqual(_values.AsSpan(0, 4)))
        {
            throw new InvalidDataException("A saved PCI function is not the one in this slot.");
        }

        for (int i = 0; i < Bytes; i++)
        {
            Write(i, 1, saved[i]);
        }
    }
}
