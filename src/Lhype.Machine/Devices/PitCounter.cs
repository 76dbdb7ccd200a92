// One counter of the 8254, in terms of input clock ticks: six modes, binary or BCD, count and status latches.
// Owned by Pit8254, which passes the present tick to every call; between calls nothing happens. Source: Intel
// 8254 data sheet (order 231164), "Mode definitions" and "Read operations".

using System.IO;

namespace Lhype.Machine.Devices;

/// <summary>A 16-bit down-counter of the 8254. All times are input clock ticks since machine start.</summary>
internal sealed class PitCounter
{
    private byte _mode;
    private byte _access = 3;
    private bool _bcd;
    private bool _gate = true;
    private bool _loaded;
    private bool _counting;
    private uint _reload = 0x10000;
    private uint _pendingReload;
    private ulong _switchTick;
    private ulong _start;
    private ulong _pausedElapsed;
    private byte _writeLow;
    private bool _writeHighNext;
    private bool _readHighNext;
    private bool _countLatched;
    private ushort _latchedCount;
    private bool _statusLatched;
    private byte _latchedStatus;

    private bool Periodic => _mode is 2 or 3;

    // Mode 1 and 5 start at a rising gate; the others count while the gate is high.
    private bool GateStarted => _mode is 1 or 5;

    private uint Modulus => _bcd ? 10_000u : 0x10000u;

    public void Reset()
    {
        _mode = 0;
        _access = 3;
        _bcd = false;
        _gate = true;
        _loaded = false;
        _counting = false;
        _reload = 0x10000;
        _pendingReload = 0;
        _start = 0;
        _pausedElapsed = 0;
        _writeHighNext = false;
        _readHighNext = false;
        _countLatched = false;
        _statusLatched = false;
    }

    /// <summary>A control word for this counter: mode, access and number base; the count must
    /// follow.</summary>
    public void SetControl(byte value, ulong now)
    {
        int mode = (value >> 1) & 7;
        _mode = (byte)(mode > 5 ? mode - 4 : mode);
        _access = (byte)((value >> 4) & 3);
        _bcd = (value & 1) != 0;
        _loaded = false;
        _counting = false;
        _start = now;
        _pausedElapsed = 0;
        _pendingReload = 0;
        _writeHighNext = false;
        _readHighNext = false;
        _countLatched = false;
        _statusLatched = false;
    }

    public void Write(byte value, ulong now)
    {
        if (_access == 3 && !_writeHighNext)
        {
            _writeLow = value;
            _writeHighNext = true;
            // In mode 0 the first byte stops counting and drops OUT.
            if (_mode == 0)
            {
                _loaded = false;
                _counting = false;
                _pausedElapsed = 0;
            }

            return;
        }

        _writeHighNext = false;
        Settle(now);
        uint raw =
            _access switch { 1 => value, 2 => (uint)value << 8, _ => (uint)((value << 8) | _writeLow) };
        Load(raw, now);
    }

    public byte Read(ulong now)
    {
        Settle(now);
        if (_statusLatched)
        {
            _statusLatched = false;
            return _latchedStatus;
        }

        ushort count = _countLatched ? _latchedCount : Count(now);
        bool high = _access == 2 || (_access == 3 && _readHighNext);
        if (_access == 3)
        {
            _readHighNext = !_readHighNext;
        }

        if (_access != 3 || high)
        {
            _countLatched = false;
        }

        return (byte)(high ? count >> 8 : count);
    }

    /// <summary>Counter latch command; ignored while an earlier latch is unread.</summary>
    public void LatchCount(ulong now)
    {
        Settle(now);
        if (!_countLatched)
        {
            _latchedCount = Count(now);
            _countLatched = true;
        }
    }

    public void ReadBack(bool latchCount, bool latchStatus, ulong now)
    {
        if (latchCount)
        {
            LatchCount(now);
        }

        if (latchStatus && !_statusLatched)
        {
            int pins = (Output(now) ? 0x80 : 0) | (_loaded ? 0 : 0x40);
            _latchedStatus = (byte)(pins | (_access << 4) | (_mode << 1) | (_bcd ? 1 : 0));
            _statusLatched = true;
        }
    }

    /// <summary>Drives the gate input.</summary>
    public void SetGate(bool gate, ulong now)
    {
        if (gate == _gate)
        {
            return;
        }

        Settle(now);
        if (gate && (GateStarted || Periodic))
        {
            Trigger(now);
        }
        else if (gate)
        {
            _start = now - _pausedElapsed;
            _counting = _loaded;
        }
        else if (!GateStarted)
        {
            _pausedElapsed = Elapsed(now);
            _counting = false;
        }

        _gate = gate;
    }

    /// <summary>The OUT pin. With the gate low in modes 2 and 3 it is high.</summary>
    public bool Output(ulong now)
    {
        Settle(now);
        ulong elapsed = Elapsed(now);
        switch (_mode)
        {
            case 0:
                return _loaded && elapsed >= _reload;
            case 1:
                return !_counting || elapsed >= _reload;
            case 2:
                return !_counting || Phase(now) != _reload - 1;
            case 3:
                return !_counting || Phase(now) < (_reload + 1) / 2;
            default:
                return !_counting || elapsed != _reload;
        }
    }

    /// <summary>The first tick after <paramref name="now"/> at which OUT rises, or ulong.MaxValue.</summary>
    public ulong NextRisingEdge(ulong now)
    {
        Settle(now);
        if (!_counting)
        {
            return ulong.MaxValue;
        }

        if (Periodic)
        {
            return _start + ((((now - _start) / _reload) + 1) * _reload);
        }

        // Modes 4 and 5 strobe low for one tick at the end; the rest rise when the count is used up.
        ulong end = _start + _reload + (_mode >= 4 ? 1u : 0u);
        return end > now ? end : ulong.MaxValue;
    }

    public void Save(BinaryWriter writer)
    {
        writer.Write([_mode, _access, _writeLow, _latchedStatus]);
        writer.Write(_latchedCount);
        writer.Write(_reload);
        writer.Write(_pendingReload);
        writer.Write(_switchTick);
        writer.Write(_start);
        writer.Write(_pausedElapsed);
        int flags = (_bcd ? 1 : 0) | (_gate ? 2 : 0) | (_loaded ? 4 : 0) | (_counting ? 8 : 0)
            | (_writeHighNext ? 16 : 0) | (_readHighNext ? 32 : 0) | (_countLatched ? 64 : 0)
            | (_statusLatched ? 128 : 0);
        writer.Write((byte)flags);
    }

    public void Restore(BinaryReader reader)
    {
        _mode = reader.ReadByte();
        _access = reader.ReadByte();
        _writeLow = reader.ReadByte();
        _latchedStatus = reader.ReadByte();
        _latchedCount = reader.ReadUInt16();
        _reload = reader.ReadUInt32();
        _pendingReload = reader.ReadUInt32();
        _switchTick = reader.ReadUInt64();
        _start = reader.ReadUInt64();
        _pausedElapsed = reader.ReadUInt64();
        int flags = reader.ReadByte();
        if (_mode > 5 || _access > 3 || _reload is 0 or > 0x10000 || _pendingReload > 0x10000)
        {
            throw new InvalidDataException("The saved 8254 state is not valid.");
        }

        _bcd = (flags & 1) != 0;
        _gate = (flags & 2) != 0;
        _loaded = (flags & 4) != 0;
        _counting = (flags & 8) != 0;
        _writeHighNext = (flags & 16) != 0;
        _readHighNext = (flags & 32) != 0;
        _countLatched = (flags & 64) != 0;
        _statusLatched = (flags & 128) != 0;
    }

    private void Load(uint raw, ulong now)
    {
        uint count = _bcd ? FromBcd(raw) : raw;
        if (count == 0)
        {
            count = Modulus;
        }

        if (GateStarted)
        {
            // Used from the next gate trigger on; a running one-shot is not disturbed.
            _pendingReload = count;
            if (!_counting)
            {
                _reload = count;
            }

            _loaded = true;
            return;
        }

        if (Periodic && _counting)
        {
            // The period that is running ends as it was programmed.
            _switchTick = _start + ((((now - _start) / _reload) + 1) * _reload);
            _pendingReload = count;
            return;
        }

        _reload = count;
        _start = now;
        _pausedElapsed = 0;
        _loaded = true;
        _counting = _gate;
    }

    // Lets a count written in mode 2 or 3 take effect once the old period is over.
    private void Settle(ulong now)
    {
        if (_pendingReload != 0 && Periodic && now >= _switchTick)
        {
            _start = _switchTick;
            _reload = _pendingReload;
            _pendingReload = 0;
        }
    }

    private void Trigger(ulong now)
    {
        if (!_loaded)
        {
            return;
        }

        if (_pendingReload != 0)
        {
            _reload = _pendingReload;
            _pendingReload = 0;
        }

        _start = now;
        _counting = true;
    }

    private ulong Elapsed(ulong now) => _counting ? now - _start : _pausedElapsed;

    private uint Phase(ulong now) => (uint)((now - _start) % _reload);

    private ushort Count(ulong now)
    {
        uint count;
        if (Periodic)
        {
            uint phase = _counting ? Phase(now) : (uint)(_pausedElapsed % _reload);
            if (_mode == 2)
            {
                count = _reload - phase;
            }
            else
            {
                // Mode 3 counts down by two, twice per period: an odd count's high half is one tick longer.
                uint half = (_reload + 1) / 2;
                uint within = phase < half ? phase : phase - half;
                count = (_reload & ~1u) - (2 * within);
            }
        }
        else
        {
            // After the end the counter goes on from its largest value.
            count = (uint)((_reload + Modulus - (Elapsed(now) % Modulus)) % Modulus);
        }

        count %= Modulus;
        return (ushort)(_bcd ? ToBcd(count) : count);
    }

    private static uint FromBcd(uint raw) =>
        ((raw >> 12) * 1000) + (((raw >> 8) & 15) * 100) + (((raw >> 4) & 15) * 10) + (raw & 15);

    private static uint ToBcd(uint value) =>
        (value / 1000 % 10 << 12) | (value / 100 % 10 << 8) | (value / 10 % 10 << 4) | (value % 10);
}
