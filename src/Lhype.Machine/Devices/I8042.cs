// The 8042 keyboard controller with a keyboard that is connected and never typed on, and system control port
// A. It exists so that kernels which probe it get every answer at once instead of waiting for time-outs, and
// because the reset pulse is a common way to reboot. ACPI says there is no 8042, so ACPI kernels do not even
// probe. Sources: IBM PS/2 technical reference, keyboard and auxiliary device controller; PS/2 keyboard
// command set.

using System;
using System.IO;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Devices;

/// <summary>Ports 0x60, 0x64 and 0x92.</summary>
public sealed class I8042 : IPortDevice, ISaveable
{
    private const byte StatusOutputFull = 0x01;
    private const byte StatusSystem = 0x04;
    private const byte StatusCommand = 0x08;
    private const byte StatusNotLocked = 0x10;
    private const byte ModeKeyboardInterrupt = 0x01;
    private const byte ModeSystem = 0x04;
    private const byte ModeKeyboardDisabled = 0x10;
    private const byte ModeAuxDisabled = 0x20;
    private const byte ModeTranslate = 0x40;
    private const byte OutputPortReset = 0x01;
    private const byte OutputPortA20 = 0x02;
    private const byte KeyboardAck = 0xFA;
    private const byte KeyboardResend = 0xFE;

    private readonly IrqLine _irq;
    private readonly Action _reset;
    private readonly ByteRing _output = new(16);
    private byte _mode = ModeKeyboardInterrupt | ModeSystem | ModeAuxDisabled | ModeTranslate;
    private byte _outputPort = OutputPortReset | OutputPortA20;
    private byte _commandWaiting;
    private byte _keyboardWaiting;
    private byte _scanSet = 2;
    private bool _lastWasCommand;

    /// <summary>Makes the controller; <paramref name="irq"/> is the keyboard's interrupt,
    /// <paramref name="reset"/> is called when the guest pulses the CPU's reset line.</summary>
    public I8042(IrqLine irq, Action reset)
    {
        _irq = irq;
        _reset = reset;
    }

    /// <summary>Claims ports 0x60, 0x64 and 0x92.</summary>
    public void Attach(AddressBus bus)
    {
        bus.AddBytePorts(MemoryMap.KeyboardDataPort, 1, this);
        bus.AddBytePorts(MemoryMap.KeyboardCommandPort, 1, this);
        bus.AddBytePorts(MemoryMap.SystemControlPort, 1, this);
    }

    /// <summary>As after power-on and the firmware's self-test.</summary>
    public void Reset()
    {
        _output.Clear();
        _mode = ModeKeyboardInterrupt | ModeSystem | ModeAuxDisabled | ModeTranslate;
        _outputPort = OutputPortReset | OutputPortA20;
        _commandWaiting = 0;
        _keyboardWaiting = 0;
        _scanSet = 2;
        _lastWasCommand = false;
        UpdateIrq();
    }

    /// <inheritdoc/>
    public uint ReadPort(ushort port, int size)
    {
        switch (port)
        {
            case MemoryMap.KeyboardDataPort:
                // The line falls with every byte read, so that the next byte makes a new edge.
                _output.TryTake(out byte value);
                _irq.Set(false);
                UpdateIrq();
                return value;
            case MemoryMap.KeyboardCommandPort:
                int full = _output.Count == 0 ? 0 : StatusOutputFull;
                int command = _lastWasCommand ? StatusCommand : 0;
                return (uint)(full | command | (_mode & StatusSystem) | StatusNotLocked);
            default:
                // A20 is always on: nothing built after 1990 wants addresses to wrap at 1 MiB.
                return OutputPortA20;
        }
    }

    /// <inheritdoc/>
    public void WritePort(ushort port, int size, uint value)
    {
        switch (port)
        {
            case MemoryMap.KeyboardDataPort:
                _lastWasCommand = false;
                WriteData((byte)value);
                break;
            case MemoryMap.KeyboardCommandPort:
                _lastWasCommand = true;
                WriteCommand((byte)value);
                break;
            default:
                if ((value & 1) != 0)
                {
                    _reset();
                }

                break;
        }

        UpdateIrq();
    }

    /// <inheritdoc/>
    public void Save(BinaryWriter writer)
    {
        writer.Write([_mode, _outputPort, _commandWaiting, _keyboardWaiting, _scanSet]);
        writer.Write(_lastWasCommand);
        _output.Save(writer);
    }

    /// <inheritdoc/>
    public void Restore(BinaryReader reader)
    {
        _mode = reader.ReadByte();
        _outputPort = reader.ReadByte();
        _commandWaiting = reader.ReadByte();
        _keyboardWaiting = reader.ReadByte();
        _scanSet = reader.ReadByte();
        _lastWasCommand = reader.ReadBoolean();
        _output.Restore(reader);
        UpdateIrq();
    }

    private void WriteCommand(byte command)
    {
        _commandWaiting = 0;
        switch (command)
        {
            case 0x20:
                Answer(_mode);
                break;
            case 0x60 or 0xD1 or 0xD2 or 0xD3 or 0xD4:
                _commandWaiting = command;
                break;
            case 0xA7:
                _mode |= ModeAuxDisabled;
                break;
            case 0xA8:
                _mode &= unchecked((byte)~ModeAuxDisabled);
                break;
            case 0xA9:
                // Auxiliary interface test: clock line stuck low is how a controller without mouse port
                // answers.
                Answer(0x01);
                break;
            case 0xAA:
                _mode |= ModeSystem;
                Answer(0x55);
                break;
            case 0xAB:
                Answer(0x00);
                break;
            case 0xAD:
                _mode |= ModeKeyboardDisabled;
                break;
            case 0xAE:
                _mode &= unchecked((byte)~ModeKeyboardDisabled);
                break;
            case 0xC0:
                Answer(0x80);
                break;
            case 0xD0:
                Answer(_outputPort);
                break;
            case >= 0xF0 and <= 0xFF:
                // Pulses those of the output port's low four bits that are zero in the command; bit 0 is
                // reset.
                if ((command & 1) == 0)
                {
                    _reset();
                }

                break;
        }
    }

    private void WriteData(byte value)
    {
        byte command = _commandWaiting;
        _commandWaiting = 0;
        switch (command)
        {
            case 0x60:
                _mode = value;
                break;
            case 0xD1:
                _outputPort = (byte)(value | OutputPortA20);
                if ((value & OutputPortReset) == 0)
                {
                    _reset();
                }

                break;
            case 0xD2 or 0xD3:
                // 0xD3 should come back as auxiliary data. Without an auxiliary port it comes back as
                // keyboard data, which tells Linux so at once; no answer would cost it half a second.
                Answer(value);
                break;
            case 0xD4:
                break;
            default:
                _mode &= unchecked((byte)~ModeKeyboardDisabled);
                WriteKeyboard(value);
                break;
        }
    }

    private void WriteKeyboard(byte value)
    {
        byte command = _keyboardWaiting;
        _keyboardWaiting = 0;
        if (command != 0)
        {
            Answer(KeyboardAck);
            if (command == 0xF0 && value == 0)
            {
                Answer(_scanSet);
            }
            else if (command == 0xF0 && value <= 3)
            {
                _scanSet = value;
            }

            return;
        }

        switch (value)
        {
            case 0xED or 0xF0 or 0xF3:
                _keyboardWaiting = value;
                Answer(KeyboardAck);
                break;
            case 0xEE:
                Answer(0xEE);
                break;
            case 0xF2:
                // The identity of a standard keyboard, as it looks when scan codes are translated.
                Answer(KeyboardAck);
                Answer(0xAB);
                Answer((_mode & ModeTranslate) != 0 ? (byte)0x41 : (byte)0x83);
                break;
            case 0xF4 or 0xF5 or 0xF6 or (>= 0xF7 and <= 0xFA):
                Answer(KeyboardAck);
                break;
            case 0xFF:
                _scanSet = 2;
                Answer(KeyboardAck);
                Answer(0xAA);
                break;
            default:
                Answer(KeyboardResend);
                break;
        }
    }

    private void Answer(byte value) => _output.TryAdd(value);

    private void UpdateIrq() => _irq.Set(_output.Count != 0 && (_mode & ModeKeyboardInterrupt) != 0);
}
