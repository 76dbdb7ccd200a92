// ACPI fixed hardware: PM1a event and control registers, the 3.58 MHz PM timer, the power button, and the
// reset control register at 0xCF9. There is no SMM: the machine is in ACPI mode from the start (FADT SMI_CMD
// = 0). AcpiTables tells the guest where this is. Source: ACPI 6.4, 4.8.3.

using System;
using System.IO;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Devices;

/// <summary>Power management registers, 12 ports from MemoryMap.AcpiPmPort, and port 0xCF9.</summary>
public sealed class AcpiPm : IPortDevice, ISaveable
{
    /// <summary>Frequency of the PM timer in Hz (ACPI 6.4, 4.8.2.1).</summary>
    public const uint TimerHz = 3_579_545;

    /// <summary>SLP_TYP value of the S5 state, which \_S5 in the DSDT gives: soft off.</summary>
    public const byte SleepTypeOff = 5;

    /// <summary>Value for the reset control register that resets the machine (FADT RESET_VALUE).</summary>
    public const byte ResetValue = 0x06;

    private const ushort StatusTimer = 1 << 0;
    private const ushort StatusGlobal = 1 << 5;
    private const ushort StatusPowerButton = 1 << 8;
    private const ushort StatusRtc = 1 << 10;
    private const ushort StatusWake = 1 << 15;
    private const ushort EnableWritable = StatusTimer | StatusGlobal | StatusPowerButton | StatusRtc;
    private const ushort ControlSciEnable = 1 << 0;
    private const ushort ControlWritable = 0x1C02;
    private const ushort ControlSleepEnable = 1 << 13;
    private const uint TimerMask = 0xFF_FFFF;
    private const int TimerTopBit = 23;

    private readonly VirtualClock _clock;
    private readonly IrqLine _sci;
    private readonly Action _powerOff;
    private readonly Action _reset;
    private readonly ClockTimer _carry;
    private ushort _status;
    private ushort _enable;
    private ushort _control = ControlSciEnable;
    private ulong _carriesSeen;
    private byte _resetControl;

    /// <summary>Makes the block. <paramref name="sci"/> is level-triggered; <paramref name="powerOff"/> is
    /// called when the guest enters S5, <paramref name="reset"/> when it writes the reset register.</summary>
    public AcpiPm(VirtualClock clock, IrqLine sci, Action powerOff, Action reset)
    {
        _clock = clock;
        _sci = sci;
        _powerOff = powerOff;
        _reset = reset;
        _carry = clock.CreateTimer(Update);
    }

    private ulong TimerTicks => (ulong)((UInt128)_clock.NowNs * TimerHz / 1_000_000_000);

    /// <summary>Claims the register ports.</summary>
    public void Attach(AddressBus bus)
    {
        bus.AddPorts(MemoryMap.AcpiPmPort, MemoryMap.AcpiPmPortCount, this);
        bus.AddPorts(MemoryMap.ResetControlPort, 1, this);
    }

    /// <summary>True if the guest wants to hear of the power button. Guests forget a press from
    /// before.</summary>
    public bool PowerButtonEnabled => (_enable & StatusPowerButton) != 0;

    /// <summary>Presses the power button: the guest's way to be asked to shut down.</summary>
    public void PressPowerButton()
    {
        _status |= StatusPowerButton;
        Update();
    }

    /// <summary>Registers as after power-on.</summary>
    public void Reset()
    {
        _status = 0;
        _enable = 0;
        _control = ControlSciEnable;
        _carriesSeen = TimerTicks >> TimerTopBit;
        _resetControl = 0;
        Update();
    }

    /// <inheritdoc/>
    public uint ReadPort(ushort port, int size)
    {
        if (port == MemoryMap.ResetControlPort)
        {
            return _resetControl;
        }

        // Any access size within the block works, as on chips that decode bytes.
        int offset = port - MemoryMap.AcpiPmPort;
        ulong low = (uint)(_enable << 16) | (uint)CurrentStatus() | ((ulong)_control << 32);
        uint value = offset < 8
            ? (uint)(low >> (8 * offset))
            : (uint)(TimerTicks & TimerMask) >> (8 * (offset - 8));
        return value & (uint.MaxValue >> (32 - (8 * size)));
    }

    /// <inheritdoc/>
    public void WritePort(ushort port, int size, uint value)
    {
        if (port == MemoryMap.ResetControlPort)
        {
            WriteResetControl((byte)value);
            return;
        }

        for (int i = 0; i < size; i++)
        {
            WriteByte(port - MemoryMap.AcpiPmPort + i, (byte)(value >> (8 * i)));
        }

        Update();
    }

    /// <inheritdoc/>
    public void Save(BinaryWriter writer)
    {
        writer.Write(_status);
        writer.Write(_enable);
        writer.Write(_control);
        writer.Write(_carriesSeen);
        writer.Write(_resetControl);
    }

    /// <inheritdoc/>
    public void Restore(BinaryReader reader)
    {
        _status = reader.ReadUInt16();
        _enable = (ushort)(reader.ReadUInt16() & EnableWritable);
        _control = (ushort)((reader.ReadUInt16() & ControlWritable) | ControlSciEnable);
        _carriesSeen = reader.ReadUInt64();
        _resetControl = reader.ReadByte();
        Update();
    }

    private void WriteByte(int offset, byte value)
    {
        switch (offset)
        {
            case 0:
                ClearStatus(value);
                break;
            case 1:
                ClearStatus((ushort)(value << 8));
                break;
            case 2:
                _enable = (ushort)(((_enable & 0xFF00) | value) & EnableWritable);
                break;
            case 3:
                _enable = (ushort)(((_enable & 0x00FF) | (value << 8)) & EnableWritable);
                break;
            case 4:
                _control = (ushort)((_control & 0xFF00) | (value & ControlWritable) | ControlSciEnable);
                break;
            case 5:
                WriteControlHigh(value);
                break;
        }
    }

    private void WriteControlHigh(byte value)
    {
        _control = (ushort)((_control & 0x00FF) | ((value << 8) & ControlWritable));
        if (((value << 8) & ControlSleepEnable) == 0)
        {
            return;
        }

        if (((value >> 2) & 7) == SleepTypeOff)
        {
            _powerOff();
        }
        else
        {
            // No other sleep state is described; a guest that tries one wakes up at once.
            _status |= StatusWake;
        }
    }

    private void ClearStatus(ushort ones)
    {
        _status = CurrentStatus();
        _carriesSeen = TimerTicks >> TimerTopBit;
        _status &= (ushort)~ones;
    }

    // The timer status rises whenever the timer's top bit changes, which here is noticed when somebody looks.
    private ushort CurrentStatus() =>
        (ushort)(_status | (TimerTicks >> TimerTopBit != _carriesSeen ? StatusTimer : 0));

    private void Update()
    {
        _sci.Set((CurrentStatus() & _enable) != 0);
        if ((_enable & StatusTimer) == 0 || (CurrentStatus() & StatusTimer) != 0)
        {
            _carry.Disarm();
            return;
        }

        UInt128 next = (UInt128)((TimerTicks >> TimerTopBit) + 1) << TimerTopBit;
        _carry.Arm((ulong)(((next * 1_000_000_000) + TimerHz - 1) / TimerHz));
    }

    // Bit 2 going from 0 to 1 resets the CPU; bit 1 chooses a hard reset, which is the only kind here.
    private void WriteResetControl(byte value)
    {
        bool starts = (value & ~_resetControl & 0x04) != 0;
        _resetControl = (byte)(value & 0x0E);
        if (starts)
        {
            _reset();
        }
    }
}
