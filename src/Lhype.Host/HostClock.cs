// Host time as the guest will see it: the processor's time-stamp counter, its frequency and the wall clock.
// Guest TSC = host TSC - TicksAtStart, so emitted code reads time by one RDTSC and one subtraction. Made once
// per machine by MachineBuilder, which feeds it to VirtualClock.
//
// The frequency is taken from CPUID where the processor or the hypervisor states it, and measured against
// CLOCK_MONOTONIC otherwise. A stated value is checked by a short measurement first: a hypervisor that
// migrated us to another machine, or masks leaves carelessly, would make every guest clock wrong.

using System;
using System.Runtime.Intrinsics.X86;
using System.Threading;

namespace Lhype.Host;

/// <summary>The host's time-stamp counter and clocks. Thread-safe.</summary>
public sealed unsafe class HostClock : IDisposable
{
    private const int CheckMs = 2;
    private const int MeasureMs = 20;
    private const int KvmTimingLeaf = 0x4000_0010;

    private readonly CodeMemory _code = new(4096);
    private readonly delegate* unmanaged[Cdecl, SuppressGCTransition]<ulong> _readTsc;

    /// <summary>Finds the frequency (2 to 20 ms) and starts the clock. Throws LhypeException.</summary>
    public HostClock()
    {
        byte[] rdtsc = new StubWriter()
            .Bytes(0x0F, 0x31)              // rdtsc
            .Bytes(0x48, 0xC1, 0xE2, 0x20)  // shl rdx, 32
            .Bytes(0x48, 0x09, 0xD0)        // or  rax, rdx
            .Bytes(0xC3)                    // ret
            .Finish();
        rdtsc.CopyTo(new Span<byte>(_code.Writable, _code.Size));
        _readTsc = (delegate* unmanaged[Cdecl, SuppressGCTransition]<ulong>)_code.Executable;
        (Hz, FrequencySource) = FindFrequency();

        Libc.timespec_t wall;
        ulong before, after;
        ulong best = ulong.MaxValue;
        for (int i = 0; i < 16; i++)
        {
            before = _readTsc();
            _ = Libc.clock_gettime(Libc.CLOCK_REALTIME, &wall);
            after = _readTsc();
            if (after - before < best)
            {
                best = after - before;
                TicksAtStart = before + (best / 2);
                WallNsAtStart = (wall.tv_sec * 1_000_000_000) + wall.tv_nsec;
            }
        }
    }

    /// <summary>Ticks per second.</summary>
    public ulong Hz { get; }

    /// <summary>Where <see cref="Hz"/> comes from, for <c>-v</c>.</summary>
    public string FrequencySource { get; }

    /// <summary>The host's TSC when the clock was started.</summary>
    public ulong TicksAtStart { get; }

    /// <summary>Wall-clock time at <see cref="TicksAtStart"/>, nanoseconds since 1970 (UTC).</summary>
    public long WallNsAtStart { get; }

    /// <summary>Ticks since the start; 0 if another core's counter lags behind the start.</summary>
    public ulong ReadTicks()
    {
        ulong now = _readTsc();
        return now > TicksAtStart ? now - TicksAtStart : 0;
    }

    /// <summary>Nanoseconds of CLOCK_MONOTONIC, for time-outs that are the tool's and not the
    /// guest's.</summary>
    public static long MonotonicNs()
    {
        Libc.timespec_t now;
        _ = Libc.clock_gettime(Libc.CLOCK_MONOTONIC, &now);
        return (now.tv_sec * 1_000_000_000) + now.tv_nsec;
    }

    /// <summary>Frees the emitted code. Nothing may read the clock any more.</summary>
    public void Dispose() => _code.Dispose();

    private (ulong Hz, string Source) FindFrequency()
    {
        (ulong hz, string source) = StatedFrequency();
        if (hz != 0)
        {
            ulong measured = Measure(CheckMs);
            ulong difference = hz > measured ? hz - measured : measured - hz;
            if (difference < hz / 100)
            {
                return (hz, source);
            }
        }

        return (Measure(MeasureMs), "measured against CLOCK_MONOTONIC");
    }

    // SDM vol. 2, CPUID leaf 15H: TSC = crystal (ECX) * EBX / EAX. Leaf 0x40000010, EAX: kHz, by convention
    // of VMware that KVM and others follow; valid only if leaf 0x40000000 says so and leaf 1 shows a
    // hypervisor.
    private static (ulong Hz, string Source) StatedFrequency()
    {
        const int Hypervisor = 1 << 31;
        int highest = X86Base.CpuId(0, 0).Eax;
        if (highest >= 0x15)
        {
            (int denominator, int numerator, int crystal, _) = X86Base.CpuId(0x15, 0);
            if (denominator != 0 && numerator != 0 && crystal != 0)
            {
                return ((ulong)(uint)crystal * (uint)numerator / (uint)denominator, "CPUID 15H");
            }
        }

        if ((X86Base.CpuId(1, 0).Ecx & Hypervisor) != 0
            && X86Base.CpuId(0x4000_0000, 0).Eax is >= KvmTimingLeaf and < 0x4000_0100)
        {
            return ((ulong)(uint)X86Base.CpuId(KvmTimingLeaf, 0).Eax * 1000, "CPUID 40000010H");
        }

        return (0, "");
    }

    private ulong Measure(int milliseconds)
    {
        (ulong ticks0, long ns0) = ReadPair();
        Thread.Sleep(milliseconds);
        (ulong ticks1, long ns1) = ReadPair();
        return (ulong)((UInt128)(ticks1 - ticks0) * 1_000_000_000 / (ulong)Math.Max(1, ns1 - ns0));
    }

    // The tightest of several readings: an interrupt between the two instructions would shift one against the
    // other.
    private (ulong Ticks, long Ns) ReadPair()
    {
        (ulong, long) pair = default;
        ulong best = ulong.MaxValue;
        for (int i = 0; i < 16; i++)
        {
            ulong before = _readTsc();
            long ns = MonotonicNs();
            ulong width = _readTsc() - before;
            if (width < best)
            {
                best = width;
                pair = (before + (width / 2), ns);
            }
        }

        return pair;
    }
}
