// ACPI fixed hardware against ACPI 6.4, 4.8.

using Lhype.Machine.Bus;
using Lhype.Machine.Devices;
using Xunit;

namespace Lhype.Tests.Machine.Devices;

public sealed class AcpiPmTests
{
    private readonly FakeClock _time = new();
    private readonly IrqLine _sci = new(_ => { });
    private readonly AcpiPm _pm;
    private int _offs;
    private int _resets;

    public AcpiPmTests() => _pm = new AcpiPm(_time.Clock, _sci, () => _offs++, () => _resets++);

    [Fact]
    public void TimerRunsAtItsFrequencyAndWrapsAt24Bits()
    {
        _time.AdvanceTo(1_000_000_000);
        Assert.Equal(3_579_545u, _pm.ReadPort(0x608, 4));
        _time.AdvanceTo(5_000_000_000);
        Assert.Equal(3_579_545u * 5 - 0x1000000, _pm.ReadPort(0x608, 4));
        Assert.Equal(((3_579_545u * 5) >> 8) & 0xFF, _pm.ReadPort(0x609, 1));
    }

    [Fact]
    public void AcpiModeIsAlwaysOn()
    {
        _pm.WritePort(0x604, 2, 0);
        Assert.Equal(1u, _pm.ReadPort(0x604, 2));
    }

    [Fact]
    public void SleepTypeFivePowersOffOthersWake()
    {
        _pm.WritePort(0x604, 2, 0x0401);
        Assert.Equal(0, _offs);
        _pm.WritePort(0x604, 2, 0x2401);
        Assert.Equal(0, _offs);
        Assert.Equal(0x8000u, _pm.ReadPort(0x600, 2) & 0x8000);
        _pm.WritePort(0x604, 2, 0x3401);
        Assert.Equal(1, _offs);
    }

    [Fact]
    public void PowerButtonRaisesTheSciUntilCleared()
    {
        _pm.PressPowerButton();
        Assert.False(_sci.Level);
        _pm.WritePort(0x602, 2, 0x0100);
        Assert.True(_sci.Level);
        Assert.Equal(0x0100u, _pm.ReadPort(0x602, 2));
        _pm.WritePort(0x600, 2, 0x0001);
        Assert.True(_sci.Level);
        _pm.WritePort(0x600, 2, 0x0100);
        Assert.False(_sci.Level);
    }

    [Fact]
    public void TimerCarryInterrupts()
    {
        _pm.WritePort(0x602, 2, 1);
        _time.AdvanceTo(2_343_000_000);
        Assert.False(_sci.Level);
        _time.AdvanceTo(2_344_000_000);
        Assert.True(_sci.Level);
        _pm.WritePort(0x600, 2, 1);
        Assert.False(_sci.Level);
        _time.AdvanceTo(4_700_000_000);
        Assert.True(_sci.Level);
    }

    [Fact]
    public void ResetRegisterNeedsARisingBit()
    {
        _pm.WritePort(0xCF9, 1, 0x02);
        Assert.Equal(0, _resets);
        _pm.WritePort(0xCF9, 1, 0x06);
        Assert.Equal(1, _resets);
        Assert.Equal(0x06u, _pm.ReadPort(0xCF9, 1));
    }

    [Fact]
    public void StateSurvivesSaving()
    {
        _pm.WritePort(0x602, 2, 0x0100);
        _pm.PressPowerButton();
        IrqLine line = new(_ => { });
        AcpiPm copy = new(_time.Clock, line, () => { }, () => { });
        StateCopy.Transfer(_pm, copy);
        Assert.True(line.Level);
    }
}
