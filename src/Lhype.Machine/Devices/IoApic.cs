// The IO-APIC: 24 inputs, each with a redirection entry that turns a line into a message to a local APIC.
// InterruptRouter drives the inputs; the guest reaches the registers through an index/data pair at FEC00000.
// Source: Intel 82093AA data sheet (order 290566); version 0x20 adds the EOI register of later chips.

using System;
using System.IO;
using System.Numerics;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Devices;

/// <summary>An IO-APIC with 24 inputs. Lines say "asserted", so the polarity bit changes nothing.</summary>
public sealed class IoApic : IMmioDevice, ISaveable
{
    /// <summary>Number of inputs.</summary>
    public const int InputCount = 24;

    private const ulong RemoteIrr = 1 << 14;
    private const ulong LevelTriggered = 1 << 15;
    private const ulong Masked = 1 << 16;

    // Vector, delivery mode, destination mode, polarity, trigger, mask, destination; status bits 12 and 14
    // are ours.
    private const ulong Writable = 0xFF00_0000_0001_AFFF;

    private readonly Func<InterruptMessage, bool> _deliver;
    private readonly ulong[] _entries = new ulong[InputCount];
    private uint _lines;
    private uint _edges;
    private byte _index;
    private byte _id;

    /// <summary>Makes the chip; <paramref name="deliver"/> hands a message to the local APICs, false if none
    /// took it.</summary>
    public IoApic(Func<InterruptMessage, bool> deliver)
    {
        _deliver = deliver;
        Reset();
    }

    /// <summary>Claims the register window.</summary>
    public void Attach(AddressBus bus) => bus.AddMmio(MemoryMap.IoApicBase, MemoryMap.IoApicLength, this);

    /// <summary>All inputs masked, id 0.</summary>
    public void Reset()
    {
        Array.Fill(_entries, Masked);
        _edges = 0;
        _index = 0;
        _id = 0;
    }

    /// <summary>Drives input <paramref name="input"/> (0-23).</summary>
    public void SetLine(int input, bool level)
    {
        uint bit = 1u << input;
        bool rising = level && (_lines & bit) == 0;
        _lines = level ? _lines | bit : _lines & ~bit;
        ulong entry = _entries[input];

        // Edges at a masked input are lost (data sheet, 3.2.4, interrupt mask).
        if (rising && (entry & (LevelTriggered | Masked)) == 0)
        {
            _edges |= bit;
        }

        if (level)
        {
            Service(input);
        }
    }

    /// <summary>A local APIC ended the service of a level-triggered <paramref name="vector"/>.</summary>
    public void EndOfInterrupt(byte vector)
    {
        for (int i = 0; i < InputCount; i++)
        {
            ulong entry = _entries[i];
            bool waits = (entry & RemoteIrr) != 0 && (entry & LevelTriggered) != 0;
            if (waits && (byte)entry == vector)
            {
                _entries[i] = entry & ~RemoteIrr;
                Service(i);
            }
        }
    }

    /// <inheritdoc/>
    public ulong ReadMmio(ulong offset, int size) => offset switch
    {
        0x00 => _index,
        0x10 => ReadRegister(),
        _ => 0,
    };

    /// <inheritdoc/>
    public void WriteMmio(ulong offset, int size, ulong value)
    {
        switch (offset)
        {
            case 0x00:
                _index = (byte)value;
                break;
            case 0x10:
                WriteRegister((uint)value);
                break;
            case 0x40:
                EndOfInterrupt((byte)value);
                break;
        }
    }

    /// <inheritdoc/>
    public void Save(BinaryWriter writer)
    {
        writer.Write(_lines);
        writer.Write(_edges);
        writer.Write([_index, _id]);
        foreach (ulong entry in _entries)
        {
            writer.Write(entry);
        }
    }

    /// <inheritdoc/>
    public void Restore(BinaryReader reader)
    {
        _lines = reader.ReadUInt32();
        _edges = reader.ReadUInt32();
        _index = reader.ReadByte();
        _id = (byte)(reader.ReadByte() & 0x0F);
        for (int i = 0; i < InputCount; i++)
        {
            _entries[i] = reader.ReadUInt64() & (Writable | RemoteIrr);
        }
    }

    private uint ReadRegister()
    {
        switch (_index)
        {
            case 0 or 2:
                return (uint)_id << 24;
            case 1:
                return 0x20 | ((InputCount - 1) << 16);
            default:
                int input = (_index - 0x10) >> 1;
                return (uint)input < InputCount ? (uint)(_entries[input] >> (32 * (_index & 1))) : 0;
        }
    }

    private void WriteRegister(uint value)
    {
        if (_index == 0)
        {
            _id = (byte)((value >> 24) & 0x0F);
            return;
        }

        int input = (_index - 0x10) >> 1;
        if ((uint)input >= InputCount)
        {
            return;
        }

        ulong entry = _entries[input];
        ulong written = (_index & 1) != 0
            ? (uint)entry | ((ulong)value << 32)
            : (entry & 0xFFFF_FFFF_0000_0000) | value;
        entry = (written & Writable) | (entry & RemoteIrr);

        // Switching an input to edge forgets an outstanding EOI; Linux uses this to clear a stuck one.
        if ((entry & LevelTriggered) == 0)
        {
            entry &= ~RemoteIrr;
        }

        _entries[input] = entry;
        Service(input);
    }

    private void Service(int input)
    {
        ulong entry = _entries[input];
        uint bit = 1u << input;
        if ((entry & Masked) != 0)
        {
            return;
        }

        bool level = (entry & LevelTriggered) != 0;
        bool asks = level ? (_lines & bit) != 0 && (entry & RemoteIrr) == 0 : (_edges & bit) != 0;
        if (!asks)
        {
            return;
        }

        _edges &= ~bit;
        DeliveryMode mode = (DeliveryMode)((entry >> 8) & 7);
        bool taken = _deliver(new InterruptMessage(
            (byte)(entry >> 56), (entry & 0x800) != 0, mode, (byte)entry, level));

        // Only vectors are ended by an EOI; remote IRR set for anything else would block the input for good.
        if (level && taken && mode is DeliveryMode.Fixed or DeliveryMode.LowestPriority)
        {
            _entries[input] |= RemoteIrr;
        }
    }
}
