// The 8259A pair against the sequences of its data sheet.

using Lhype.Machine.Devices;
using Xunit;

namespace Lhype.Tests.Machine.Devices;

public sealed class Pic8259Tests
{
    private readonly Pic8259 _pic = new();

    public Pic8259Tests()
    {
        Initialise(0x20, 0x30, 0x04, 0x01);
        Initialise(0xA0, 0x38, 0x02, 0x01);
    }

    [Fact]
    public void NothingIsDeliveredBeforeInitialisation()
    {
        Pic8259 pic = new();
        pic.SetIrq(1, true);
        Assert.False(pic.Intr);
    }

    [Fact]
    public void PulseStaysLatchedAndIsDeliveredOnce()
    {
        _pic.SetIrq(4, true);
        _pic.SetIrq(4, false);
        Assert.True(_pic.Intr);
        Assert.Equal(0x34, _pic.Acknowledge());
        Assert.False(_pic.Intr);
        Assert.Equal(0x10u, Isr(0x20));
        Eoi(0x20);
        Assert.Equal(0u, Isr(0x20));
        Assert.False(_pic.Intr);
    }

    [Fact]
    public void HigherPriorityNestsLowerWaits()
    {
        Pulse(4);
        Assert.Equal(0x34, _pic.Acknowledge());
        Pulse(6);
        Assert.False(_pic.Intr);
        Pulse(1);
        Assert.Equal(0x31, _pic.Acknowledge());
        Eoi(0x20);
        Assert.False(_pic.Intr);
        Eoi(0x20);
        Assert.Equal(0x36, _pic.Acknowledge());
    }

    [Fact]
    public void SlaveIsServedThroughInputTwo()
    {
        Pulse(14);
        Pulse(12);
        Assert.Equal(0x3C, _pic.Acknowledge());
        Assert.Equal(0x04u, Isr(0x20));
        Assert.Equal(0x10u, Isr(0xA0));
        Eoi(0xA0);
        Eoi(0x20);
        Assert.Equal(0x3E, _pic.Acknowledge());
    }

    [Fact]
    public void MaskHoldsBackButKeepsTheRequest()
    {
        _pic.WritePort(0x21, 1, 0x10);
        Pulse(4);
        Assert.False(_pic.Intr);
        Assert.Equal(0x10u, Irr(0x20));
        Assert.Equal(0x10u, _pic.ReadPort(0x21, 1));
        _pic.WritePort(0x21, 1, 0);
        Assert.True(_pic.Intr);
    }

    [Fact]
    public void LevelInputAsksAgainUntilItFalls()
    {
        _pic.WritePort(0x4D1, 1, 0x0C);
        Assert.Equal(0x0Cu, _pic.ReadPort(0x4D1, 1));
        _pic.SetIrq(10, true);
        Assert.Equal(0x3A, _pic.Acknowledge());
        Eoi(0xA0);
        Eoi(0x20);
        Assert.True(_pic.Intr);
        Assert.Equal(0x3A, _pic.Acknowledge());
        _pic.SetIrq(10, false);
        Eoi(0xA0);
        Eoi(0x20);
        Assert.False(_pic.Intr);
    }

    [Fact]
    public void FixedEdgeInputsCannotBeMadeLevel()
    {
        _pic.WritePort(0x4D0, 1, 0xFF);
        _pic.WritePort(0x4D1, 1, 0xFF);
        Assert.Equal(0xF8u, _pic.ReadPort(0x4D0, 1));
        Assert.Equal(0xDEu, _pic.ReadPort(0x4D1, 1));
    }

    [Fact]
    public void RequestThatWentAwayGivesSpuriousSeven()
    {
        Assert.Equal(0x37, _pic.Acknowledge());
        Assert.Equal(0u, Isr(0x20));
    }

    [Fact]
    public void SpuriousSlaveRequestMarksOnlyTheMaster()
    {
        _pic.SetLevelTriggered(1 << 10);
        _pic.SetIrq(10, true);
        _pic.WritePort(0x20, 1, 0x0C);
        Assert.Equal(0x82u, _pic.ReadPort(0x20, 1));
        _pic.SetIrq(10, false);
        Assert.Equal(0x04u, Isr(0x20));
        Assert.Equal(0u, Isr(0xA0));
    }

    [Fact]
    public void AutomaticEoiLeavesNothingInService()
    {
        Initialise(0x20, 0x30, 0x04, 0x03);
        Pulse(3);
        Assert.Equal(0x33, _pic.Acknowledge());
        Assert.Equal(0u, Isr(0x20));
    }

    [Fact]
    public void RotationMakesTheServedInputLowest()
    {
        Pulse(4);
        _pic.Acknowledge();
        _pic.WritePort(0x20, 1, 0xA0);
        Pulse(4);
        Pulse(5);
        Assert.Equal(0x35, _pic.Acknowledge());
        _pic.WritePort(0x20, 1, 0xC7);
        Eoi(0x20);
        Assert.Equal(0x34, _pic.Acknowledge());
    }

    [Fact]
    public void SpecialMaskModeLetsLowerInputsThrough()
    {
        Pulse(4);
        _pic.Acknowledge();
        _pic.WritePort(0x21, 1, 0x10);
        _pic.WritePort(0x20, 1, 0x68);
        Pulse(6);
        Assert.Equal(0x36, _pic.Acknowledge());
        _pic.WritePort(0x20, 1, 0x64);
        Assert.Equal(0x40u, Isr(0x20));
    }

    [Fact]
    public void PollAcknowledges()
    {
        Pulse(3);
        _pic.WritePort(0x20, 1, 0x0C);
        Assert.Equal(0x83u, _pic.ReadPort(0x20, 1));
        Assert.Equal(0x08u, Isr(0x20));
        _pic.WritePort(0x20, 1, 0x0C);
        Assert.Equal(0u, _pic.ReadPort(0x20, 1));
    }

    [Fact]
    public void StateSurvivesSaving()
    {
        Pulse(4);
        _pic.Acknowledge();
        Pulse(12);
        Pic8259 copy = new();
        StateCopy.Transfer(_pic, copy);
        Assert.True(copy.Intr);
        Assert.Equal(0x3C, copy.Acknowledge());
    }

    private void Initialise(ushort port, byte vectorBase, byte wiring, byte icw4)
    {
        _pic.WritePort(port, 1, 0x11);
        _pic.WritePort((ushort)(port + 1), 1, vectorBase);
        _pic.WritePort((ushort)(port + 1), 1, wiring);
        _pic.WritePort((ushort)(port + 1), 1, icw4);
    }

    private void Pulse(int irq)
    {
        _pic.SetIrq(irq, true);
        _pic.SetIrq(irq, false);
    }

    private void Eoi(ushort port) => _pic.WritePort(port, 1, 0x20);

    private uint Isr(ushort port)
    {
        _pic.WritePort(port, 1, 0x0B);
        return _pic.ReadPort(port, 1);
    }

    private uint Irr(ushort port)
    {
        _pic.WritePort(port, 1, 0x0A);
        return _pic.ReadPort(port, 1);
    }
}
