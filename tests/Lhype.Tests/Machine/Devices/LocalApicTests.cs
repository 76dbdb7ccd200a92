// The local APIC against SDM vol. 3, chapter 11.

using System.Collections.Generic;
using Lhype.Cpu;
using Lhype.Machine.Bus;
using Lhype.Machine.Devices;
using Xunit;

namespace Lhype.Tests.Machine.Devices;

public sealed class LocalApicTests
{
    private readonly FakeClock _time = new();
    private readonly LocalApic _apic;

    public LocalApicTests() => _apic = new LocalApic(_time.Clock, 0);

    [Fact]
    public void ResetValues()
    {
        _apic.Reset();
        Assert.Equal(0x0005_0014u, Read(0x30));
        Assert.Equal(0xFFu, Read(0xF0));
        Assert.Equal(0xFFFF_FFFFu, Read(0xE0));
        Assert.Equal(0x10000u, Read(0x350));
        Assert.True(_apic.TryReadMsr(0x1B, out ulong value));
        Assert.Equal(0xFEE0_0900ul, value);
    }

    [Fact]
    public void FirmwareLeavesTheVirtualWire()
    {
        Assert.True(_apic.AcceptsExtInt);
        Write(0x350, 0x10700);
        Assert.False(_apic.AcceptsExtInt);
        Assert.Equal(MsrResult.Written, _apic.WriteMsr(0x1B, 0xFEE0_0100));
        Assert.True(_apic.AcceptsExtInt);
    }

    [Fact]
    public void PrioritiesNestByClass()
    {
        Send(0x41);
        Send(0x45);
        Send(0x52);
        Assert.Equal(0x52, _apic.Acknowledge());
        Assert.False(_apic.InterruptReady);
        Assert.Equal(0x50u, Read(0xA0));
        Send(0x61);
        Assert.Equal(0x61, _apic.Acknowledge());
        Eoi();
        Eoi();
        Assert.Equal(0x45, _apic.Acknowledge());
        Eoi();
        Assert.Equal(0x41, _apic.Acknowledge());
        Eoi();
        Assert.Equal(-1, _apic.Acknowledge());
    }

    [Fact]
    public void TaskPriorityHoldsBack()
    {
        Write(0x80, 0x40);
        Send(0x4F);
        Assert.False(_apic.InterruptReady);
        Assert.Equal(0x8000u, Read(0x220));
        Write(0x80, 0x3F);
        Assert.True(_apic.InterruptReady);
    }

    [Fact]
    public void EndOfInterruptIsReportedForLevelOnly()
    {
        List<byte> ended = [];
        _apic.EndOfInterrupt = ended.Add;
        Send(0x41);
        _apic.Acknowledge();
        Eoi();
        Assert.Empty(ended);
        _apic.Accept(new InterruptMessage(0, false, DeliveryMode.Fixed, 0x42, true));
        Assert.Equal(4u, Read(0x1A0));
        _apic.Acknowledge();
        Eoi();
        Assert.Equal([0x42], ended);
    }

    [Fact]
    public void LogicalDestinations()
    {
        Write(0xD0, 0x01 << 24);
        Assert.True(_apic.Accept(new InterruptMessage(0x03, true, DeliveryMode.LowestPriority, 0x41, false)));
        Assert.False(_apic.Accept(new InterruptMessage(0x02, true, DeliveryMode.Fixed, 0x41, false)));
        Assert.False(_apic.Accept(new InterruptMessage(0x01, false, DeliveryMode.Fixed, 0x41, false)));
        Assert.True(_apic.Accept(new InterruptMessage(0x00, false, DeliveryMode.Fixed, 0x41, false)));
        Write(0xE0, 0x0FFF_FFFF);
        Write(0xD0, 0x21 << 24);
        Assert.True(_apic.Accept(new InterruptMessage(0x23, true, DeliveryMode.Fixed, 0x41, false)));
        Assert.False(_apic.Accept(new InterruptMessage(0x13, true, DeliveryMode.Fixed, 0x41, false)));
    }

    [Fact]
    public void SelfInterruptAndOthers()
    {
        Write(0x300, 0x0004_00F1);
        Assert.Equal(0xF1, _apic.Acknowledge());
        Write(0x310, 1 << 24);
        Write(0x300, 0x0000_4500);
        Write(0x300, 0x000C_00F2);
        Write(0x300, 0x0000_00F3);
        Assert.Equal(-1, _apic.Acknowledge());
        Assert.Equal(0u, Read(0x300) & 0x1000);
    }

    [Fact]
    public void NonMaskableInterruptsGoToTheHook()
    {
        int count = 0;
        _apic.NonMaskableInterrupt = () => count++;
        Write(0x300, 0x0004_0400);
        Assert.Equal(1, count);
        Assert.False(_apic.InterruptReady);
    }

    [Fact]
    public void IllegalVectorsAndRegistersSetTheErrorStatus()
    {
        Write(0x370, 0xFE);
        Write(0x300, 0x0004_0005);
        Assert.Equal(0xFE, _apic.Acknowledge());
        Assert.Equal(0u, Read(0x280));
        Write(0x280, 0);
        Assert.Equal(0x20u, Read(0x280));
        Read(0x3F0);
        Write(0x280, 0);
        Assert.Equal(0x80u, Read(0x280));
        Write(0x280, 0);
        Assert.Equal(0u, Read(0x280));
    }

    [Fact]
    public void PeriodicTimer()
    {
        Write(0x3E0, 0x3);
        Write(0x320, 0x20030);
        Write(0x380, 1000);
        int fired = 0;
        for (int i = 0; i < 16; i++)
        {
            AdvanceCounts(16_000);
            fired += _apic.Acknowledge() == 0x30 ? 1 : 0;
            Eoi();
        }

        Assert.Equal(16, fired);
        AdvanceCounts(4000);
        Assert.Equal(750u, Read(0x390));
    }

    [Fact]
    public void OneShotTimerStopsAtZero()
    {
        Write(0x3E0, 0xB);
        Write(0x320, 0x30);
        Write(0x380, 5000);
        AdvanceCounts(4999);
        Assert.Equal(1u, Read(0x390));
        Assert.False(_apic.InterruptReady);
        AdvanceCounts(1);
        Assert.Equal(0x30, _apic.Acknowledge());
        Eoi();
        AdvanceCounts(100_000);
        Assert.False(_apic.InterruptReady);
        Assert.Equal(0u, Read(0x390));
    }

    [Fact]
    public void MaskedTimerRunsSilently()
    {
        Write(0x3E0, 0xB);
        Write(0x320, 0x10030);
        Write(0x380, 5000);
        AdvanceCounts(1000);
        Assert.Equal(4000u, Read(0x390));
        AdvanceCounts(10_000);
        Assert.False(_apic.InterruptReady);
    }

    [Fact]
    public void TscDeadlineFiresWhenTheTscIsThere()
    {
        FakeClock time = new(2_294_608_000);
        LocalApic apic = new(time.Clock, 0);
        Assert.Equal(MsrResult.Written, apic.WriteMsr(0x6E0, 12345));
        Assert.True(apic.TryReadMsr(0x6E0, out ulong ignored));
        Assert.Equal(0ul, ignored);
        apic.WriteMmio(0x320, 4, 0x40031);
        apic.WriteMsr(0x6E0, 1_000_001);
        Assert.True(apic.TryReadMsr(0x6E0, out ulong armed));
        Assert.Equal(1_000_001ul, armed);
        time.AdvanceTo(435_000);
        Assert.False(apic.InterruptReady);
        while (!apic.InterruptReady)
        {
            time.Advance(1);
        }

        Assert.InRange(time.Ticks, 1_000_001ul, 1_000_010ul);
        apic.TryReadMsr(0x6E0, out armed);
        Assert.Equal(0ul, armed);
        Assert.Equal(0x31, apic.Acknowledge());
        apic.WriteMsr(0x6E0, ulong.MaxValue);
        Assert.Equal(ulong.MaxValue, time.Clock.NextDeadlineNs);
        apic.WriteMsr(0x6E0, 1);
        time.Clock.RunDue();
        apic.WriteMmio(0xB0, 4, 0);
        Assert.Equal(0x31, apic.Acknowledge());
    }

    [Fact]
    public void BaseMsrRejectsReservedBitsAndMovesTheWindow()
    {
        AddressBus bus = new();
        _apic.Attach(bus);
        Assert.Equal(MsrResult.GeneralProtection, _apic.WriteMsr(0x1B, 0xFEE0_0D00));
        Assert.Equal(MsrResult.GeneralProtection, _apic.WriteMsr(0x1B, 0xFEE0_0901));
        Assert.Equal(MsrResult.NotHandled, _apic.WriteMsr(0x1C, 0));
        Assert.Equal(MsrResult.Written, _apic.WriteMsr(0x1B, 0xFED0_0900));
        Assert.Equal(0x0005_0014ul, bus.ReadMmio(0xFED0_0030, 4));
        Assert.Equal(0xFFFF_FFFFul, bus.ReadMmio(0xFEE0_0030, 4));
        _apic.WriteMsr(0x1B, 0xFED0_0100);
        Assert.Equal(0xFFFF_FFFFul, bus.ReadMmio(0xFED0_0030, 4));
    }

    [Fact]
    public void SoftwareDisableMasksTheLocalVectors()
    {
        Write(0xF0, 0xFF);
        Write(0x320, 0x30);
        Assert.Equal(0x10030u, Read(0x320));
        Send(0x41);
        Assert.False(_apic.InterruptReady);
    }

    [Fact]
    public void StateSurvivesSaving()
    {
        Send(0x41);
        Write(0x3E0, 0xB);
        Write(0x320, 0x30);
        Write(0x380, 5000);
        LocalApic copy = new(_time.Clock, 0);
        StateCopy.Transfer(_apic, copy);
        Assert.Equal(0x41, copy.Acknowledge());
        copy.WriteMmio(0xB0, 4, 0);
        AdvanceCounts(5000);
        Assert.Equal(0x30, copy.Acknowledge());
    }

    private void AdvanceCounts(ulong counts) => _time.Advance(counts * (1_000_000_000 / LocalApic.TimerHz));

    private uint Read(uint offset) => (uint)_apic.ReadMmio(offset, 4);

    private void Write(uint offset, uint value) => _apic.WriteMmio(offset, 4, value);

    private void Eoi() => Write(0xB0, 0);

    private void Send(byte vector) =>
        Assert.True(_apic.Accept(new InterruptMessage(0, false, DeliveryMode.Fixed, vector, false)));
}
