// Which frames a network card's guest wants to see (virtio 1.2, 5.1.6.5.1 and 5.1.6.5.2). Set through the
// control queue of VirtioNet; until the driver says anything, it wants all.

using System;
using System.Buffers.Binary;
using System.IO;
using Lhype.Machine.Net;

namespace Lhype.Machine.Virtio;

/// <summary>The receive filter of a network card.</summary>
internal sealed class ReceiveFilter
{
    /// <summary>Addresses remembered of each kind. With more, all of that kind are let in.</summary>
    private const int TableSize = 64;

    /// <summary>Commands of class RX, which are also the bits of the mode: each is a kind of frame let in
    /// (promiscuous, all multicast) or kept out.</summary>
    private const int Promiscuous = 0, AllMulticast = 1, Modes = 2;

    private readonly MacAddress[] _stations = new MacAddress[TableSize];
    private readonly MacAddress[] _groups = new MacAddress[TableSize];
    private int _stationCount;
    private int _groupCount;
    private byte _modes = 1 << Promiscuous;

    /// <summary>True if a frame to <paramref name="destination"/> is for the card that has address
    /// <paramref name="mac"/>.</summary>
    public bool Accepts(MacAddress destination, MacAddress mac)
    {
        if ((_modes & (1 << Promiscuous)) != 0 || destination == mac || destination == MacAddress.Broadcast)
        {
            return true;
        }

        return destination.IsGroup
            ? (_modes & (1 << AllMulticast)) != 0 || Contains(_groups, _groupCount, destination)
            : Contains(_stations, _stationCount, destination);
    }

    /// <summary>Obeys a command of class RX. False: not known.</summary>
    public bool SetMode(byte command, bool on)
    {
        if (command >= Modes)
        {
            return false;
        }

        byte bit = (byte)(1 << command);
        _modes = (byte)(on ? _modes | bit : _modes & ~bit);
        return true;
    }

    /// <summary>Obeys MAC_TABLE_SET: two tables, stations and groups, each a count and that many addresses.
    /// False: malformed, nothing changed but what was read.</summary>
    public bool SetTable(DescriptorChain chain) =>
        ReadTable(chain, _stations, out _stationCount) && ReadTable(chain, _groups, out _groupCount);

    /// <summary>Back to what a driver finds.</summary>
    public void Reset()
    {
        _stationCount = _groupCount = 0;
        _modes = 1 << Promiscuous;
    }

    /// <summary>Writes the filter.</summary>
    public void Save(BinaryWriter writer)
    {
        writer.Write(_modes);
        SaveTable(writer, _stations, _stationCount);
        SaveTable(writer, _groups, _groupCount);
    }

    /// <summary>Reads what <see cref="Save"/> wrote.</summary>
    public void Restore(BinaryReader reader)
    {
        _modes = reader.ReadByte();
        _stationCount = RestoreTable(reader, _stations);
        _groupCount = RestoreTable(reader, _groups);
    }

    private static bool Contains(MacAddress[] table, int count, MacAddress address) =>
        count > TableSize || table.AsSpan(0, count).IndexOf(address) >= 0;

    private static bool ReadTable(DescriptorChain chain, MacAddress[] table, out int count)
    {
        count = 0;
        Span<byte> raw = stackalloc byte[MacAddress.Bytes];
        if (chain.Read(raw[..4]) != 4)
        {
            return false;
        }

        uint wanted = BinaryPrimitives.ReadUInt32LittleEndian(raw);
        if ((ulong)wanted * MacAddress.Bytes > chain.ReadableBytes)
        {
            return false;
        }

        for (uint i = 0; i < wanted; i++)
        {
            if (chain.Read(raw) != MacAddress.Bytes)
            {
                return false;
            }

            if (i < TableSize)
            {
                table[i] = MacAddress.Read(raw);
            }
        }

        count = (int)Math.Min(wanted, TableSize + 1);
        return true;
    }

    private static void SaveTable(BinaryWriter writer, MacAddress[] table, int count)
    {
        writer.Write(count);
        for (int i = 0; i < TableSize; i++)
        {
            writer.Write(table[i].Bits);
        }
    }

    private static int RestoreTable(BinaryReader reader, MacAddress[] table)
    {
        int count = reader.ReadInt32();
        for (int i = 0; i < TableSize; i++)
        {
            table[i] = new MacAddress(reader.ReadUInt64());
        }

        return count is >= 0 and <= TableSize + 1
            ? count
            : throw new InvalidDataException("A saved network card has an impossible filter.");
    }
}
