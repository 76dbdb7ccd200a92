// The clock's frequency must be that of the wall: everything the guest believes about time hangs on it.

using System;
using System.Threading;
using Lhype.Host;
using Xunit;

namespace Lhype.Tests.Host;

public sealed class HostClockTests
{
    [Fact]
    public void TicksRunAtTheStatedFrequency()
    {
        using HostClock clock = new();
        long outerStart = HostClock.MonotonicNs();
        ulong ticks = clock.ReadTicks();
        long innerStart = HostClock.MonotonicNs();
        Thread.Sleep(20);
        long innerEnd = HostClock.MonotonicNs();
        double stated = (clock.ReadTicks() - ticks) * 1e9 / clock.Hz;
        long outerEnd = HostClock.MonotonicNs();

        // However this thread is preempted, the ticks were counted within the outer and around the inner
        // interval.
        Assert.InRange(stated, (innerEnd - innerStart) * 0.98, (outerEnd - outerStart) * 1.02);
        Assert.NotEmpty(clock.FrequencySource);
    }

    [Fact]
    public void WallClockIsTheHosts()
    {
        using HostClock clock = new();
        DateTime start = DateTime.UnixEpoch.AddTicks(clock.WallNsAtStart / 100);
        Assert.InRange((DateTime.UtcNow - start).TotalSeconds, -5, 60);
    }

    [Fact]
    public void EntropyFillsEverything()
    {
        byte[] bytes = new byte[1024];
        HostEntropy.Fill(bytes);
        Assert.True(bytes.AsSpan(1000).IndexOfAnyExcept((byte)0) >= 0);
    }
}
