// Virtio on the descriptor page, driven as Linux 2.6.24 (B) and later ones (C to E) drive it.

using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using Lhype.Machine.Paravirt.Lguest;
using Lhype.Tests.Machine.Devices;
using Lhype.Tests.Machine.Virtio;
using Xunit;

namespace Lhype.Tests.Machine.Paravirt.Lguest;

public sealed class VirtioPageTests
{
    private const byte Net = 1, Block = 2, Console = 3, Rng = 4;

    public static TheoryData<LguestGeneration> Generations =>
        [LguestGeneration.B, LguestGeneration.C, LguestGeneration.D, LguestGeneration.E];

    [Theory]
    [MemberData(nameof(Generations))]
    public void PageListsDevicesInOrderWithOneInterruptPerQueue(LguestGeneration generation)
    {
        using LguestRig rig = new(generation, disks: 2);
        List<PageDriver> found = PageDriver.Scan(rig, generation);
        Assert.Equal([Block, Block, Net, Console, Rng], found.Select(device => device.Type));
        Assert.Equal([1, 1, 2, 2, 1], found.Select(device => device.Queues.Count));
        Assert.Equal(Enumerable.Range(1, 7), found.SelectMany(device => device.Interrupts));
        Assert.Equal(256, found[0].Queues[0].Size);
        Assert.All(found, device => Assert.Equal(0, rig.Read(device.StatusAddress, 1)[0]));

        // Rings: after the descriptor page, on page boundaries, apart, zero.
        (ulong Start, ulong End)[] rings = [.. found.SelectMany(device => device.Queues)
            .Select(queue => (queue.Descriptors, queue.Used + 6 + (8 * (ulong)queue.Size)))
            .OrderBy(ring => ring.Descriptors)];
        Assert.Equal(LguestRig.MemoryTop + 4096ul, rings[0].Start);
        for (int i = 0; i < rings.Length; i++)
        {
            Assert.Equal(0ul, rings[i].Start % 4096);
            Assert.True(i == 0 || rings[i].Start >= rings[i - 1].End);
            byte[] ring = rig.Read(rings[i].Start, (int)(rings[i].End - rings[i].Start));
            Assert.False(ring.AsSpan().ContainsAnyExcept((byte)0));
        }
    }

    [Fact]
    public void ConfigurationOfEachFormat()
    {
        using LguestRig rig = new(LguestGeneration.E);
        List<PageDriver> page = PageDriver.Scan(rig, LguestGeneration.E);
        Assert.Equal(128u, rig.Read32(page[0].ConfigAddress));
        Assert.Equal(254u, rig.Read32(page[0].ConfigAddress + 12));
        Assert.Equal([2, 0, 0, 7, 0, 0], rig.Read(page[1].ConfigAddress, 6));

        // Flush (9) and barriers (0) for disks; no GUEST_TSO4, GUEST_TSO6, GUEST_ECN, merging or control
        // queue for cards; no emergency register for the console; rings: layouts, indirect, event index.
        Assert.Equal(1u | (1 << 9), page[0].Offered & (1 | (1 << 9)));
        Assert.Equal(0u, page[1].Offered & ((7u << 7) | (1 << 15) | (1 << 17)));
        Assert.Equal(1u, page[2].Offered & 0xFFFF);
        Assert.All(page, device => Assert.Equal(0x3800_0000u, device.Offered & 0xFF00_0000));

        using LguestRig old = new(LguestGeneration.B);
        page = PageDriver.Scan(old, LguestGeneration.B);
        Assert.Equal((8, 128u), (page[0].Fields[0x41].Length, old.Read32(page[0].Fields[0x41].Address)));
        Assert.Equal((4, 254u), (page[0].Fields[0x43].Length, old.Read32(page[0].Fields[0x43].Address)));
        Assert.Equal([2, 0], old.Read(page[0].Fields[0x40].Address, 2));
        Assert.Equal([2, 0, 0, 7, 0, 0], old.Read(page[1].Fields[0x41].Address, 6));
        Assert.Empty(page[2].Fields);
    }

    [Theory]
    [MemberData(nameof(Generations))]
    public void DiskWritesAndReadsBack(LguestGeneration generation)
    {
        using LguestRig rig = new(generation);
        PageDriver disk = PageDriver.Scan(rig, generation)[0].Start();
        byte[] data = Pattern(4096);
        ulong page = rig.AllocatePages(2);
        rig.Write(page, data);
        Assert.Equal(0, Request(rig, disk, 1, 3, new DriverBuffer(page, 4096, false)));
        Assert.Equal(1u << disk.Interrupts[0], rig.TakeInterrupts());
        Assert.Equal(data, rig.Disks[0].Bytes[1536..5632]);
        Assert.Equal(0, Request(rig, disk, 0, 3, new DriverBuffer(page + 4096, 4096, true)));
        Assert.Equal(data, rig.Read(page + 4096, 4096));
        Assert.Equal(1, Request(rig, disk, 0, 127, new DriverBuffer(page + 4096, 4096, true)));
        Assert.Equal(2, Request(rig, disk, 2, 0));
        Assert.Null(rig.Death);
    }

    [Fact]
    public void DiskBarriersFlushAndMakeOtherWritesCheap()
    {
        using LguestRig rig = new(LguestGeneration.D);
        PageDriver disk = PageDriver.Scan(rig, LguestGeneration.D)[0].Start(wanted: 1);
        DriverBuffer data = new(rig.AllocatePages(), 512, false);
        Assert.Equal(0, Request(rig, disk, 1, 0, data));
        Assert.Equal(0, rig.Disks[0].Flushes);
        Assert.Equal(0, Request(rig, disk, 0x8000_0001, 0, data));
        Assert.Equal(2, rig.Disks[0].Flushes);

        disk.Start(wanted: 0);
        DriverQueue again = PageDriver.Scan(rig, LguestGeneration.D)[0].Queues[0];
        Assert.Equal(0, Request(rig, again, 16, 1, 0, data));
        Assert.Equal(3, rig.Disks[0].Flushes);
        Assert.Equal(2, Request(rig, again, 16, 0x8000_0001, 0, data));
    }

    [Fact]
    public void DialectBAcceptsBarriersInItsField()
    {
        using LguestRig rig = new(LguestGeneration.B);
        PageDriver disk = PageDriver.Scan(rig, LguestGeneration.B)[0];
        rig.Write(disk.Fields[0x40].Address - 2, 0xC0);
        rig.Write(disk.Fields[0x40].Address + 1, 2);
        DriverBuffer data = new(rig.AllocatePages(), 512, false);
        Assert.Equal(0, Request(rig, disk, 1, 0, data));
        Assert.Equal(0, rig.Disks[0].Flushes);
        Assert.Equal(0, Request(rig, disk, 0x8000_0001, 0, data));
        Assert.Equal(2, rig.Disks[0].Flushes);
    }

    [Theory]
    [MemberData(nameof(Generations))]
    public void ConsoleEchoes(LguestGeneration generation)
    {
        using LguestRig rig = new(generation);
        Assert.Equal(2, rig.Console.Type("hi"u8));
        rig.Machine.Poll();
        PageDriver console = PageDriver.Scan(rig, generation)[2].Start();
        DriverQueue receive = console.Queues[0], send = console.Queues[1];
        ulong page = rig.AllocatePages();
        receive.Add(new DriverBuffer(page, 1024, true));
        receive.Notify();
        Assert.Equal(1u << console.Interrupts[0], rig.TakeInterrupts());
        Assert.True(receive.TryTakeUsed(out _, out uint length));
        Assert.Equal("hi", Encoding.ASCII.GetString(rig.Read(page, (int)length)));
        send.Add(new DriverBuffer(page, length, false));
        send.Notify();
        Assert.Equal("hi", rig.Printed);
        Assert.Equal(1u << console.Interrupts[1], rig.TakeInterrupts());
    }

    [Theory]
    [MemberData(nameof(Generations))]
    public void CardSendsAndReceives(LguestGeneration generation)
    {
        using LguestRig rig = new(generation);
        PageDriver card = PageDriver.Scan(rig, generation)[1].Start();
        uint header = generation == LguestGeneration.B ? 8u : 10;
        byte[] frame = Pattern(100);
        ulong page = rig.AllocatePages(2);
        rig.Write(page, new byte[16]);
        rig.Write(page + 16, frame);
        card.Queues[1].Add(new DriverBuffer(page, header, false), new DriverBuffer(page + 16, 100, false));
        card.Queues[1].Notify();
        Assert.Equal(frame, Assert.Single(rig.Wires[0].Sent));
        Assert.Equal(1u << card.Interrupts[1], rig.TakeInterrupts());

        ulong room = page + 4096;
        card.Queues[0].Add(new DriverBuffer(room, header, true), new DriverBuffer(room + 64, 1514, true));
        card.Queues[0].Notify();
        byte[] answer = Pattern(60, seed: 9);
        answer[0] = 2;
        rig.Wires[0].Arrive(answer);
        Assert.True(card.Queues[0].TryTakeUsed(out _, out uint written));
        Assert.Equal(header + 60, written);
        Assert.Equal(answer, rig.Read(room + 64, 60));
        Assert.Equal(1u << card.Interrupts[0], rig.TakeInterrupts());
    }

    [Theory]
    [MemberData(nameof(Generations))]
    public void RngFills(LguestGeneration generation)
    {
        using LguestRig rig = new(generation);
        PageDriver rng = PageDriver.Scan(rig, generation)[3].Start();
        ulong page = rig.AllocatePages();
        rng.Queues[0].Add(new DriverBuffer(page, 4, true));
        rng.Queues[0].Notify();
        Assert.Equal([1, 2, 3, 4], rig.Read(page, 4));
    }

    [Fact]
    public void StartsWithTheFirstKickOfADriverThatAnnouncesNothing()
    {
        using LguestRig rig = new(LguestGeneration.C);
        PageDriver disk = PageDriver.Scan(rig, LguestGeneration.C)[0];
        rig.Write(disk.StatusAddress, 7);
        Assert.Equal(0, Request(rig, disk, 4, 0));
    }

    [Fact]
    public void ResetForgetsRequestsAndZeroesTheRings()
    {
        using LguestRig rig = new(LguestGeneration.E);
        PageDriver rng = PageDriver.Scan(rig, LguestGeneration.E)[3].Start();
        DriverQueue queue = rng.Queues[0];
        queue.Add(new DriverBuffer(rig.AllocatePages(), 4, true));
        queue.Notify();
        Assert.Equal(1, queue.UsedIndex);
        rng.SetStatus(0);
        Assert.Equal(0, queue.UsedIndex);
        Assert.Equal(0, queue.AvailableIndex);
        rng.Start();
        queue = PageDriver.Scan(rig, LguestGeneration.E)[3].Queues[0];
        queue.Add(new DriverBuffer(rig.AllocatePages(), 4, true));
        queue.Notify();
        Assert.Equal(1, queue.UsedIndex);
    }

    [Fact]
    public void FailedDriverIsLeftAlone()
    {
        using LguestRig rig = new(LguestGeneration.E);
        PageDriver rng = PageDriver.Scan(rig, LguestGeneration.E)[3].Start();
        rng.SetStatus(0x83);
        rng.Queues[0].Add(new DriverBuffer(rig.AllocatePages(), 4, true));
        rng.Queues[0].Notify();
        Assert.Equal(0, rng.Queues[0].UsedIndex);
        Assert.Null(rig.Death);
    }

    [Fact]
    public void TextBelowTheTopIsNotOurs()
    {
        using LguestRig rig = new(LguestGeneration.E);
        Assert.False(rig.Devices.Notify(0x1000));
        Assert.False(rig.Devices.Notify(LguestRig.MemoryTop - 1));
        Assert.Null(rig.Death);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(0x1004)]
    [InlineData(0xF_F000)]
    [InlineData(0x10_0000)]
    [InlineData(0x7000_0000)]
    public void WildNotifyKills(uint offset)
    {
        using LguestRig rig = new(LguestGeneration.E);
        Assert.True(rig.Devices.Notify(LguestRig.MemoryTop + offset));
        Assert.Contains("NOTIFY", rig.Death, StringComparison.Ordinal);
    }

    [Fact]
    public void FeaturesThatWereNotOfferedKill()
    {
        foreach (LguestGeneration generation in (LguestGeneration[])[LguestGeneration.B, LguestGeneration.E])
        {
            using LguestRig rig = new(generation);
            PageDriver disk = PageDriver.Scan(rig, generation)[0];
            uint accepted = disk.Tagged ? disk.Fields[0x40].Address + 1 : disk.AcceptedAddress;
            rig.Write(accepted, disk.Tagged ? (byte)4 : (byte)0x18);
            disk.Queues[0].Notify();
            Assert.Contains("features", rig.Death, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void RingThatBreaksTheRulesKills()
    {
        Action<LguestRig, DriverQueue>[] crimes =
        [
            (_, queue) => queue.AvailableIndex = 0x4000,
            (_, queue) => queue.Publish(0xFFFF),
            (_, queue) => queue.Add(new DriverBuffer(LguestRig.MemoryTop + 0xF_FFFF, 2, true)),
            (_, queue) => queue.Add(new DriverBuffer(ulong.MaxValue - 1, 4, true)),
            (rig, queue) =>
            {
                queue.WriteDescriptor(queue.Descriptors, 0, rig.AllocatePages(), 4, 3, 0);
                queue.Publish(0);
            },
        ];
        foreach (Action<LguestRig, DriverQueue> crime in crimes)
        {
            using LguestRig rig = new(LguestGeneration.E);
            DriverQueue queue = PageDriver.Scan(rig, LguestGeneration.E)[3].Start().Queues[0];
            crime(rig, queue);
            queue.Notify();
            Assert.Contains("virtio device type 4", rig.Death, StringComparison.Ordinal);
            queue.Notify();
        }
    }

    [Fact]
    public void StateMovesToAnotherMachine()
    {
        using LguestRig rig = new(LguestGeneration.E);
        PageDriver disk = PageDriver.Scan(rig, LguestGeneration.E)[0].Start();
        ulong page = rig.AllocatePages();
        Assert.Equal(0, Request(rig, disk, 0, 0, new DriverBuffer(page, 512, true)));
        using LguestRig other = new(LguestGeneration.E);
        other.Write(0x10_0000, rig.Read(0x10_0000, (int)(LguestRig.MemoryTop - 0x10_0000)));
        other.Write(LguestRig.MemoryTop, rig.Read(LguestRig.MemoryTop, LguestBoard.DevicePages * 4096));
        StateCopy.Transfer(rig.Devices, other.Devices);
        DriverQueue queue = PageDriver.Scan(other, LguestGeneration.E)[0].Queues[0];
        Assert.True(queue.TryTakeUsed(out _, out _));
        Assert.Equal(0, Request(other, queue, 16, 0, 0, new DriverBuffer(page, 512, true)));
        Assert.Equal(2, queue.UsedIndex);
    }

    [Fact]
    public void ManyDevicesFit()
    {
        using LguestRig rig = new(LguestGeneration.E, disks: 12, cards: 3);
        Assert.Equal(17, PageDriver.Scan(rig, LguestGeneration.E).Count);
        Assert.Equal(21, PageDriver.Scan(rig, LguestGeneration.E).Sum(device => device.Queues.Count));
    }

    private static byte Request(
        LguestRig rig, PageDriver disk, uint type, ulong sector, params DriverBuffer[] data) =>
        Request(rig, disk.Queues[0], disk.Tagged ? 24u : 16, type, sector, data);

    private static byte Request(LguestRig rig, DriverQueue queue, uint headerBytes, uint type, ulong sector,
        params DriverBuffer[] data)
    {
        ulong header = rig.AllocatePages();
        rig.Write32(header, type);
        rig.Write32(header + 8, (uint)sector);
        rig.Write(header + 100, 0xFF);
        DriverBuffer status = new(header + 100, 1, true);
        queue.Add([new DriverBuffer(header, headerBytes, false), .. data, status]);
        ushort before = queue.UsedIndex;
        queue.Notify();
        Assert.Equal((ushort)(before + 1), queue.UsedIndex);
        return rig.Read(header + 100, 1)[0];
    }

    private static byte[] Pattern(int length, byte seed = 1) =>
        [.. Enumerable.Range(0, length).Select(i => (byte)((i * 7) + seed))];
}
