// The devices of a paravirtual guest around RAM, with everything the outside sees recorded. The tests reach
// the devices only as a guest does: through RAM, the device pages and the hypercalls.

using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Text;
using Lhype.Host;
using Lhype.Machine;
using Lhype.Machine.Block;
using Lhype.Machine.Bus;
using Lhype.Machine.Net;
using Lhype.Machine.Paravirt.Lguest;
using Lhype.Tests.Machine.Devices;
using Lhype.Tests.Machine.Virtio;

namespace Lhype.Tests.Machine.Paravirt.Lguest;

internal sealed class LguestRig : IDisposable
{
    public const uint MemoryTop = 8 << 20;

    private readonly GuestRam _ram;
    private readonly StringBuilder _printed = new();
    private ulong _nextPage = 0x10_0000;

    public LguestRig(LguestGeneration generation, int disks = 1, int cards = 1)
    {
        bool pci = generation == LguestGeneration.F;
        _ram = new GuestRam(MemoryTop + (pci ? 0 : LguestBoard.DevicePages * 4096UL));
        Memory = new GuestMemory(_ram, (_, _) => { });
        Machine = new VirtualMachine(Clock.Clock);
        Console = new GuestConsole(bytes => _printed.Append(Encoding.Latin1.GetString(bytes)));
        for (int i = 0; i < disks; i++)
        {
            Disks.Add(new MemoryDisk(64 << 10));
        }

        List<NetworkConnection> networks = [];
        for (int i = 0; i < cards; i++)
        {
            Wires.Add(new TestWire());
            networks.Add(new NetworkConnection(MacAddress.ForDomain("7", i), Wires[i]));
        }

        List<DiskConfig> configs = [];
        foreach (MemoryDisk _ in Disks)
        {
            configs.Add(new DiskConfig { File = "disk" });
        }

        Devices = LguestDevices.Create(new LguestBoard
        {
            Config = new MachineConfig { Kernel = "kernel", Disks = configs },
            Dialect = LguestDialect.Of(generation),
            Machine = Machine,
            Memory = Memory,
            MemoryTop = MemoryTop,
            Console = Console,
            Disks = [.. Disks],
            Networks = networks,
            Entropy = new CountingEntropy(),
            RaiseInterrupt = irq => Interrupts |= 1u << irq,
        });
        Devices.Place();
    }

    public FakeClock Clock { get; } = new();

    public GuestMemory Memory { get; }

    public VirtualMachine Machine { get; }

    public GuestConsole Console { get; }

    public List<MemoryDisk> Disks { get; } = [];

    public List<TestWire> Wires { get; } = [];

    public ILguestDevices Devices { get; }

    /// <summary>Bit i: interrupt i was raised since the test last looked.</summary>
    public uint Interrupts { get; set; }

    public string Printed => _printed.ToString();

    /// <summary>Why the guest was killed, or null while it lives.</summary>
    public string? Death => Machine.Ended?.Reason;

    public uint TakeInterrupts()
    {
        uint taken = Interrupts;
        Interrupts = 0;
        return taken;
    }

    public ulong AllocatePages(ulong count = 1)
    {
        ulong page = _nextPage;
        _nextPage += count * 4096;
        return page;
    }

    public byte[] Read(ulong address, int length)
    {
        byte[] bytes = new byte[length];
        Xunit.Assert.True(Memory.TryRead(address, bytes));
        return bytes;
    }

    public uint Read32(ulong address) => BinaryPrimitives.ReadUInt32LittleEndian(Read(address, 4));

    public ushort Read16(ulong address) => BinaryPrimitives.ReadUInt16LittleEndian(Read(address, 2));

    public void Write(ulong address, params ReadOnlySpan<byte> bytes) =>
        Xunit.Assert.True(Memory.TryWrite(address, bytes));

    public void Write32(ulong address, uint value) =>
        Xunit.Assert.True(Memory.TryWriteUInt32(address, value));

    public void Dispose() => _ram.Dispose();
}

/// <summary>A network back end that keeps what it is sent, and holds what the card has no room for.</summary>
internal sealed class TestWire : INetworkBackend
{
    private INetworkCard? _card;

    public List<byte[]> Sent { get; } = [];

    public Queue<byte[]> Waiting { get; } = new();

    public NetworkOffloads SendOffloads => NetworkOffloads.None;

    public MacAddress Mac => _card!.Mac;

    public int MacChanges { get; private set; }

    public void Connect(INetworkCard card) => _card = card;

    public void Send(in FrameHeader header, ReadOnlySpan<byte> frame) => Sent.Add(frame.ToArray());

    public void CardReady() => Deliver();

    public void MacChanged() => MacChanges++;

    /// <summary>A frame comes from the segment.</summary>
    public void Arrive(byte[] frame)
    {
        Waiting.Enqueue(frame);
        Deliver();
    }

    public bool Arrive(in FrameHeader header, byte[] frame)
    {
        bool taken = _card!.Receive(header, frame);
        _card.EndReceive();
        return taken;
    }

    public void Dispose()
    {
    }

    private void Deliver()
    {
        while (Waiting.TryPeek(out byte[]? frame) && _card!.Receive(default, frame))
        {
            Waiting.Dequeue();
        }

        _card!.EndReceive();
    }
}
