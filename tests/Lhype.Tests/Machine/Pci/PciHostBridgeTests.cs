// Configuration mechanism 1 and the firmware's part of PCI set-up, with a made-up function in a slot.

using Lhype.Machine.Bus;
using Lhype.Machine.Devices;
using Lhype.Machine.Pci;
using Lhype.Tests.Machine.Devices;
using Xunit;

namespace Lhype.Tests.Machine.Pci;

public sealed class PciHostBridgeTests
{
    private readonly AddressBus _bus = new();
    private readonly InterruptRouter _router;
    private readonly PciHostBridge _pci;

    public PciHostBridgeTests()
    {
        _router = new InterruptRouter(new Pic8259(), new LocalApic(new FakeClock().Clock, 0));
        _pci = new PciHostBridge(_router);
        _pci.Attach(_bus);
    }

    [Fact]
    public void ProbeFindsMechanismOneAndTheHostBridge()
    {
        _bus.WritePort(0xCFB, 1, 1);
        _bus.WritePort(0xCF8, 4, 0x8000_0000);
        Assert.Equal(0x8000_0000u, _bus.ReadPort(0xCF8, 4));
        Assert.Equal(0x1237_8086u, _bus.ReadPort(0xCFC, 4));
        Assert.Equal(0x1237u, _bus.ReadPort(0xCFE, 2));
        Assert.Equal(0x0600u, Config(0, 0x0A, 2));
    }

    [Fact]
    public void EmptySlotsOtherBusesAndDisabledAddressReadOnes()
    {
        Assert.Equal(0xFFFF_FFFFu, Config(5, 0, 4));
        _bus.WritePort(0xCF8, 4, 0x8001_0000);
        Assert.Equal(0xFFFFu, _bus.ReadPort(0xCFC, 2));
        _bus.WritePort(0xCF8, 4, 0x8000_0100);
        Assert.Equal(0xFFFF_FFFFu, _bus.ReadPort(0xCFC, 4));
        _bus.WritePort(0xCF8, 4, 0);
        Assert.Equal(0xFFu, _bus.ReadPort(0xCFC, 1));
        _bus.WritePort(0xCF8, 4, 0x8000_0000);
        Assert.Equal(0xFFFF_FFFFu, _bus.ReadPort(0xCFE, 4));
        _bus.WritePort(0xCFD, 4, 0);
    }

    [Fact]
    public void FirmwareAssignsBars()
    {
        FakeFunction first = new(0xFFFF_C00C, 0x4000);
        FakeFunction second = new(0xFFF0_0000, 0x100000);
        _pci.Plug(1, first);
        _pci.Plug(2, second);
        _pci.AssignResources();
        Assert.Equal(0xE000_000Cu, Config(1, 0x10, 4));
        Assert.Equal(0u, Config(1, 0x14, 4));
        Assert.Equal(0xE010_0000u, Config(2, 0x10, 4));
        Assert.Equal(0x03u, Config(1, 0x04, 2));
        Assert.Equal(10u, Config(1, 0x3C, 1));
        Assert.Equal(11u, Config(2, 0x3C, 1));
    }

    [Fact]
    public void InterruptsGoByLineAndByMessage()
    {
        _router.IoApic.WriteMmio(0, 4, 0x10 + 22);
        _router.IoApic.WriteMmio(0x10, 4, 0x8061);
        IPciInterrupts interrupts = _pci.InterruptsOf(2);
        interrupts.SetIntx(true);
        Assert.Equal(0x61, _router.Acknowledge());
        interrupts.SendMessage(0xFEE0_0000, 0x71);
        Assert.Equal(0x71, _router.Acknowledge());
    }

    [Fact]
    public void ResetPortInsideTheAddressRegisterIsFree()
    {
        AcpiPm pm = new(new FakeClock().Clock, new IrqLine(_ => { }), () => { }, () => { });
        pm.Attach(_bus);
        _bus.WritePort(0xCF8, 4, 0x8000_0800);
        _bus.WritePort(0xCF9, 1, 0x02);
        Assert.Equal(0x8000_0800u, _bus.ReadPort(0xCF8, 4));
    }

    private uint Config(int slot, int offset, int size)
    {
        _bus.WritePort(0xCF8, 4, 0x8000_0000 | ((uint)slot << 11) | ((uint)offset & 0xFC));
        return _bus.ReadPort((ushort)(0xCFC + (offset & 3)), size);
    }

    /// <summary>A function with one memory BAR; <c>mask</c> is what reads back after writing ones.</summary>
    private sealed class FakeFunction(uint mask, uint size) : IPciFunction
    {
        private readonly uint[] _words = new uint[64];

        public uint ReadConfig(int offset, int size1)
        {
            uint word = (offset & 0xFC) == 0x3C ? (_words[15] & 0xFF) | 0x100 : _words[offset >> 2];
            return word >> (8 * (offset & 3));
        }

        public void WriteConfig(int offset, int size1, uint value)
        {
            bool wide = (mask & 4) != 0;
            _words[offset >> 2] = (offset & 0xFC) switch
            {
                0x10 => (value & ~(size - 1)) | (mask & 15),
                0x14 => wide ? value : 0,
                >= 0x18 and < 0x28 => 0,
                _ => value,
            };
        }
    }
}
