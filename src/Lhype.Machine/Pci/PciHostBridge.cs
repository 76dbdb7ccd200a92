// The PCI root: configuration mechanism 1 (ports CF8 and CFC), one bus, one function per slot, and the host
// bridge itself in slot 0. It also does what firmware does before an operating system starts: gives every
// memory and I/O BAR an address. Sources: PCI Local Bus 2.3, 3.2.2.3.2 and 6.2.5; 82441FX data sheet for the
// identity.

using System;
using System.IO;
using Lhype.Host;
using Lhype.Machine.Bus;
using Lhype.Machine.Devices;

namespace Lhype.Machine.Pci;

/// <summary>Bus 0 with 32 slots of one function each.</summary>
public sealed class PciHostBridge : IPortDevice, ISaveable
{
    /// <summary>Slots on the bus; slot 0 is the host bridge.</summary>
    public const int SlotCount = 32;

    private const int BarFirst = 0x10;
    private const int BarEnd = 0x28;
    private const int CommandRegister = 0x04;
    private const int HeaderTypeRegister = 0x0E;
    private const int InterruptLineRegister = 0x3C;
    private const int InterruptPinRegister = 0x3D;
    private const uint ConfigEnable = 0x8000_0000;

    private readonly IPciBoard _board;
    private readonly IPciFunction?[] _slots = new IPciFunction?[SlotCount];
    private uint _address;

    /// <summary>Makes the bus of a PC with nothing but the host bridge on it.</summary>
    public PciHostBridge(InterruptRouter router)
        : this(new PcBoard(router))
    {
    }

    /// <summary>Makes the bus of <paramref name="board"/> with nothing but the host bridge on it.</summary>
    public PciHostBridge(IPciBoard board)
    {
        _board = board;
        _slots[0] = new HostBridgeFunction(board.HostBridgeId);
    }

    /// <summary>Claims the configuration address and data ports. Port CF9 in their midst is the reset
    /// register's: the address register answers only 32-bit accesses, which start at CF8.</summary>
    public void Attach(AddressBus bus)
    {
        bus.AddPorts(MemoryMap.PciConfigPort, 1, this);
        bus.AddPorts(MemoryMap.PciConfigPort + 4, 4, this);
    }

    /// <summary>Interrupt wiring for a function that will sit in <paramref name="slot"/> (1-31).</summary>
    public IPciInterrupts InterruptsOf(int slot) => _board.InterruptsOf(slot);

    /// <summary>Plugs a function into a free slot (1-31). Call <see cref="AssignResources"/> after the
    /// last.</summary>
    public void Plug(int slot, IPciFunction function)
    {
        bool free = slot is > 0 and < SlotCount && _slots[slot] == null;
        Invariant.Check(free, "PCI slot taken or out of range");
        _slots[slot] = function;
    }

    /// <summary>Gives every BAR an address, turns decoding on and sets interrupt lines: call it once all
    /// functions are plugged in, and again after a machine reset.</summary>
    public void AssignResources()
    {
        _address = 0;
        ulong memory = _board.MmioStart;
        uint ports = MemoryMap.PciIoStart;
        for (int slot = 1; slot < SlotCount; slot++)
        {
            IPciFunction? function = _slots[slot];
            if (function == null)
            {
                continue;
            }

            function.WriteConfig(CommandRegister, 2, 0);
            if ((function.ReadConfig(HeaderTypeRegister, 1) & 0x7F) == 0)
            {
                AssignBars(function, ref memory, ref ports);
            }

            if (function.ReadConfig(InterruptPinRegister, 1) != 0)
            {
                function.WriteConfig(InterruptLineRegister, 1, _board.InterruptLine(slot));
            }

            // I/O and memory decoding; bus mastering is the driver's to turn on.
            function.WriteConfig(CommandRegister, 2, 0x0003);
        }
    }

    /// <inheritdoc/>
    public uint ReadPort(ushort port, int size)
    {
        uint all = uint.MaxValue >> (32 - (8 * size));
        if (port == MemoryMap.PciConfigPort)
        {
            return size == 4 ? _address : all;
        }

        IPciFunction? function = Selected(port, size, out int offset);
        return function != null ? function.ReadConfig(offset, size) & all : all;
    }

    /// <inheritdoc/>
    public void WritePort(ushort port, int size, uint value)
    {
        if (port == MemoryMap.PciConfigPort)
        {
            if (size == 4)
            {
                _address = value & 0x80FF_FFFC;
            }

            return;
        }

        Selected(port, size, out int offset)?.WriteConfig(offset, size, value);
    }

    /// <inheritdoc/>
    public void Save(BinaryWriter writer) => writer.Write(_address);

    /// <inheritdoc/>
    public void Restore(BinaryReader reader) => _address = reader.ReadUInt32() & 0x80FF_FFFC;

    private IPciFunction? Selected(ushort port, int size, out int offset)
    {
        int lane = port & 3;
        offset = (int)(_address & 0xFC) | lane;

        // Bus 0, function 0; an access that would cross the double word reaches nobody.
        bool ours = (_address & ConfigEnable) != 0 && (_address & 0x00FF_0700) == 0 && lane + size <= 4;
        return ours ? _slots[(_address >> 11) & 31] : null;
    }

    // Writing ones to a BAR and reading it back shows its size as the lowest bit that stuck (6.2.5.1).
    private void AssignBars(IPciFunction function, ref ulong memory, ref uint ports)
    {
        for (int bar = BarFirst; bar < BarEnd; bar += 4)
        {
            function.WriteConfig(bar, 4, uint.MaxValue);
            uint mask = function.ReadConfig(bar, 4);
            if (mask == 0)
            {
                continue;
            }

            if ((mask & 1) != 0)
            {
                uint length = (~(mask & ~3u) + 1) & 0xFFFF;
                ports = (ports + length - 1) & ~(length - 1);
                Invariant.Check(length != 0 && ports + length <= 0x10000, "PCI I/O BARs do not fit");
                function.WriteConfig(bar, 4, ports);
                ports += length;
                continue;
            }

            bool wide = (mask & 6) == 4;
            ulong size = ~(mask & ~15u) + 1;
            Invariant.Check(size != 0, "a PCI memory BAR of 4 GiB or more");
            memory = (memory + size - 1) & ~(size - 1);
            Invariant.Check(memory + size <= _board.MmioEnd, "PCI memory BARs do not fit");
            function.WriteConfig(bar, 4, (uint)memory);
            memory += size;
            if (wide)
            {
                bar += 4;
                function.WriteConfig(bar, 4, 0);
            }
        }
    }

    /// <summary>A PC: fixed wiring of INTA# to three lines, 82441FX as host bridge.</summary>
    private sealed class PcBoard(InterruptRouter router) : IPciBoard
    {
        public ulong MmioStart => MemoryMap.PciMmioStart;

        public ulong MmioEnd => MemoryMap.PciMmioEnd;

        public uint HostBridgeId => 0x1237_8086;

        public byte InterruptLine(int slot) => (byte)MemoryMap.PciIrq(slot);

        public IPciInterrupts InterruptsOf(int slot) =>
            new SlotInterrupts(router.CreateLine(MemoryMap.PciIrq(slot)), router);
    }

    /// <summary>The wiring of one slot of a PC.</summary>
    private sealed class SlotInterrupts(IrqLine line, InterruptRouter router) : IPciInterrupts
    {
        public void SetIntx(bool level) => line.Set(level);

        public void SendMessage(ulong address, uint data) => router.SendMessage(address, data);
    }

    /// <summary>Slot 0: a host bridge without registers of its own, such as the 82441FX every PC kernel
    /// knows.</summary>
    private sealed class HostBridgeFunction(uint id) : IPciFunction
    {
        public uint ReadConfig(int offset, int size)
        {
            uint word = (offset & 0xFC) switch
            {
                0x00 => id,
                // Memory decoding and bus mastering, which cannot be turned off; medium device select timing.
                0x04 => 0x0200_0006,
                // Class 06 00 00: host bridge, revision 2.
                0x08 => 0x0600_0002,
                _ => 0,
            };
            return word >> (8 * (offset & 3));
        }

        public void WriteConfig(int offset, int size, uint value)
        {
        }
    }
}
