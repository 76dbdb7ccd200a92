// The 8042 in the order Linux's i8042 and atkbd drivers talk to it, and the three ways to reset.

using Lhype.Machine.Bus;
using Lhype.Machine.Devices;
using Xunit;

namespace Lhype.Tests.Machine.Devices;

public sealed class I8042Tests
{
    private readonly I8042 _chip;
    private int _edges;
    private int _resets;

    public I8042Tests() => _chip = new I8042(new IrqLine(level => _edges += level ? 1 : 0), () => _resets++);

    [Fact]
    public void ControllerChecksPass()
    {
        Assert.Equal(0u, Status() & 1);
        Command(0x20);
        uint mode = Take();
        Assert.Equal(0x65u, mode);
        Command(0x60);
        Data(0x44);
        Command(0x20);
        Assert.Equal(0x44u, Take());
        Command(0xAA);
        Assert.Equal(0x55u, Take());
        Command(0xAB);
        Assert.Equal(0x00u, Take());
    }

    [Fact]
    public void MissingMouseIsKnownAtOnce()
    {
        Command(0xD3);
        Data(0x5A);
        Assert.Equal(0x01u, Status() & 0x21);
        Take();
        Command(0xA9);
        Assert.NotEqual(0x00u, Take());
    }

    [Fact]
    public void KeyboardAnswersItsCommands()
    {
        Data(0xFF);
        Assert.Equal(0xFAu, Take());
        Assert.Equal(0xAAu, Take());
        Data(0xF2);
        Assert.Equal(0xFAu, Take());
        Assert.Equal(0xABu, Take());
        Assert.Equal(0x41u, Take());
        Data(0xED);
        Assert.Equal(0xFAu, Take());
        Data(0x07);
        Assert.Equal(0xFAu, Take());
        Data(0xF0);
        Take();
        Data(0x00);
        Assert.Equal(0xFAu, Take());
        Assert.Equal(0x02u, Take());
        Data(0xFD);
        Assert.Equal(0xFEu, Take());
        Assert.Equal(0u, Status() & 1);
    }

    [Fact]
    public void EveryByteMakesAnEdge()
    {
        Data(0xFF);
        Assert.Equal(1, _edges);
        Command(0xAE);
        Assert.Equal(1, _edges);
        Take();
        Assert.Equal(2, _edges);
        Take();
        Assert.Equal(2, _edges);
    }

    [Fact]
    public void ResetsByPulseOutputPortAndPortA()
    {
        Command(0xFE);
        Assert.Equal(1, _resets);
        Command(0xFF);
        Assert.Equal(1, _resets);
        Command(0xD1);
        Data(0xDE);
        Assert.Equal(2, _resets);
        _chip.WritePort(0x92, 1, 0x02);
        Assert.Equal(2, _resets);
        _chip.WritePort(0x92, 1, 0x03);
        Assert.Equal(3, _resets);
        Assert.Equal(0x02u, _chip.ReadPort(0x92, 1));
    }

    [Fact]
    public void FloodedControllerDropsAnswers()
    {
        for (int i = 0; i < 1000; i++)
        {
            Data(0xFF);
        }

        int count = 0;
        while ((Status() & 1) != 0)
        {
            Take();
            count++;
        }

        Assert.Equal(16, count);
    }

    [Fact]
    public void StateSurvivesSaving()
    {
        Data(0xF2);
        I8042 copy = new(new IrqLine(_ => { }), () => { });
        StateCopy.Transfer(_chip, copy);
        Assert.Equal(0xFAu, copy.ReadPort(0x60, 1));
        Assert.Equal(0xABu, copy.ReadPort(0x60, 1));
    }

    [Fact]
    public void DebugExitShiftsTheValue()
    {
        int status = -1;
        DebugExit port = new(value => status = value);
        port.WritePort(0xF4, 4, 0x10);
        Assert.Equal(0x21, status);
    }

    private uint Status() => _chip.ReadPort(0x64, 1);

    private uint Take() => _chip.ReadPort(0x60, 1);

    private void Command(byte value) => _chip.WritePort(0x64, 1, value);

    private void Data(byte value) => _chip.WritePort(0x60, 1, value);
}
