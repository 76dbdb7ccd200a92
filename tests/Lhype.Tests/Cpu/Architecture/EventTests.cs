// Interrupts and exceptions: gates, stack switches, frames, error codes, double and triple faults, IRET.

using System;
using Lhype.Cpu;
using Xunit;
using static Lhype.Tests.Cpu.Architecture.ProcessorBench;

namespace Lhype.Tests.Cpu.Architecture;

public sealed unsafe class EventTests : IDisposable
{
    private const uint Interrupt32 = 0x8E, Trap32 = 0x8F, UserTrap32 = 0xEF, Interrupt16 = 0x86;

    private readonly ProcessorBench _bench = new ProcessorBench().Protect();

    private CpuState* State => _bench.State;

    public void Dispose() => _bench.Dispose();

    [Fact]
    public void InterruptFromUserSwitchesStackAndClearsIf()
    {
        _bench.User();
        State->Eflags = 0x3302;
        State->Rip = 0x4444;
        _bench.SetGate(0x30, Code0, 0x0012_3456, Interrupt32);
        Assert.True(_bench.Processor.DeliverInterrupt(0x30));
        Assert.Equal((0u, 0x0012_3456ul, (ulong)KernelStack - 20), (State->Cpl, State->Rip, State->Gpr[4]));
        Assert.Equal((0x4444u, (uint)Code3, 0x3302u, UserStack, (uint)Data3),
            (_bench.Read32(KernelStack - 20), _bench.Read32(KernelStack - 16),
                _bench.Read32(KernelStack - 12), _bench.Read32(KernelStack - 8),
                _bench.Read32(KernelStack - 4)));
        Assert.Equal(0x3002u, State->Eflags);
        Assert.Equal(Code0, State->Segment(SegmentRegister.Cs).Selector);
        Assert.Equal(Data0, State->Segment(SegmentRegister.Ss).Selector);

        // And back: IRETD restores everything, and the kernel's data segments do not leak to ring 3.
        _bench.SetFlat(SegmentRegister.Fs, Data0, 0xC093);
        Assert.Equal(Outcome.Done, _bench.Run(0xCF));
        Assert.Equal((3u, 0x4444ul, (ulong)UserStack, 0x3302u),
            (State->Cpl, State->Rip, State->Gpr[4], State->Eflags));
        Assert.True(State->Segment(SegmentRegister.Fs).Unusable);
        Assert.False(State->Segment(SegmentRegister.Ds).Unusable);
    }

    [Fact]
    public void FaultPushesErrorCodeAndResumeFlag()
    {
        _bench.SetGate(13, Code0, 0x7000, Trap32);
        State->Eflags = 0x202;
        _ = Fault.Raise(State, Vector.GeneralProtection, 0x58);
        Assert.True(_bench.Processor.DeliverException());
        Assert.Equal((0x58u, 0x5000u, (uint)Code0, 0x10202u),
            (_bench.Read32(KernelStack - 16), _bench.Read32(KernelStack - 12), _bench.Read32(KernelStack - 8),
                _bench.Read32(KernelStack - 4)));
        Assert.Equal(0x202u, State->Eflags);
    }

    [Fact]
    public void SixteenBitGatePushesWords()
    {
        _bench.SetGate(6, Code0, 0xFFFF_7000, Interrupt16);
        State->Eflags = 0x46;
        _ = Fault.Raise(State, Vector.InvalidOpcode);
        Assert.True(_bench.Processor.DeliverException());
        Assert.Equal(0x7000ul, State->Rip);
        Assert.Equal((ulong)KernelStack - 6, State->Gpr[4]);
        Assert.Equal((0x5000, (int)Code0, 0x46),
            (_bench.Read16(KernelStack - 6), (int)_bench.Read16(KernelStack - 4),
                (int)_bench.Read16(KernelStack - 2)));
    }

    [Fact]
    public void PageFaultSetsCr2OnDelivery()
    {
        _bench.SetGate(14, Code0, 0x7000, Interrupt32);
        _ = Fault.RaisePage(State, 0xDEAD_BEEF, 2);
        Assert.Equal(0ul, State->Cr2);
        Assert.True(_bench.Processor.DeliverException());
        Assert.Equal(0xDEAD_BEEFul, State->Cr2);
    }

    [Theory]
    [InlineData(0u, Code0, 13u, 0x80 * 8 + 2)]           // not a gate
    [InlineData(0x6Fu, Code0, 11u, 0x80 * 8 + 2)]        // not present
    [InlineData(Trap32, Code0, 13u, 0x80 * 8 + 2)]       // DPL 0
    [InlineData(UserTrap32, (ushort)0, 13u, 0)]          // null code selector
    [InlineData(UserTrap32, Data0, 13u, Data0)]          // not code
    [InlineData(UserTrap32, (ushort)0x1F8, 13u, 0x1F8)]  // outside the GDT
    [InlineData(UserTrap32, Free, 11u, Free)]            // code segment not present
    public void SoftwareInterruptGateChecks(uint access, ushort selector, uint vector, int error)
    {
        _bench.User();
        _bench.SetDescriptor(Free, 0x00CF_1B00_0000_FFFF);
        _bench.SetGate(0x80, selector, 0x7000, access);
        Assert.Equal(Outcome.Fault, _bench.Run(0xCD, 0x80));
        Assert.Equal((vector, (uint)error), _bench.LastFault);
        Assert.Equal((0x5000ul, 3u, (ulong)UserStack), (State->Rip, State->Cpl, State->Gpr[4]));
    }

    [Fact]
    public void SoftwareInterruptSavesNextInstruction()
    {
        _bench.User();
        _bench.SetGate(0x80, Code0, 0x7000, UserTrap32);
        Assert.Equal(Outcome.Done, _bench.Run(0xCD, 0x80));
        Assert.Equal(0x5002u, _bench.Read32(KernelStack - 20));
    }

    [Fact]
    public void ExternalEventsSetTheExtBit()
    {
        Assert.True(Deliver(0x21, out uint error, 13));
        Assert.Equal((0x21u * 8) + 2 + 1, error);
    }

    [Fact]
    public void BadStackInTssIsInvalidTss()
    {
        _bench.User();
        _bench.Write32(Tss + 8, Data3);
        _bench.SetGate(0x80, Code0, 0x7000, UserTrap32);
        Assert.Equal(Outcome.Fault, _bench.Run(0xCD, 0x80));
        Assert.Equal((Vector.InvalidTss, (uint)Data3 & ~3u), _bench.LastFault);
    }

    [Fact]
    public void ContributoryPairMakesDoubleFaultAndThenShutdown()
    {
        _bench.SetGate(8, Code0, 0x7000, Interrupt32);
        _ = Fault.Raise(State, Vector.GeneralProtection, 0x10);
        Assert.True(_bench.Processor.DeliverException());
        Assert.Equal(0x7000ul, State->Rip);
        Assert.Equal((0u, 0x5000u), (_bench.Read32(KernelStack - 16), _bench.Read32(KernelStack - 12)));

        _bench.SetGate(8, Code0, 0x7000, 0);
        _ = Fault.Raise(State, Vector.GeneralProtection, 0x10);
        Assert.False(_bench.Processor.DeliverException());
    }

    [Fact]
    public void BenignFaultThenFaultIsServedInTurn()
    {
        _bench.SetGate(13, Code0, 0x7000, Interrupt32);
        _ = Fault.Raise(State, Vector.InvalidOpcode);
        Assert.True(_bench.Processor.DeliverException());
        Assert.Equal((0x7000ul, (6u * 8) + 2 + 1), (State->Rip, _bench.Read32(KernelStack - 16)));
    }

    [Fact]
    public void VirtualMachineReturnAndInterrupt()
    {
        uint[] frame = [0x1234, 0x2000, 0x2_3202, 0xFFF0, 0x3000, 0x4000, 0x5000, 0x6000, 0x7000];
        State->Gpr[4] = KernelStack - 36;
        for (int i = 0; i < frame.Length; i++)
        {
            _bench.Write32(KernelStack - 36 + (uint)(i * 4), frame[i]);
        }

        Assert.Equal(Outcome.Done, _bench.Run(0xCF));
        Assert.Equal((3u, 0x1234ul, 0xFFF0ul), (State->Cpl, State->Rip, State->Gpr[4]));
        Assert.Equal(0x20000ul, State->Segment(SegmentRegister.Cs).Base);
        Assert.Equal(0x70000ul, State->Segment(SegmentRegister.Gs).Base);
        Assert.Equal(0u, _bench.Processor.ComputeModeKey() & (ModeKey.Flat | ModeKey.Code32));

        _bench.SetGate(0x30, Code0, 0x7000, Interrupt32);
        Assert.True(_bench.Processor.DeliverInterrupt(0x30));
        Assert.Equal((ulong)KernelStack - 36, State->Gpr[4]);
        for (int i = 0; i < frame.Length; i++)
        {
            Assert.Equal(frame[i], _bench.Read32(KernelStack - 36 + (uint)(i * 4)));
        }

        Assert.Equal(0u, State->SystemFlags & EflagsBits.Virtual8086);
        Assert.True(State->Segment(SegmentRegister.Ds).Unusable);
        Assert.NotEqual(0u, _bench.Processor.ComputeModeKey() & ModeKey.Code32);
    }

    [Fact]
    public void VirtualMachineSensitiveInstructionsNeedIopl3()
    {
        State->SystemFlags = EflagsBits.Virtual8086;
        State->Cpl = 3;
        State->Segment(SegmentRegister.Cs).Attributes = 0xF3;
        byte[][] sensitive = [[0x9C], [0x9D], [0xCD, 0x21], [0xCF], [0xFA], [0xFB]];
        foreach (byte[] code in sensitive)
        {
            Assert.Equal(Outcome.Fault, _bench.Run(code));
            Assert.Equal((Vector.GeneralProtection, 0u), _bench.LastFault);
        }
    }

    [Fact]
    public void RealModeInterruptAndReturn()
    {
        using var bench = new ProcessorBench();
        CpuState* state = bench.State;
        bench.Write32(0x21 * 4, 0x1234_5678);
        state->Segment(SegmentRegister.Cs).Base = 0x2_0000;
        state->Segment(SegmentRegister.Cs).Selector = 0x2000;
        state->Rip = 0x100;
        state->Gpr[4] = 0xAAAA_0002;
        state->Eflags = 0x303;
        Assert.Equal(Outcome.Done, bench.Run(0xCD, 0x21));
        Assert.Equal((0x5678ul, 0x12340ul, 0xAAAA_FFFCul),
            (state->Rip, state->Segment(SegmentRegister.Cs).Base, state->Gpr[4]));
        Assert.Equal((0x303, 0x2000, 0x102), (bench.Read16(0), bench.Read16(0xFFFE), bench.Read16(0xFFFC)));
        Assert.Equal(3u, state->Eflags);
        Assert.Equal(Outcome.Done, bench.Run(0xCF));
        Assert.Equal((0x102ul, 0x303u, 0xAAAA_0002ul), (state->Rip, state->Eflags, state->Gpr[4]));
    }

    [Fact]
    public void SingleStepTrapSetsBsAndClearsTf()
    {
        _bench.SetGate(1, Code0, 0x7000, Interrupt32);
        State->Eflags = 0x102;
        Assert.True(_bench.Processor.DeliverDebugTrap());
        Assert.Equal(0x4000ul, State->Dr[6] & 0xE00F);
        Assert.Equal(2u, State->Eflags);
        Assert.Equal(0x102u, _bench.Read32(KernelStack - 4));
    }

    [Fact]
    public void CodeBreakpointHitsOnceUnlessResumed()
    {
        State->Dr[0] = 0x5000;
        State->Dr[7] = 0x401;
        Assert.NotEqual(0u, _bench.Processor.ComputeModeKey() & ModeKey.SingleStep);
        State->SystemFlags |= EflagsBits.Resume;
        Assert.False(_bench.Processor.CodeBreakpointHit());
        Assert.True(_bench.Processor.CodeBreakpointHit());
        Assert.Equal((Vector.Debug, 1ul), (State->FaultVector, State->Dr[6] & 15));
    }

    private bool Deliver(int vector, out uint error, int reportedAs)
    {
        // The gate is missing, so the handler of the resulting fault sees the error code.
        _bench.SetGate(reportedAs, Code0, 0x7000, Interrupt32);
        bool delivered = _bench.Processor.DeliverInterrupt(vector);
        error = _bench.Read32((uint)State->Gpr[4]);
        return delivered;
    }
}
