// KVM's paravirtual clock: two structures in guest memory that tell how to turn the TSC into nanoseconds
// since boot and what the time of day was at boot. Stock Linux kernels take their TSC frequency from it and
// calibrate nothing. The TSC of this machine never changes speed, so the structure is written once, when the
// guest asks for it. Source: Linux Documentation/virt/kvm/x86/msr.rst and pvclock-abi.h; reached through
// ICpuBus.TryReadMsr/WriteMsr.

using System;
using System.IO;
using Lhype.Cpu;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Paravirt;

/// <summary>The kvm-clock MSRs. CPUID must offer KVM features 0, 3 and 24 and no other MSR-backed
/// ones.</summary>
public sealed class KvmClock : ISaveable
{
    /// <summary>KVM feature bits (CPUID 0x40000001 EAX) this class stands for: both generations of the clock
    /// MSRs and the stable-TSC promise.</summary>
    public const uint FeatureBits = (1u << 0) | (1u << 3) | (1u << 24);

    private const uint WallClockOld = 0x11;
    private const uint SystemTimeOld = 0x12;
    private const uint WallClock = 0x4B56_4D00;
    private const uint SystemTime = 0x4B56_4D01;
    private const uint FirstNotOffered = 0x4B56_4D02;
    private const uint LastNotOffered = 0x4B56_4DFF;
    private const byte FlagTscStable = 0x01;

    private readonly VirtualClock _clock;
    private readonly GuestMemory _memory;
    private ulong _wallClock;
    private ulong _systemTime;

    /// <summary>Makes the clock for one vCPU.</summary>
    public KvmClock(VirtualClock clock, GuestMemory memory)
    {
        _clock = clock;
        _memory = memory;
        (Multiplier, Shift) = ScaleOf(clock.TicksHz);
    }

    /// <summary>32.32 fixed-point factor from shifted ticks to nanoseconds.</summary>
    public uint Multiplier { get; }

    /// <summary>Left shift of ticks before the multiplication; negative shifts right.</summary>
    public sbyte Shift { get; }

    /// <summary>Forgets what the guest set: after a machine reset.</summary>
    public void Reset()
    {
        _wallClock = 0;
        _systemTime = 0;
    }

    /// <summary>Reads one of the four MSRs. The other paravirtual MSRs (asynchronous page faults, steal time,
    /// EOI flag, ...) are not offered and not known here, so a guest reading them gets #GP.</summary>
    public bool TryReadMsr(uint index, out ulong value)
    {
        switch (index)
        {
            case WallClock or WallClockOld:
                value = _wallClock;
                return true;
            case SystemTime or SystemTimeOld:
                value = _systemTime;
                return true;
            default:
                value = 0;
                return false;
        }
    }

    /// <summary>Writes one of the four MSRs, which fills in the structure; #GP for paravirtual MSRs not
    /// offered.</summary>
    public MsrResult WriteMsr(uint index, ulong value)
    {
        switch (index)
        {
            case WallClock or WallClockOld:
                _wallClock = value;
                WriteWallClock(value);
                return MsrResult.Written;
            case SystemTime or SystemTimeOld:
                _systemTime = value;
                Refresh();
                return MsrResult.Written;
            case >= FirstNotOffered and <= LastNotOffered:
                return MsrResult.GeneralProtection;
            default:
                return MsrResult.NotHandled;
        }
    }

    /// <summary>Writes the system time structure anew: call it after the TSC was set or the machine
    /// restored.</summary>
    public void Refresh()
    {
        // Bit 0 enables; the address is that of a 32-byte structure.
        if ((_systemTime & 1) == 0)
        {
            return;
        }

        ulong address = _systemTime & ~1ul;
        if (!_memory.TryReadUInt32(address, out uint version))
        {
            return;
        }

        // An odd version tells a reader on another CPU that the rest is being changed.
        version = (version | 1) + 2;
        ulong ticks = _clock.NowTicks;
        _memory.TryWriteUInt32(address, version);
        _memory.TryWriteUInt64(address + 8, ticks);
        _memory.TryWriteUInt64(address + 16, _clock.TicksToNs(ticks));
        _memory.TryWriteUInt32(address + 24, Multiplier);
        _memory.TryWrite(address + 28, [(byte)Shift, FlagTscStable, 0, 0]);
        _memory.TryWriteUInt32(address, version + 1);
    }

    /// <inheritdoc/>
    public void Save(BinaryWriter writer)
    {
        writer.Write(_wallClock);
        writer.Write(_systemTime);
    }

    /// <inheritdoc/>
    public void Restore(BinaryReader reader)
    {
        _wallClock = reader.ReadUInt64();
        _systemTime = reader.ReadUInt64();
        Refresh();
    }

    // Time of day when the system time was zero: the guest adds the two.
    private void WriteWallClock(ulong address)
    {
        if (!_memory.TryReadUInt32(address, out uint version))
        {
            return;
        }

        version = (version | 1) + 2;
        long bootNs = _clock.WallNs - (long)_clock.NowNs;
        _memory.TryWriteUInt32(address, version);
        _memory.TryWriteUInt32(address + 4, (uint)(bootNs / 1_000_000_000));
        _memory.TryWriteUInt32(address + 8, (uint)(bootNs % 1_000_000_000));
        _memory.TryWriteUInt32(address, version + 1);
    }

    // ns = ((ticks << shift) * multiplier) >> 32. The shift brings 10^9 / Hz into [1/2, 1), so the multiplier
    // keeps 32 significant bits.
    private static (uint Multiplier, sbyte Shift) ScaleOf(ulong hz)
    {
        int shift = 0;
        UInt128 scaledHz = hz;
        while (scaledHz > 2_000_000_000)
        {
            scaledHz >>= 1;
            shift--;
        }

        while (scaledHz <= 1_000_000_000)
        {
            scaledHz <<= 1;
            shift++;
        }

        // Shifting the frequency right would lose bits; scale the numerator instead.
        UInt128 numerator = (UInt128)1_000_000_000 << 32;
        UInt128 factor = shift < 0 ? (numerator << -shift) / hz : numerator / ((UInt128)hz << shift);
        return ((uint)factor, (sbyte)shift);
    }
}
