// A clock source that tests move by hand, at 1 GHz so that a tick is a nanosecond.

using Lhype.Machine.Bus;

namespace Lhype.Tests.Machine.Devices;

internal sealed class FakeClock : IClockSource
{
    public FakeClock(ulong hz = 1_000_000_000)
    {
        Hz = hz;
        Clock = new VirtualClock(this);
    }

    public ulong Hz { get; }

    public ulong Ticks { get; private set; }

    // 2026-03-04 05:06:07 UTC, a Wednesday.
    public long WallNsAtZero => 1_772_600_767_000_000_000;

    public VirtualClock Clock { get; }

    public ulong ReadTicks() => Ticks;

    /// <summary>Goes to a later tick, stopping at every timer's deadline as an idle machine would.</summary>
    public void AdvanceTo(ulong ns)
    {
        while (Clock.NextDeadlineNs <= ns)
        {
            Ticks = System.Math.Max(Ticks, Clock.NsToTicks(Clock.NextDeadlineNs));
            Clock.RunDue();
        }

        Ticks = Clock.NsToTicks(ns);
    }

    public void Advance(ulong ns) => AdvanceTo(Clock.NowNs + ns);

    /// <summary>Jumps without running timers on the way: a host that was busy.</summary>
    public void Jump(ulong ns)
    {
        Ticks += Clock.NsToTicks(ns);
        Clock.RunDue();
    }
}

/// <summary>A device and its saved bytes.</summary>
internal static class StateCopy
{
    public static void Transfer(ISaveable from, ISaveable to)
    {
        System.IO.MemoryStream stream = new();
        using System.IO.BinaryWriter writer = new(stream);
        from.Save(writer);
        stream.Position = 0;
        using System.IO.BinaryReader reader = new(stream);
        to.Restore(reader);
        Xunit.Assert.Equal(stream.Length, stream.Position);
    }
}
