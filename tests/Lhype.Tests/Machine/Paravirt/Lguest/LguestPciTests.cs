// Dialect F's PCI bus: what a guest finds through CF8 and CFC, its early console, and a request through BAR
// 0.

using Lhype.Machine.Paravirt.Lguest;
using Lhype.Tests.Machine.Virtio;
using Xunit;

namespace Lhype.Tests.Machine.Paravirt.Lguest;

public sealed class LguestPciTests
{
    private readonly LguestRig _rig = new(LguestGeneration.F);

    [Fact]
    public void BusHoldsTheHostBridgeThenConsoleDiskCardAndRng()
    {
        Assert.Equal(0u, Config(0, 0, 4));
        Assert.Equal(0x0600u, Config(0, 0x0A, 2));
        Assert.Equal(0x1043_1AF4u, Config(1, 0, 4));
        Assert.Equal(0x1042_1AF4u, Config(2, 0, 4));
        Assert.Equal(0x1041_1AF4u, Config(3, 0, 4));
        Assert.Equal(0x1044_1AF4u, Config(4, 0, 4));
        Assert.Equal(uint.MaxValue, Config(5, 0, 4));
        for (int slot = 1; slot <= 4; slot++)
        {
            Assert.Equal(1u, Config(slot, 8, 1));
            Assert.Equal(0x40u, Config(slot, 0x2E, 2));
            Assert.Equal((uint)slot, Config(slot, 0x3C, 1));
            Assert.Equal(0u, Capability(slot, 0x11, 0));
            Assert.True(Config(slot, 0x10, 4) >= LguestRig.MemoryTop + (LguestBoard.DevicePages * 4096));
            Assert.Equal(0u, Config(slot, 0x14, 4));
        }

        Assert.Equal(1u, _rig.Machine.Bus.ReadPort(0x64, 1));
        Assert.Equal(0xFFu, _rig.Machine.Bus.ReadPort(0x60, 1));
    }

    [Fact]
    public void EarlyConsolePrintsThroughTheWindow()
    {
        uint device = Capability(1, 9, 4), window = Capability(1, 9, 5);
        Assert.True(Config(1, (int)device + 12, 4) >= 12);
        SetConfig(1, (int)window + 4, 1, Config(1, (int)device + 4, 1));
        SetConfig(1, (int)window + 8, 4, Config(1, (int)device + 8, 4) + 8);
        SetConfig(1, (int)window + 12, 4, 4);
        foreach (char letter in "Linux")
        {
            SetConfig(1, (int)window + 16, 4, letter);
        }

        Assert.Equal("Linux", _rig.Printed);
    }

    [Fact]
    public void RngServesARequestAndRaisesItsSlotsInterrupt()
    {
        const int Slot = 4;
        SetConfig(Slot, 4, 2, 6);
        ulong bar = Config(Slot, 0x10, 4) & ~15u;
        ulong common = bar + Config(Slot, (int)Capability(Slot, 9, 1) + 8, 4);
        uint notify = Capability(Slot, 9, 2);
        ulong isr = bar + Config(Slot, (int)Capability(Slot, 9, 3) + 8, 4);
        ulong ring = _rig.AllocatePages(3);
        Write(common + 0x14, 1, 3);
        Write(common + 0x08, 4, 1);
        Write(common + 0x0C, 4, 1);
        Write(common + 0x14, 1, 11);
        Assert.Equal(11ul, _rig.Machine.Bus.ReadMmio(common + 0x14, 1));
        int size = (int)_rig.Machine.Bus.ReadMmio(common + 0x18, 2);
        for (uint area = 0; area < 3; area++)
        {
            Write(common + 0x20 + (8 * area), 4, ring + (area << 12));
        }

        Write(common + 0x1C, 2, 1);
        Write(common + 0x14, 1, 15);
        DriverQueue queue = new(_rig.Memory, size, ring, ring + 0x1000, ring + 0x2000,
            () => Write(bar + Config(Slot, (int)notify + 8, 4), 2, 0), _rig.AllocatePages);
        ulong page = _rig.AllocatePages();
        queue.Add(new DriverBuffer(page, 4, true));
        queue.Notify();
        Assert.Equal([1, 2, 3, 4], _rig.Read(page, 4));
        Assert.Equal(1u << Slot, _rig.TakeInterrupts());
        Assert.Equal(1ul, _rig.Machine.Bus.ReadMmio(isr, 1));

        // Another request before the first interrupt is acknowledged counts, too.
        queue.Add(new DriverBuffer(page, 4, true));
        queue.Notify();
        queue.Add(new DriverBuffer(page, 4, true));
        queue.Notify();
        Assert.Equal(1u << Slot, _rig.TakeInterrupts());
    }

    private uint Config(int slot, int offset, int size)
    {
        _rig.Machine.Bus.WritePort(0xCF8, 4, 0x8000_0000 | ((uint)slot << 11) | ((uint)offset & 0xFC));
        return _rig.Machine.Bus.ReadPort((ushort)(0xCFC + (offset & 3)), size);
    }

    private void SetConfig(int slot, int offset, int size, uint value)
    {
        _rig.Machine.Bus.WritePort(0xCF8, 4, 0x8000_0000 | ((uint)slot << 11) | ((uint)offset & 0xFC));
        _rig.Machine.Bus.WritePort((ushort)(0xCFC + (offset & 3)), size, value);
    }

    /// <summary>Offset of the capability with this id and, for virtio's (9), this type of structure; 0 if
    /// there is none.</summary>
    private uint Capability(int slot, uint id, uint kind)
    {
        uint at = Config(slot, 0x34, 1);
        while (at != 0 && (Config(slot, (int)at, 1) != id
            || (id == 9 && Config(slot, (int)at + 3, 1) != kind)))
        {
            at = Config(slot, (int)at + 1, 1);
        }

        return at;
    }

    private void Write(ulong address, int size, ulong value) =>
        _rig.Machine.Bus.WriteMmio(address, size, value);
}
