// The kvm-clock structures read back the way a guest uses them.

using System;
using System.Buffers.Binary;
using Lhype.Cpu;
using Lhype.Host;
using Lhype.Machine.Bus;
using Lhype.Machine.Paravirt;
using Lhype.Tests.Machine.Devices;
using Xunit;

namespace Lhype.Tests.Machine.Paravirt;

public sealed class KvmClockTests : IDisposable
{
    private readonly GuestRam _ram = new(1 << 20);
    private readonly GuestMemory _memory;

    public KvmClockTests() => _memory = new GuestMemory(_ram, (_, _) => { });

    public void Dispose() => _ram.Dispose();

    [Theory]
    [InlineData(50_000_000)]
    [InlineData(1_000_000_000)]
    [InlineData(2_294_608_000)]
    [InlineData(5_800_000_000)]
    public void GuestComputesTheSameTime(ulong hz)
    {
        FakeClock time = new(hz);
        time.Advance(123_456_789);
        KvmClock clock = new(time.Clock, _memory);
        Assert.Equal(MsrResult.Written, clock.WriteMsr(0x4B56_4D01, 0x2000 | 1));
        time.Advance(3600_000_000_000);
        byte[] page = new byte[32];
        Assert.True(_memory.TryRead(0x2000, page));
        Assert.Equal(0u, page[0] & 1u);
        Assert.Equal(1, page[29]);
        UInt128 delta = time.Ticks - BinaryPrimitives.ReadUInt64LittleEndian(page.AsSpan(8));
        sbyte shift = (sbyte)page[28];
        delta = shift < 0 ? delta >> -shift : delta << shift;
        uint factor = BinaryPrimitives.ReadUInt32LittleEndian(page.AsSpan(24));
        ulong now = BinaryPrimitives.ReadUInt64LittleEndian(page.AsSpan(16));
        now += (ulong)((delta * factor) >> 32);
        Assert.InRange((long)now - (long)time.Clock.NowNs, -5000, 5000);

        // Linux derives its TSC frequency from the same two numbers.
        UInt128 khz = ((UInt128)1_000_000 << 32) / factor;
        khz = shift < 0 ? khz << -shift : khz >> shift;
        Assert.InRange((long)khz, (long)(hz / 1000) - 1, (long)(hz / 1000) + 1);
    }

    [Fact]
    public void WallClockIsTheTimeOfBoot()
    {
        FakeClock time = new();
        time.Advance(7_000_000_000);
        KvmClock clock = new(time.Clock, _memory);
        clock.WriteMsr(0x11, 0x3000);
        Assert.True(_memory.TryReadUInt32(0x3004, out uint seconds));
        Assert.Equal(1_772_600_767u, seconds);
        Assert.True(_memory.TryReadUInt32(0x3000, out uint version));
        Assert.Equal(0u, version & 1);
    }

    [Fact]
    public void DisabledOrOutsideMemoryWritesNothing()
    {
        KvmClock clock = new(new FakeClock().Clock, _memory);
        Assert.Equal(MsrResult.Written, clock.WriteMsr(0x12, 0x2000));
        Assert.True(_memory.TryReadUInt32(0x2000, out uint version));
        Assert.Equal(0u, version);
        Assert.Equal(MsrResult.Written, clock.WriteMsr(0x12, 0xFFFF_FFFF_FFFF_FFF1));
        Assert.Equal(MsrResult.Written, clock.WriteMsr(0x12, 0xFFFF1));
        Assert.True(clock.TryReadMsr(0x4B56_4D01, out ulong value));
        Assert.Equal(0xFFFF1ul, value);
    }

    [Fact]
    public void OtherParavirtualMsrsFault()
    {
        KvmClock clock = new(new FakeClock().Clock, _memory);
        Assert.Equal(MsrResult.GeneralProtection, clock.WriteMsr(0x4B56_4D02, 0));
        Assert.Equal(MsrResult.GeneralProtection, clock.WriteMsr(0x4B56_4D04, 0));
        Assert.Equal(MsrResult.NotHandled, clock.WriteMsr(0x10, 0));
        Assert.False(clock.TryReadMsr(0x4B56_4D03, out _));
    }

    [Fact]
    public void StateSurvivesSaving()
    {
        FakeClock time = new();
        KvmClock clock = new(time.Clock, _memory);
        clock.WriteMsr(0x4B56_4D01, 0x2001);
        KvmClock copy = new(time.Clock, _memory);
        StateCopy.Transfer(clock, copy);
        Assert.True(copy.TryReadMsr(0x12, out ulong value));
        Assert.Equal(0x2001ul, value);
    }
}
