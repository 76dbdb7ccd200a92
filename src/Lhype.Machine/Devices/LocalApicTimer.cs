// The timer inside a local APIC: one-shot, periodic, or waiting for a TSC value. Owned by LocalApic, which
// keeps the registers and turns an expiry into an interrupt. Counts are computed from the clock when looked
// at. Source: SDM vol. 3, 11.5.4.

using System;
using System.IO;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Devices;

/// <summary>The APIC timer.</summary>
internal sealed class LocalApicTimer
{
    private const int ModeOneShot = 0;
    private const int ModePeriodic = 1;
    private const int ModeTscDeadline = 2;

    // A deadline further away is never reached; the limit keeps the conversion to nanoseconds from
    // overflowing.
    private const ulong FarSeconds = 10ul * 365 * 24 * 3600;

    // Length of an input clock tick; a whole number, so that counts and nanoseconds convert exactly.
    private const ulong TickNs = 1_000_000_000 / LocalApic.TimerHz;

    private readonly VirtualClock _clock;
    private readonly ClockTimer _timer;
    private readonly Action _fired;
    private int _mode;
    private uint _divide;
    private uint _initialCount;
    private ulong _startNs;
    private ulong _tscDeadline;

    public LocalApicTimer(VirtualClock clock, Action fired)
    {
        _clock = clock;
        _fired = fired;
        _timer = clock.CreateTimer(Expired);
    }

    /// <summary>The divide configuration register; changing it restarts the present period.</summary>
    public uint Divide
    {
        get => _divide;
        set
        {
            uint left = CurrentCount;
            _divide = value;
            if (_initialCount != 0 && _mode != ModeTscDeadline)
            {
                _startNs = _clock.NowNs - ((_initialCount - (ulong)left) * CountNs);
                ArmCount(running: left != 0);
            }
        }
    }

    /// <summary>The initial count register; writing it starts the timer, zero stops it.</summary>
    public uint InitialCount
    {
        get => _initialCount;
        set
        {
            // Without effect in TSC-deadline mode (11.5.4.1).
            if (_mode != ModeTscDeadline)
            {
                _initialCount = value;
                _startNs = _clock.NowNs;
                ArmCount(running: true);
            }
        }
    }

    /// <summary>What is left of the count.</summary>
    public uint CurrentCount
    {
        get
        {
            if (_initialCount == 0 || _mode == ModeTscDeadline)
            {
                return 0;
            }

            ulong passed = (_clock.NowNs - _startNs) / CountNs;
            if (_mode == ModePeriodic)
            {
                return _initialCount - (uint)(passed % _initialCount);
            }

            return passed >= _initialCount ? 0 : _initialCount - (uint)passed;
        }
    }

    /// <summary>IA32_TSC_DEADLINE: reads as zero unless armed, writes count only in its mode.</summary>
    public ulong TscDeadline
    {
        get => _tscDeadline;
        set
        {
            if (_mode == ModeTscDeadline)
            {
                _tscDeadline = value;
                ArmDeadline();
            }
        }
    }

    // Nanoseconds per count. Encodings 000-110 divide by 2 to 128, 111 by one; bit 2 of the register is not
    // part of the number.
    private ulong CountNs => TickNs << (int)((((_divide & 3) | ((_divide & 8) >> 1)) + 1) & 7);

    public void Reset()
    {
        _mode = ModeOneShot;
        _divide = 0;
        _initialCount = 0;
        _startNs = 0;
        _tscDeadline = 0;
        _timer.Disarm();
    }

    /// <summary>The timer's local vector table entry changed: bits 18-17 are the mode.</summary>
    public void SetLvt(uint entry)
    {
        int mode = (int)(entry >> 17) & 3;
        if (mode == _mode)
        {
            return;
        }

        // Going to or from TSC-deadline mode disarms; between the other two the count goes on.
        bool disarms = mode == ModeTscDeadline || _mode == ModeTscDeadline;
        _mode = mode;
        if (disarms)
        {
            _initialCount = 0;
            _tscDeadline = 0;
            _timer.Disarm();
        }
        else
        {
            ArmCount();
        }
    }

    public void Save(BinaryWriter writer)
    {
        writer.Write(_divide);
        writer.Write(_initialCount);
        writer.Write(_startNs);
        writer.Write(_tscDeadline);
    }

    /// <summary>Restores and arms again; the mode was set by <see cref="SetLvt"/> before.</summary>
    public void Restore(BinaryReader reader)
    {
        _divide = reader.ReadUInt32() & 0x0B;
        _initialCount = reader.ReadUInt32();
        _startNs = reader.ReadUInt64();
        _tscDeadline = reader.ReadUInt64();
        if (_mode == ModeTscDeadline)
        {
            ArmDeadline();
        }
        else
        {
            ArmCount();
        }
    }

    /// <summary>A one-shot that is <paramref name="running"/> expires even if its period, however short, has
    /// passed since the clock was read to start it.</summary>
    private void ArmCount(bool running = false)
    {
        if (_initialCount == 0)
        {
            _timer.Disarm();
            return;
        }

        ulong periodNs = _initialCount * CountNs;
        ulong passedNs = _clock.NowNs - _startNs;
        if (_mode == ModePeriodic)
        {
            _timer.Arm(_startNs + (((passedNs / periodNs) + 1) * periodNs));
        }
        else if (running || passedNs < periodNs)
        {
            _timer.Arm(_startNs + periodNs);
        }
        else
        {
            _timer.Disarm();
        }
    }

    private void ArmDeadline()
    {
        if (_tscDeadline == 0)
        {
            _timer.Disarm();
            return;
        }

        ulong now = _clock.NowTicks;
        ulong left = _tscDeadline > now ? _tscDeadline - now : 0;
        if (left / _clock.TicksHz > FarSeconds)
        {
            _timer.Disarm();
        }
        else
        {
            _timer.Arm(_clock.NowNs + _clock.TicksToNs(left) + (left != 0 ? 1u : 0));
        }
    }

    // A periodic timer that is late fires once and goes on with the next period still ahead.
    private void Expired()
    {
        if (_mode == ModeTscDeadline)
        {
            if (_clock.NowTicks < _tscDeadline)
            {
                ArmDeadline();
                return;
            }

            _tscDeadline = 0;
        }
        else
        {
            ArmCount();
        }

        _fired();
    }
}
