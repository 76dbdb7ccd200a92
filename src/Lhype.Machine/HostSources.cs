// The two doors through which a host's time and randomness enter a machine. Everything else takes them from
// VirtualClock and IEntropy, so that a replay only has to replace these.

using System;
using Lhype.Host;
using Lhype.Machine.Bus;

namespace Lhype.Machine;

/// <summary>Feeds a <see cref="VirtualClock"/> from the host's time-stamp counter.</summary>
public sealed class HostClockSource : IClockSource
{
    private readonly HostClock _clock;

    /// <summary>Wraps <paramref name="clock"/>.</summary>
    public HostClockSource(HostClock clock) => _clock = clock;

    /// <inheritdoc/>
    public ulong Hz => _clock.Hz;

    /// <inheritdoc/>
    public long WallNsAtZero => _clock.WallNsAtStart;

    /// <inheritdoc/>
    public ulong ReadTicks() => _clock.ReadTicks();
}

/// <summary>The host kernel's random numbers.</summary>
public sealed class HostEntropySource : IEntropy
{
    /// <inheritdoc/>
    public void Fill(Span<byte> destination) => HostEntropy.Fill(destination);
}
