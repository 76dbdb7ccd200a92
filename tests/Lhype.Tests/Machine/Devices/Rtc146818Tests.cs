// The MC146818 against its data sheet. The fake clock starts at 2026-03-04 05:06:07 UTC, a Wednesday.

using Lhype.Machine.Bus;
using Lhype.Machine.Devices;
using Xunit;

namespace Lhype.Tests.Machine.Devices;

public sealed class Rtc146818Tests
{
    private const ulong Second = 1_000_000_000;

    private readonly FakeClock _time = new();
    private readonly Rtc146818 _rtc;
    private int _edges;

    public Rtc146818Tests() => _rtc = new Rtc146818(
        _time.Clock, new IrqLine(level => _edges += level ? 1 : 0), 256ul << 20, 5ul << 30);

    [Fact]
    public void ShowsTheWallClockInBcd()
    {
        Assert.Equal("07-06-05-04-04-03-26-20", Fields(0, 2, 4, 6, 7, 8, 9, 0x32));
        _time.Advance(53 * Second);
        Assert.Equal(0x00u, Read(0));
        Assert.Equal(0x07u, Read(2));
    }

    [Fact]
    public void BinaryAndTwelveHourModes()
    {
        _time.Advance(8 * 3600 * Second);
        Write(0x0B, 0x06);
        Assert.Equal(13u, Read(4));
        Write(0x0B, 0x04);
        Assert.Equal(0x81u, Read(4));
        Write(0x0B, 0x00);
        Assert.Equal(0x81u, Read(4));
        _time.Advance(11 * 3600 * Second);
        Assert.Equal(0x12u, Read(4));
    }

    [Fact]
    public void UpdateInProgressPrecedesTheChange()
    {
        Assert.Equal(0x26u, Read(0x0A));
        _time.AdvanceTo(Second - 100_000);
        Assert.Equal(0xA6u, Read(0x0A));
        Assert.Equal(0x07u, Read(0));
        _time.AdvanceTo(Second);
        Assert.Equal(0x26u, Read(0x0A));
        Assert.Equal(0x08u, Read(0));
    }

    [Fact]
    public void DateIsWrittenFieldByFieldUnderSet()
    {
        Write(0x0B, 0x82);
        Write(0, 0x58);
        Write(2, 0x59);
        Write(4, 0x23);
        Write(7, 0x31);
        Write(8, 0x12);
        Write(9, 0x99);
        Write(0x32, 0x19);
        _time.Advance(60 * Second);
        Assert.Equal(0x58u, Read(0));
        Write(0x0B, 0x02);
        _time.Advance(3 * Second);
        Assert.Equal("01-00-00-01-01-00-20", Fields(0, 2, 4, 7, 8, 9, 0x32));
    }

    [Fact]
    public void NonsenseDatesBecomeSomeDate()
    {
        Write(0x0B, 0x86);
        foreach (byte index in new byte[] { 0, 2, 4, 6, 7, 8, 9, 0x32 })
        {
            Write(index, 0xFF);
        }

        Write(0x0B, 0x06);
        Assert.Equal(31u, Read(7));
        Assert.Equal(12u, Read(8));
        Write(7, 0);
        Assert.Equal(1u, Read(7));
    }

    [Fact]
    public void PeriodicInterruptWaitsForRegisterC()
    {
        Write(0x0A, 0x26);
        Write(0x0B, 0x42);
        _time.Advance(10 * Second);
        Assert.Equal(1, _edges);
        Assert.Equal(0xD0u, Read(0x0C));
        int acknowledged = 0;
        for (int i = 0; i < 10_000; i++)
        {
            _time.Advance(100_000);
            acknowledged += (Read(0x0C) & 0xC0) == 0xC0 ? 1 : 0;
        }

        Assert.InRange(acknowledged, 1023, 1025);
    }

    [Fact]
    public void UpdateInterruptComesOnTheSecond()
    {
        Write(0x0B, 0x12);
        _time.AdvanceTo(Second - 1);
        Assert.Equal(0, _edges);
        _time.AdvanceTo(Second);
        Assert.Equal(1, _edges);
        Assert.Equal(0x90u, Read(0x0C) & 0xB0);
        Assert.Equal(0x00u, Read(0x0C) & 0x90);
    }

    [Fact]
    public void AlarmMatchesTimeOfDay()
    {
        Write(1, 0x00);
        Write(3, 0x30);
        Write(5, 0xC0);
        Write(0x0B, 0x22);
        _time.AdvanceTo(((23 * 60) + 52) * Second);
        Assert.Equal(0, _edges);
        _time.AdvanceTo(((23 * 60) + 53) * Second);
        Assert.Equal(1, _edges);
        Assert.Equal(0xA0u, Read(0x0C) & 0xA0);
        _time.Advance(3600 * Second);
        Assert.Equal(2, _edges);
    }

    [Fact]
    public void ImpossibleAlarmNeverComes()
    {
        Write(1, 0x61);
        Write(0x0B, 0x22);
        _time.Advance(100_000 * Second);
        Assert.Equal(0, _edges);
    }

    [Fact]
    public void MemorySizeBytes()
    {
        Assert.Equal(640u, Read(0x15) | (Read(0x16) << 8));
        Assert.Equal(0xFFFFu, Read(0x30) | (Read(0x31) << 8));
        Assert.Equal((256u - 16) * 16, Read(0x34) | (Read(0x35) << 8));
        Assert.Equal(5u << 14, Read(0x5B) | (Read(0x5C) << 8) | (Read(0x5D) << 16));
        Assert.Equal(0x80u, Read(0x0D));
    }

    [Fact]
    public void OtherBytesAreMemory()
    {
        Write(0x0F, 0x5A);
        Write(0xFF, 0xA5);
        Assert.Equal(0x5Au, Read(0x8F));
        Assert.Equal(0xA5u, Read(0x7F));
    }

    [Fact]
    public void StateSurvivesSaving()
    {
        Write(0x0B, 0x12);
        Write(0x40, 0x99);
        int edges = 0;
        Rtc146818 copy = new(_time.Clock, new IrqLine(level => edges += level ? 1 : 0), 0, 0);
        StateCopy.Transfer(_rtc, copy);
        _time.Advance(Second);
        Assert.Equal(1, edges);
        copy.WritePort(0x70, 1, 0x40);
        Assert.Equal(0x99u, copy.ReadPort(0x71, 1));
    }

    private uint Read(byte index)
    {
        _rtc.WritePort(0x70, 1, index);
        return _rtc.ReadPort(0x71, 1);
    }

    // The bytes at these indexes in hexadecimal, which is how BCD reads best.
    private string Fields(params byte[] indexes) =>
        System.BitConverter.ToString(System.Array.ConvertAll(indexes, index => (byte)Read(index)));

    private void Write(byte index, byte value)
    {
        _rtc.WritePort(0x70, 1, index);
        _rtc.WritePort(0x71, 1, value);
    }
}
