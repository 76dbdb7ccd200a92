// The one clock of a machine. Everything that tells time to the guest (TSC, PIT, LAPIC timer, RTC, PM timer,
// kvm-clock) derives from it, so all agree, and a replay can feed recorded values. Host time enters only
// through IClockSource.

using System;

namespace Lhype.Machine.Bus;

/// <summary>Where time comes from: the host's TSC, or a test's counter.</summary>
public interface IClockSource
{
    /// <summary>Ticks since an arbitrary start, monotonic; the unit is 1 / <see cref="Hz"/> seconds. This is
    /// also the guest's TSC.</summary>
    ulong ReadTicks();

    /// <summary>Ticks per second.</summary>
    ulong Hz { get; }

    /// <summary>Wall-clock time at tick 0, nanoseconds since 1970 (UTC).</summary>
    long WallNsAtZero { get; }
}

/// <summary>A callback at a virtual time. Made by <see cref="VirtualClock.CreateTimer"/>; rearming allocates
/// nothing.</summary>
public sealed class ClockTimer
{
    internal readonly VirtualClock Clock;
    internal readonly Action Fired;
    internal ulong DeadlineNs = ulong.MaxValue;

    internal ClockTimer(VirtualClock clock, Action fired)
    {
        Clock = clock;
        Fired = fired;
    }

    /// <summary>Fires once when virtual time reaches <paramref name="deadlineNs"/> (at once if it has
    /// passed).</summary>
    public void Arm(ulong deadlineNs) => Clock.SetDeadline(this, deadlineNs);

    /// <summary>Disarms the timer.</summary>
    public void Disarm() => Clock.SetDeadline(this, ulong.MaxValue);

    /// <summary>True while a deadline is set.</summary>
    public bool Armed => DeadlineNs != ulong.MaxValue;
}

/// <summary>Virtual time in nanoseconds since machine start, and the timers that wait for it.</summary>
public sealed class VirtualClock
{
    private readonly IClockSource _source;
    private ClockTimer[] _timers = [];
    private ulong _nextDeadlineNs = ulong.MaxValue;

    /// <summary>Starts at the source's tick 0.</summary>
    public VirtualClock(IClockSource source) => _source = source;

    /// <summary>Nanoseconds since machine start.</summary>
    public ulong NowNs => TicksToNs(_source.ReadTicks());

    /// <summary>The guest's TSC now.</summary>
    public ulong NowTicks => _source.ReadTicks();

    /// <summary>Frequency of <see cref="NowTicks"/>.</summary>
    public ulong TicksHz => _source.Hz;

    /// <summary>Wall-clock time now, nanoseconds since 1970 (UTC).</summary>
    public long WallNs => _source.WallNsAtZero + (long)NowNs;

    /// <summary>The earliest armed deadline, or ulong.MaxValue.</summary>
    public ulong NextDeadlineNs => _nextDeadlineNs;

    /// <summary>Converts ticks to nanoseconds, rounding down.</summary>
    public ulong TicksToNs(ulong ticks) => (ulong)((UInt128)ticks * 1_000_000_000 / _source.Hz);

    /// <summary>Converts nanoseconds to ticks, rounding up, so that NsToTicks(t) has passed only when t
    /// has.</summary>
    public ulong NsToTicks(ulong ns) => (ulong)((((UInt128)ns * _source.Hz) + 999_999_999) / 1_000_000_000);

    /// <summary>Makes a timer that calls <paramref name="fired"/>. Called at set-up only.</summary>
    public ClockTimer CreateTimer(Action fired)
    {
        ClockTimer timer = new(this, fired);
        _timers = [.. _timers, timer];
        return timer;
    }

    /// <summary>Fires every timer whose deadline has passed, in deadline order.</summary>
    public void RunDue()
    {
        if (_nextDeadlineNs == ulong.MaxValue)
        {
            return;
        }

        ulong now = NowNs;
        while (_nextDeadlineNs <= now)
        {
            ClockTimer due = Earliest();
            due.DeadlineNs = ulong.MaxValue;
            Recompute();
            due.Fired();
        }
    }

    internal void SetDeadline(ClockTimer timer, ulong deadlineNs)
    {
        timer.DeadlineNs = deadlineNs;
        Recompute();
    }

    private ClockTimer Earliest()
    {
        ClockTimer earliest = _timers[0];
        foreach (ClockTimer timer in _timers)
        {
            if (timer.DeadlineNs < earliest.DeadlineNs)
            {
                earliest = timer;
            }
        }

        return earliest;
    }

    private void Recompute() => _nextDeadlineNs = Earliest().DeadlineNs;
}
