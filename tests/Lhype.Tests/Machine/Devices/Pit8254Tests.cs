// The 8254 against its data sheet's mode definitions, on a clock moved by hand.

using Lhype.Machine.Bus;
using Lhype.Machine.Devices;
using Xunit;

namespace Lhype.Tests.Machine.Devices;

public sealed class Pit8254Tests
{
    private readonly FakeClock _time = new();
    private readonly Pit8254 _pit;
    private int _edges;

    public Pit8254Tests() =>
        _pit = new Pit8254(_time.Clock, new IrqLine(level => _edges += level ? 1 : 0));

    [Fact]
    public void RateGeneratorKeepsItsGridForAnHour()
    {
        Program(0x34, 0x40, 11932);
        _edges = 0;
        _time.AdvanceTo(3600ul * 1_000_000_000);
        Assert.Equal((int)(3600ul * 1_193_182 / 11932), _edges);
    }

    [Fact]
    public void LateHostGivesOneTickNotAStorm()
    {
        Program(0x34, 0x40, 11932);
        _edges = 0;
        _time.Jump(1_000_000_000);
        Assert.Equal(1, _edges);
        _time.Advance(10_000_100);
        Assert.Equal(2, _edges);
    }

    [Fact]
    public void OneShotModesFireOnce()
    {
        Program(0x38, 0x40, 1000);
        _edges = 0;
        _time.Advance(5_000_000);
        Assert.Equal(1, _edges);
        Program(0x30, 0x40, 1000);
        _edges = 0;
        _time.Advance(5_000_000);
        Assert.Equal(1, _edges);
    }

    [Fact]
    public void LatchedCountStaysWhileTheCounterRuns()
    {
        Program(0x34, 0x40, 0x8000);
        AdvanceTicks(0x1000);
        _pit.WritePort(0x43, 1, 0x00);
        AdvanceTicks(0x100);
        Assert.Equal(0x7000u, ReadWord(0x40));
        Assert.Equal(0x6F00u, ReadWord(0x40));
    }

    [Fact]
    public void ReadBackLatchesStatusThenCount()
    {
        Program(0xB6, 0x42, 0x1000);
        _pit.WritePort(0x61, 1, 1);
        AdvanceTicks(0x100);
        _pit.WritePort(0x43, 1, 0xC8);
        Assert.Equal(0xB6u, _pit.ReadPort(0x42, 1));
        Assert.Equal(0xE00u, ReadWord(0x42));
    }

    [Fact]
    public void BcdCountsInTens()
    {
        Program(0x35, 0x40, 0x1000);
        AdvanceTicks(1);
        Assert.Equal(0x0999u, ReadWord(0x40));
        Program(0x31, 0x40, 0);
        AdvanceTicks(1);
        Assert.Equal(0x9999u, ReadWord(0x40));
    }

    [Fact]
    public void SpeakerOutputRisesAtTheEndOfTheCount()
    {
        // The way Linux measures the TSC: counter 2, mode 0, gate on, wait for bit 5.
        _pit.WritePort(0x61, 1, 1);
        Program(0xB0, 0x42, 11932);
        Assert.Equal(0u, _pit.ReadPort(0x61, 1) & 0x20);
        AdvanceTicks(11931);
        Assert.Equal(0u, _pit.ReadPort(0x61, 1) & 0x20);
        AdvanceTicks(1);
        Assert.Equal(0x20u, _pit.ReadPort(0x61, 1) & 0x20);
    }

    [Fact]
    public void LowGateStopsModeZero()
    {
        _pit.WritePort(0x61, 1, 1);
        Program(0xB0, 0x42, 1000);
        AdvanceTicks(400);
        _pit.WritePort(0x61, 1, 0);
        AdvanceTicks(5000);
        Assert.Equal(600u, ReadWord(0x42));
        _pit.WritePort(0x61, 1, 1);
        AdvanceTicks(100);
        Assert.Equal(500u, ReadWord(0x42));
    }

    [Fact]
    public void NewRateWaitsForThePeriodToEnd()
    {
        Program(0x34, 0x40, 1000);
        AdvanceTicks(500);
        WriteWord(0x40, 100);
        Assert.Equal(500u, ReadWord(0x40));
        AdvanceTicks(500);
        Assert.Equal(100u, ReadWord(0x40));
        AdvanceTicks(150);
        Assert.Equal(50u, ReadWord(0x40));
    }

    [Fact]
    public void SquareWaveIsHighForHalfItsPeriod()
    {
        _pit.WritePort(0x61, 1, 1);
        Program(0xB6, 0x42, 1000);
        AdvanceTicks(499);
        Assert.Equal(0x20u, _pit.ReadPort(0x61, 1) & 0x20);
        AdvanceTicks(1);
        Assert.Equal(0u, _pit.ReadPort(0x61, 1) & 0x20);
        AdvanceTicks(500);
        Assert.Equal(0x20u, _pit.ReadPort(0x61, 1) & 0x20);
    }

    [Fact]
    public void SingleByteAccess()
    {
        _pit.WritePort(0x43, 1, 0x14);
        _pit.WritePort(0x40, 1, 0x80);
        AdvanceTicks(0x10);
        Assert.Equal(0x70u, _pit.ReadPort(0x40, 1));
        _pit.WritePort(0x43, 1, 0x24);
        _pit.WritePort(0x40, 1, 0x80);
        AdvanceTicks(0x100);
        Assert.Equal(0x7Fu, _pit.ReadPort(0x40, 1));
    }

    [Fact]
    public void StateSurvivesSaving()
    {
        Program(0x34, 0x40, 0x8000);
        AdvanceTicks(0x1000);
        int edges = 0;
        Pit8254 copy = new(_time.Clock, new IrqLine(level => edges += level ? 1 : 0));
        StateCopy.Transfer(_pit, copy);
        Assert.Equal(0x00u, copy.ReadPort(0x40, 1));
        Assert.Equal(0x70u, copy.ReadPort(0x40, 1));
    }

    private void Program(byte control, ushort port, ushort count)
    {
        _pit.WritePort(0x43, 1, control);
        WriteWord(port, count);
    }

    private void WriteWord(ushort port, ushort value)
    {
        _pit.WritePort(port, 1, value & 0xFFu);
        _pit.WritePort(port, 1, (uint)value >> 8);
    }

    private uint ReadWord(ushort port) => _pit.ReadPort(port, 1) | (_pit.ReadPort(port, 1) << 8);

    // Steps on the chip's own grid: the first nanosecond at which that many more ticks have passed.
    private void AdvanceTicks(ulong ticks)
    {
        ulong now = _time.Clock.NowNs * 1_193_182 / 1_000_000_000;
        _time.AdvanceTo((((now + ticks) * 1_000_000_000) + 1_193_181) / 1_193_182);
    }
}
