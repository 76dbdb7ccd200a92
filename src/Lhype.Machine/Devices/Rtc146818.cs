// The MC146818 real-time clock with 128 bytes of battery-backed memory ("CMOS"). Kernels read the date here
// at boot; some ask it how much memory there is. Time is computed from the machine's wall clock when looked
// at; one ClockTimer waits for the next event, and only while an interrupt is enabled. Source: Motorola
// MC146818A data sheet; memory size bytes as in Ralf Brown's CMOS list.

using System;
using System.IO;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Devices;

/// <summary>The clock, its three interrupts, and the memory behind ports 0x70 and 0x71.</summary>
public sealed class Rtc146818 : IPortDevice, ISaveable
{
    /// <summary>Where the century is kept; the FADT tells the guest.</summary>
    public const byte CenturyIndex = 0x32;

    private const int MemoryLength = 128;
    private const long SecondNs = 1_000_000_000;

    // Days counted from 0001-01-01: 1970-01-01 and 9999-12-31.
    private const int UnixEpochDay = 719_162;
    private const int LastDay = 3_652_058;

    // Update in progress is shown this long before the registers change (data sheet, figure 16).
    private const long UpdateWarningNs = 244_000;

    private const byte RegisterA = 0x0A;
    private const byte RegisterB = 0x0B;
    private const byte RegisterC = 0x0C;
    private const byte RegisterD = 0x0D;
    private const byte UpdateInProgress = 0x80;
    private const byte SetBit = 0x80;
    private const byte PeriodicBit = 0x40;
    private const byte AlarmBit = 0x20;
    private const byte UpdateBit = 0x10;
    private const byte BinaryBit = 0x04;
    private const byte Hour24Bit = 0x02;

    // Alarm fields that match every value, or none.
    private const int Any = -1;
    private const int Never = -2;

    private readonly VirtualClock _clock;
    private readonly IrqLine _irq;
    private readonly ClockTimer _timer;
    private readonly byte[] _memory = new byte[MemoryLength];
    private byte _index;
    private byte _flags;
    private long _offsetNs;
    private long _checkedNs;

    /// <summary>Makes the chip; <paramref name="irq"/> is IRQ 8. The memory size bytes tell of
    /// <paramref name="lowBytes"/> of RAM below 4 GiB and <paramref name="highBytes"/> above.</summary>
    public Rtc146818(VirtualClock clock, IrqLine irq, ulong lowBytes, ulong highBytes)
    {
        _clock = clock;
        _irq = irq;
        _timer = clock.CreateTimer(Update);
        _checkedNs = TimeNs;
        _memory[RegisterA] = 0x26;
        _memory[RegisterB] = Hour24Bit;
        // Equipment: a coprocessor, no floppy, no display.
        _memory[0x14] = 0x02;
        SetMemorySize(lowBytes, highBytes);
    }

    // The guest's idea of time: nanoseconds since 1970. While SET is on, it stands still.
    private long TimeNs => Halted ? _checkedNs : _clock.WallNs + _offsetNs;

    private bool Halted => (_memory[RegisterB] & SetBit) != 0;

    // Rates 1 and 2 are odd ones for the usual 32.768 kHz base: they equal 8 and 9 (data sheet, table 5).
    private long PeriodNs
    {
        get
        {
            int rate = _memory[RegisterA] & 15;
            return rate == 0 ? 0 : SecondNs / (32768 >> ((rate < 3 ? rate + 7 : rate) - 1));
        }
    }

    /// <summary>Claims ports 0x70 and 0x71.</summary>
    public void Attach(AddressBus bus) => bus.AddBytePorts(MemoryMap.RtcPort, 2, this);

    /// <summary>The RESET pin: interrupts off, flags clear; time and memory keep (data sheet,
    /// "RESET").</summary>
    public void Reset()
    {
        _memory[RegisterB] &= BinaryBit | Hour24Bit | 0x01;
        _flags = 0;
        _index = 0;
        Update();
    }

    /// <inheritdoc/>
    public uint ReadPort(ushort port, int size)
    {
        if (port == MemoryMap.RtcPort)
        {
            // The index cannot be read back.
            return 0xFF;
        }

        switch (_index)
        {
            case <= 9 and not (1 or 3 or 5):
            case CenturyIndex:
                return ReadTime(_index);
            case RegisterA:
                return (uint)(_memory[RegisterA] | (AboutToUpdate() ? UpdateInProgress : 0));
            case RegisterC:
                Update();
                byte flags = _flags;
                _flags = 0;
                Update();
                return flags;
            case RegisterD:
                // The battery is good.
                return 0x80;
            default:
                return _memory[_index];
        }
    }

    /// <inheritdoc/>
    public void WritePort(ushort port, int size, uint value)
    {
        if (port == MemoryMap.RtcPort)
        {
            // Bit 7 masks NMI, which nothing on this board raises.
            _index = (byte)(value & 0x7F);
            return;
        }

        byte data = (byte)value;
        switch (_index)
        {
            case <= 9 and not (1 or 3 or 5):
            case CenturyIndex:
                WriteTime(_index, data);
                break;
            case RegisterA:
                _memory[RegisterA] = (byte)(data & 0x7F);
                break;
            case RegisterB:
                WriteRegisterB(data);
                break;
            case RegisterC:
            case RegisterD:
                break;
            default:
                _memory[_index] = data;
                break;
        }

        Update();
    }

    /// <inheritdoc/>
    public void Save(BinaryWriter writer)
    {
        writer.Write(_memory);
        writer.Write(_index);
        writer.Write(_flags);
        writer.Write(_offsetNs);
        writer.Write(_checkedNs);
    }

    /// <inheritdoc/>
    public void Restore(BinaryReader reader)
    {
        reader.ReadExactly(_memory);
        _index = (byte)(reader.ReadByte() & 0x7F);
        _flags = reader.ReadByte();
        _offsetNs = reader.ReadInt64();
        _checkedNs = reader.ReadInt64();
        Update();
    }

    private void WriteRegisterB(byte value)
    {
        long now = TimeNs;
        bool wasHalted = Halted;

        // SET stops the update cycle and turns off its interrupt; time goes on from what was written.
        _memory[RegisterB] = (value & SetBit) != 0 ? (byte)(value & ~UpdateBit) : value;
        if (Halted && !wasHalted)
        {
            _checkedNs = now;
            TimeToRegisters();
        }
        else if (!Halted && wasHalted)
        {
            // The divider starts afresh: the first update comes a second later.
            _checkedNs = RegistersToTime() / SecondNs * SecondNs;
            _offsetNs = _checkedNs - _clock.WallNs;
        }
    }

    private bool AboutToUpdate() => !Halted && (TimeNs % SecondNs) >= SecondNs - UpdateWarningNs;

    // Brings the flags of register C up to date with what happened since the last look, and arms the timer
    // for the next event an interrupt waits for. Events missed while nobody looked count once.
    private void Update()
    {
        long now = TimeNs;
        if (!Halted && now > _checkedNs)
        {
            if (PeriodNs != 0 && now / PeriodNs != _checkedNs / PeriodNs)
            {
                _flags |= PeriodicBit;
            }

            if (now / SecondNs != _checkedNs / SecondNs)
            {
                _flags |= UpdateBit;
                if (NextAlarm(_checkedNs) <= now)
                {
                    _flags |= AlarmBit;
                }
            }
        }

        if (!Halted)
        {
            _checkedNs = now;
        }

        byte enabled = (byte)(_memory[RegisterB] & (PeriodicBit | AlarmBit | UpdateBit));
        _flags = (byte)((_flags & 0x70) | ((_flags & enabled) != 0 ? 0x80 : 0));
        _irq.Set((_flags & 0x80) != 0);
        Arm(now, (byte)(enabled & ~_flags));
    }

    private void Arm(long now, byte waiting)
    {
        long next = long.MaxValue;
        if ((waiting & PeriodicBit) != 0 && PeriodNs != 0)
        {
            next = ((now / PeriodNs) + 1) * PeriodNs;
        }

        if ((waiting & UpdateBit) != 0)
        {
            next = Math.Min(next, ((now / SecondNs) + 1) * SecondNs);
        }

        if ((waiting & AlarmBit) != 0)
        {
            next = Math.Min(next, NextAlarm(now));
        }

        if (Halted || next == long.MaxValue)
        {
            _timer.Disarm();
        }
        else
        {
            _timer.Arm(_clock.NowNs + (ulong)(next - now));
        }
    }

    // The first second after `from` at which the alarm matches, or long.MaxValue. An alarm byte of 0xC0 or
    // more matches everything.
    private long NextAlarm(long from)
    {
        int second = AlarmField(1, 59);
        int minute = AlarmField(3, 59);
        int hour = AlarmField(5, 23);
        if (second == Never || minute == Never || hour == Never)
        {
            return long.MaxValue;
        }

        long time = (from / SecondNs) + 1;
        for (int step = 0; step < 24 + 60 + 60; step++)
        {
            long ofDay = time % 86400;
            if (hour != Any && ofDay / 3600 != hour)
            {
                time += 3600 - (ofDay % 3600);
            }
            else if (minute != Any && ofDay / 60 % 60 != minute)
            {
                time += 60 - (ofDay % 60);
            }
            else if (second != Any && ofDay % 60 != second)
            {
                time++;
            }
            else
            {
                return time * SecondNs;
            }
        }

        return long.MaxValue;
    }

    private int AlarmField(int index, int max)
    {
        byte raw = _memory[index];
        if (raw >= 0xC0)
        {
            return Any;
        }

        int value = index == 5 ? DecodeHour(raw) : Decode(raw);
        return value <= max ? value : Never;
    }

    // While SET is on the registers are plain memory, so that a date can be written field by field.
    private byte ReadTime(byte index)
    {
        if (!Halted)
        {
            TimeToRegisters();
        }

        return _memory[index];
    }

    private void WriteTime(byte index, byte raw)
    {
        if (Halted)
        {
            _memory[index] = raw;
            return;
        }

        TimeToRegisters();
        _memory[index] = raw;
        long set = RegistersToTime();
        _offsetNs += set - TimeNs;
        _checkedNs = TimeNs;
    }

    private void TimeToRegisters()
    {
        long seconds = TimeNs / SecondNs;
        DateOnly date = DateOnly.FromDayNumber((int)Math.Min(UnixEpochDay + (seconds / 86400), LastDay));
        int ofDay = (int)(seconds % 86400);
        _memory[0] = Encode(ofDay % 60);
        _memory[2] = Encode(ofDay / 60 % 60);
        _memory[4] = EncodeHour(ofDay / 3600);
        _memory[6] = Encode((int)date.DayOfWeek + 1);
        _memory[7] = Encode(date.Day);
        _memory[8] = Encode(date.Month);
        _memory[9] = Encode(date.Year % 100);
        _memory[CenturyIndex] = ToBcd(date.Year / 100);
    }

    // A field out of range counts as its nearest allowed value, so that any bytes make some date. The
    // fraction of the present second is kept.
    private long RegistersToTime()
    {
        int year = Math.Clamp((FromBcd(_memory[CenturyIndex]) * 100) + Decode(_memory[9]), 1970, 2199);
        int month = Math.Clamp(Decode(_memory[8]), 1, 12);
        int day = Math.Clamp(Decode(_memory[7]), 1, DaysIn(year, month));
        long days = new DateOnly(year, month, day).DayNumber - UnixEpochDay;
        long hours = Math.Min(DecodeHour(_memory[4]), 23);
        long minutes = Math.Min(Decode(_memory[2]), 59);
        long seconds = Math.Min(Decode(_memory[0]), 59);
        return (((((((days * 24) + hours) * 60) + minutes) * 60) + seconds) * SecondNs) + (TimeNs % SecondNs);
    }

    private byte Encode(int value) => (_memory[RegisterB] & BinaryBit) != 0 ? (byte)value : ToBcd(value);

    private int Decode(byte raw) => (_memory[RegisterB] & BinaryBit) != 0 ? raw : FromBcd(raw);

    // In 12-hour mode the hours are 12, 1 ... 11 and bit 7 means afternoon.
    private byte EncodeHour(int hour)
    {
        if ((_memory[RegisterB] & Hour24Bit) != 0)
        {
            return Encode(hour);
        }

        byte twelve = Encode(hour % 12 == 0 ? 12 : hour % 12);
        return (byte)(twelve | (hour >= 12 ? 0x80 : 0));
    }

    private int DecodeHour(byte raw)
    {
        if ((_memory[RegisterB] & Hour24Bit) != 0)
        {
            return Decode(raw);
        }

        return (Decode((byte)(raw & 0x7F)) % 12) + ((raw & 0x80) != 0 ? 12 : 0);
    }

    private static int DaysIn(int year, int month) =>
        new DateOnly(year, month, 1).AddMonths(1).AddDays(-1).Day;

    private static byte ToBcd(int value) => (byte)((value / 10 << 4) | (value % 10));

    private static int FromBcd(byte raw) => ((raw >> 4) * 10) + (raw & 15);

    private void SetMemorySize(ulong lowBytes, ulong highBytes)
    {
        PutWord(0x15, 640);
        ulong extendedKb = lowBytes > 1 << 20 ? Math.Min((lowBytes >> 10) - 1024, 0xFFFF) : 0;
        PutWord(0x17, extendedKb);
        PutWord(0x30, extendedKb);
        PutWord(0x34, lowBytes > 16 << 20 ? (lowBytes - (16 << 20)) >> 16 : 0);
        ulong high = highBytes >> 16;
        PutWord(0x5B, high & 0xFFFF);
        _memory[0x5D] = (byte)(high >> 16);
    }

    private void PutWord(int index, ulong value)
    {
        _memory[index] = (byte)value;
        _memory[index + 1] = (byte)(value >> 8);
    }
}
