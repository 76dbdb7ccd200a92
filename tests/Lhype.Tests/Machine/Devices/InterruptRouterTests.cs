// Lines and messages through the IO-APIC, the 8259s and the local APIC together.

using Lhype.Machine.Bus;
using Lhype.Machine.Devices;
using Xunit;

namespace Lhype.Tests.Machine.Devices;

public sealed class InterruptRouterTests
{
    private readonly Pic8259 _pic = new();
    private readonly LocalApic _apic;
    private readonly InterruptRouter _router;

    public InterruptRouterTests()
    {
        _apic = new LocalApic(new FakeClock().Clock, 0);
        _router = new InterruptRouter(_pic, _apic);
    }

    [Fact]
    public void PicInterruptsPassTheVirtualWire()
    {
        InitialisePic();
        _router.CreateLine(4).Pulse();
        Assert.True(_router.InterruptRequested);
        Assert.Equal(0x34, _router.Acknowledge());
        Assert.Equal(-1, _router.Acknowledge());
        _router.CreateLine(3).Pulse();
        _apic.WriteMmio(0x350, 4, 0x10000);
        Assert.False(_router.InterruptRequested);
        Assert.Equal(-1, _router.Acknowledge());
    }

    [Fact]
    public void PciLinesAreLevelTriggeredFromTheStart()
    {
        Assert.Equal(0x20u, _pic.ReadPort(0x4D0, 1));
        Assert.Equal(0x0Eu, _pic.ReadPort(0x4D1, 1));
    }

    [Fact]
    public void TimerReachesInputTwo()
    {
        Program(2, 0x30);
        _router.CreateLine(0).Pulse();
        Assert.Equal(0x30, _router.Acknowledge());
    }

    [Fact]
    public void MaskedEdgesAreLost()
    {
        IrqLine line = _router.CreateLine(4);
        Program(4, 0x10034);
        line.Pulse();
        Program(4, 0x34);
        Assert.False(_router.InterruptRequested);
        line.Pulse();
        Assert.Equal(0x34, _router.Acknowledge());
    }

    [Fact]
    public void LevelInterruptRepeatsUntilTheLineFalls()
    {
        IrqLine line = _router.CreateLine(11);
        Program(11, 0x8051);
        line.Set(true);
        Assert.Equal(0x51, _router.Acknowledge());
        Assert.Equal(0x4000u, Entry(11) & 0x4000);
        Eoi();
        Assert.Equal(0x51, _router.Acknowledge());
        line.Set(false);
        Eoi();
        Assert.False(_router.InterruptRequested);
        Assert.Equal(0u, Entry(11) & 0x4000);
    }

    [Fact]
    public void SharedLevelLineStaysUpUntilAllLetGo()
    {
        IrqLine first = _router.CreateLine(10);
        IrqLine second = _router.CreateLine(10);
        Program(10, 0x8052);
        first.Set(true);
        second.Set(true);
        Assert.Equal(0x52, _router.Acknowledge());
        first.Set(false);
        Eoi();
        Assert.Equal(0x52, _router.Acknowledge());
        second.Set(false);
        Eoi();
        Assert.False(_router.InterruptRequested);
    }

    [Fact]
    public void SwitchingToEdgeClearsRemoteIrr()
    {
        IrqLine line = _router.CreateLine(11);
        Program(11, 0x8051);
        line.Set(true);
        _router.Acknowledge();
        Program(11, 0x10051);
        Assert.Equal(0u, Entry(11) & 0x4000);
    }

    [Fact]
    public void EoiRegisterEndsAVector()
    {
        IrqLine line = _router.CreateLine(11);
        Program(11, 0x8051);
        line.Set(true);
        _router.Acknowledge();
        line.Set(false);
        _router.IoApic.WriteMmio(0x40, 4, 0x51);
        Assert.Equal(0u, Entry(11) & 0x4000);
    }

    [Fact]
    public void VersionSaysTwentyFourInputs()
    {
        _router.IoApic.WriteMmio(0, 4, 1);
        Assert.Equal(0x0017_0020ul, _router.IoApic.ReadMmio(0x10, 4));
        _router.IoApic.WriteMmio(0, 4, 0xFF);
        Assert.Equal(0ul, _router.IoApic.ReadMmio(0x10, 4));
        _router.IoApic.WriteMmio(0x10, 4, 0xFFFF_FFFF);
    }

    [Fact]
    public void MessagesOutsideTheWindowAreIgnored()
    {
        _router.SendMessage(0xFEE0_0000, 0x41);
        Assert.Equal(0x41, _router.Acknowledge());
        Eoi();
        _router.SendMessage(0xFED0_0000, 0x41);
        _router.SendMessage(0xFEE0_5000, 0x41);
        _router.SendMessage(0x1_FEE0_0000, 0x41);
        Assert.False(_router.InterruptRequested);
    }

    [Fact]
    public void StateSurvivesSaving()
    {
        IrqLine line = _router.CreateLine(11);
        Program(11, 0x8051);
        line.Set(true);
        LocalApic apic = new(new FakeClock().Clock, 0);
        InterruptRouter copy = new(new Pic8259(), apic);
        copy.CreateLine(11).Set(true);
        StateCopy.Transfer(_router, copy);
        Assert.Equal(0x51, copy.Acknowledge());
        apic.WriteMmio(0xB0, 4, 0);
        Assert.Equal(0x51, copy.Acknowledge());
    }

    private void InitialisePic()
    {
        _pic.WritePort(0x20, 1, 0x11);
        _pic.WritePort(0x21, 1, 0x30);
        _pic.WritePort(0x21, 1, 0x04);
        _pic.WritePort(0x21, 1, 0x01);
    }

    private void Program(int input, uint low)
    {
        _router.IoApic.WriteMmio(0, 4, (ulong)(0x11 + (2 * input)));
        _router.IoApic.WriteMmio(0x10, 4, 0);
        _router.IoApic.WriteMmio(0, 4, (ulong)(0x10 + (2 * input)));
        _router.IoApic.WriteMmio(0x10, 4, low);
    }

    private uint Entry(int input)
    {
        _router.IoApic.WriteMmio(0, 4, (ulong)(0x10 + (2 * input)));
        return (uint)_router.IoApic.ReadMmio(0x10, 4);
    }

    private void Eoi() => _apic.WriteMmio(0xB0, 4, 0);
}
