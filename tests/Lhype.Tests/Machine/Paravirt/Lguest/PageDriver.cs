// The guest's side of the descriptor page, in the formats of dialect B and of C to E: finds a device, resets
// it, accepts features, uses the rings the page points to.

using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using Lhype.Machine.Paravirt.Lguest;
using Lhype.Tests.Machine.Virtio;
using Xunit;

namespace Lhype.Tests.Machine.Paravirt.Lguest;

internal sealed class PageDriver
{
    private readonly LguestRig _rig;

    private PageDriver(LguestRig rig, uint entry, bool tagged)
    {
        _rig = rig;
        Entry = entry;
        Tagged = tagged;
        Type = rig.Read(entry, 1)[0];
        if (tagged)
        {
            ReadTagged();
        }
        else
        {
            byte[] header = rig.Read(entry, 5);
            uint features = entry + 5 + (8u * header[1]);
            for (uint i = 0; i < header[1]; i++)
            {
                AddQueue(entry + 5 + (8 * i));
            }

            Offered = rig.Read32(features);
            AcceptedAddress = features + header[2];
            ConfigAddress = AcceptedAddress + header[2];
            Length = 5 + (8 * header[1]) + (2 * header[2]) + header[3];
        }
    }

    public uint Entry { get; }

    public bool Tagged { get; }

    public byte Type { get; }

    public int Length { get; private set; }

    public uint Offered { get; private set; }

    public uint AcceptedAddress { get; private set; }

    public uint ConfigAddress { get; }

    public List<DriverQueue> Queues { get; } = [];

    public List<int> Interrupts { get; } = [];

    /// <summary>Dialect B: where the value of each field stands.</summary>
    public Dictionary<byte, (uint Address, int Length)> Fields { get; } = [];

    public uint StatusAddress => Entry + (Tagged ? 2u : 4u);

    /// <summary>All devices of the page, in its order.</summary>
    public static List<PageDriver> Scan(LguestRig rig, LguestGeneration generation)
    {
        List<PageDriver> found = [];
        for (uint at = LguestRig.MemoryTop; rig.Read(at, 1)[0] != 0;)
        {
            found.Add(new PageDriver(rig, at, generation == LguestGeneration.B));
            at += (uint)found[^1].Length;
        }

        return found;
    }

    public void SetStatus(byte status)
    {
        _rig.Write(StatusAddress, status);
        Assert.True(_rig.Devices.Notify(Entry));
    }

    /// <summary>From reset to working queues, as Linux of about 2.6.35 does it; B just begins.</summary>
    public PageDriver Start(uint wanted = uint.MaxValue)
    {
        if (!Tagged)
        {
            SetStatus(0);
            _rig.Write32(AcceptedAddress, Offered & wanted);
            SetStatus(3);
        }

        _rig.Write(StatusAddress, 7);
        return this;
    }

    private void ReadTagged()
    {
        byte[] header = _rig.Read(Entry, 3);
        Length = 3 + header[1];
        for (uint at = Entry + 3; at < Entry + Length;)
        {
            byte[] field = _rig.Read(at, 2);
            if (field[0] == 2)
            {
                Assert.Equal(8, field[1]);
                AddQueue(at + 2);
            }
            else
            {
                Fields.Add(field[0], (at + 2, field[1]));
            }

            at += 2u + field[1];
        }
    }

    private void AddQueue(uint at)
    {
        byte[] raw = _rig.Read(at, 8);
        int size = BinaryPrimitives.ReadUInt16LittleEndian(raw);
        uint ring = BinaryPrimitives.ReadUInt32LittleEndian(raw.AsSpan(4)) << 12;
        Interrupts.Add(BinaryPrimitives.ReadUInt16LittleEndian(raw.AsSpan(2)));

        // The used ring begins on the page after the available ring with its event index (2.7.2).
        ulong available = ring + (16u * (uint)size);
        ulong used = (available + 6 + (2u * (uint)size) + 4095) & ~4095UL;
        Queues.Add(new DriverQueue(_rig.Memory, size, ring, available, used,
            () => Assert.True(_rig.Devices.Notify(ring)), _rig.AllocatePages));
    }
}
