// Segment loads, limits, far transfers, call gates, task switches, descriptor inspection.

using System;
using Lhype.Cpu;
using Xunit;
using static Lhype.Tests.Cpu.Architecture.ProcessorBench;

namespace Lhype.Tests.Cpu.Architecture;

public sealed unsafe class SegmentationTests : IDisposable
{
    private readonly ProcessorBench _bench = new ProcessorBench().Protect();

    private CpuState* State => _bench.State;

    public void Dispose() => _bench.Dispose();

    [Fact]
    public void LoadReadsDescriptorAndMarksItAccessed()
    {
        _bench.SetDescriptor(Free, SystemDescriptor(0x1234_5678, 0xABCDE, 0x92, 0xC));
        State->Gpr[0] = Free;
        Assert.Equal(Outcome.Done, _bench.Run(0x8E, 0xD8));
        ref SegmentCache ds = ref State->Segment(SegmentRegister.Ds);
        Assert.Equal((0x1234_5678ul, 0xABCD_EFFFu, Free, 0xC093u),
            (ds.Base, ds.Limit, ds.Selector, ds.Attributes));
        Assert.Equal(0x93, _bench.Ram.Base[Gdt + Free + 5]);
    }

    [Theory]
    [InlineData(0x93u, 0, 0xD8, 99u)]                     // data into DS
    [InlineData(0x9Bu, 0, 0xD8, 99u)]                     // readable code into DS
    [InlineData(0x99u, 0, 0xD8, Vector.GeneralProtection)]  // execute-only code into DS
    [InlineData(0x13u, 0, 0xD8, Vector.SegmentNotPresent)]
    [InlineData(0x89u, 0, 0xD8, Vector.GeneralProtection)]  // a TSS
    [InlineData(0x93u, 3, 0xD8, Vector.GeneralProtection)]  // RPL above DPL
    [InlineData(0x9Fu, 3, 0xD8, 99u)]                     // conforming readable code is open to all
    [InlineData(0x93u, 0, 0xD0, 99u)]                     // data into SS
    [InlineData(0x91u, 0, 0xD0, Vector.GeneralProtection)]  // read-only into SS
    [InlineData(0xF3u, 0, 0xD0, Vector.GeneralProtection)]  // wrong DPL for SS
    [InlineData(0x13u, 0, 0xD0, Vector.StackFault)]
    public void LoadChecks(uint access, int rpl, int modRm, uint vector)
    {
        _bench.SetDescriptor(Free, SystemDescriptor(0, 0xFFFFF, access, 0xC));
        State->Gpr[0] = (uint)(Free | rpl);
        Outcome outcome = _bench.Run(0x8E, (byte)modRm);
        Assert.Equal(vector == 99 ? Outcome.Done : Outcome.Fault, outcome);
        if (vector != 99)
        {
            Assert.Equal((vector, (uint)Free), _bench.LastFault);
        }
    }

    [Fact]
    public void NullSelectorsLoadButFaultOnUse()
    {
        State->Gpr[0] = 3;
        Assert.Equal(Outcome.Done, _bench.Run(0x8E, 0xC0));
        Assert.False(_bench.Processor.TryLinearize(SegmentRegister.Es, 0, 1, false, out _));
        Assert.Equal((Vector.GeneralProtection, 0u), _bench.LastFault);
        Assert.Equal(Outcome.Fault, _bench.Run(0x8E, 0xD0));
        Assert.Equal((Vector.GeneralProtection, 0u), _bench.LastFault);
    }

    [Theory]
    [InlineData(0x93u, 0x0FFFu, 0x4, 0xFFCu, 4, true, true)]
    [InlineData(0x93u, 0x0FFFu, 0x4, 0xFFDu, 4, true, false)]
    [InlineData(0x93u, 0x0FFFu, 0x4, 0xFFFF_FFFFu, 4, false, false)]
    [InlineData(0x91u, 0x0FFFu, 0x4, 0u, 4, true, false)]        // read-only
    [InlineData(0x9Bu, 0x0FFFu, 0x4, 0u, 4, false, true)]        // code may be read
    [InlineData(0x9Bu, 0x0FFFu, 0x4, 0u, 4, true, false)]        // never written
    [InlineData(0x97u, 0x0FFFu, 0x4, 0x1000u, 4, true, true)]    // expand-down, above its limit
    [InlineData(0x97u, 0x0FFFu, 0x4, 0xFFFu, 4, true, false)]
    [InlineData(0x97u, 0x0FFFu, 0x4, 0xFFFF_FFFDu, 4, true, false)]
    [InlineData(0x97u, 0x0FFFu, 0x0, 0xFFFCu, 4, true, true)]    // 16-bit expand-down ends at FFFF
    [InlineData(0x97u, 0x0FFFu, 0x0, 0xFFFDu, 4, true, false)]
    public void LimitsAndTypes(uint access, uint limit, int flags, uint offset, int size, bool write,
        bool allowed)
    {
        _bench.SetDescriptor(Free, SystemDescriptor(0x10_0000, limit, access, (uint)flags));
        State->Gpr[0] = Free;
        Assert.Equal(Outcome.Done, _bench.Run(0x8E, 0xC0));
        Assert.Equal(allowed,
            _bench.Processor.TryLinearize(SegmentRegister.Es, offset, size, write, out ulong linear));
        if (allowed)
        {
            Assert.Equal(0x10_0000ul + offset, linear);
        }
    }

    [Fact]
    public void FlatKeyNeedsFourFlatSegments()
    {
        const uint flat = ModeKey.Code32 | ModeKey.Flat | ModeKey.FsOpen | ModeKey.GsOpen | ModeKey.TrapSse;
        Assert.Equal(flat, _bench.Processor.ComputeModeKey());
        State->Segment(SegmentRegister.Es) = new SegmentCache { Attributes = SegmentCache.UnusableBit };
        Assert.Equal(flat & ~ModeKey.Flat, _bench.Processor.ComputeModeKey());
        _bench.User();
        State->Cr4 = 0x200;
        Assert.Equal((flat | ModeKey.User | ModeKey.TrapFlags) & ~ModeKey.TrapSse,
            _bench.Processor.ComputeModeKey());
        State->Cr0 |= 8;
        Assert.Equal(ModeKey.TrapX87 | ModeKey.TrapSse,
            _bench.Processor.ComputeModeKey() & (ModeKey.TrapX87 | ModeKey.TrapSse));
    }

    [Fact]
    public void CallGateSwitchesStackAndCopiesParameters()
    {
        _bench.User();
        _bench.SetDescriptor(Free, Gate(Code0, 0x7777, 0xEC, parameters: 2));
        State->Gpr[4] = UserStack - 8;
        _bench.Write32(UserStack - 8, 0x1111);
        _bench.Write32(UserStack - 4, 0x2222);
        Assert.Equal(Outcome.Done, _bench.Run(0x9A, 0, 0, 0, 0, (byte)Free, 0));
        Assert.Equal((0u, 0x7777ul, (ulong)KernelStack - 24), (State->Cpl, State->Rip, State->Gpr[4]));
        uint[] expected = [0x5007, Code3, 0x1111, 0x2222, UserStack - 8, Data3];
        for (int i = 0; i < expected.Length; i++)
        {
            Assert.Equal(expected[i], _bench.Read32(KernelStack - 24 + (uint)(i * 4)));
        }

        Assert.Equal(Outcome.Done, _bench.Run(0xCA, 8, 0));
        Assert.Equal((3u, 0x5007ul, (ulong)UserStack), (State->Cpl, State->Rip, State->Gpr[4]));
    }

    [Fact]
    public void FarJumpChecksPrivilegeAndLimit()
    {
        _bench.SetDescriptor(Free, SystemDescriptor(0, 0xFFF, 0x9A, 0x4));
        Assert.Equal(Outcome.Fault, _bench.Run(0xEA, 0, 0x10, 0, 0, (byte)Free, 0));
        Assert.Equal((Vector.GeneralProtection, 0u), _bench.LastFault);
        Assert.Equal(Outcome.Done, _bench.Run(0xEA, 0xFF, 0x0F, 0, 0, (byte)Free, 0));
        Assert.Equal((0xFFFul, 0xFFFu), (State->Rip, State->Segment(SegmentRegister.Cs).Limit));
        Assert.Equal(Outcome.Fault, _bench.Run(0xEA, 0, 0, 0, 0, (byte)Code3, 0));
        Assert.Equal((Vector.GeneralProtection, (uint)Code3 & ~3u), _bench.LastFault);
    }

    [Fact]
    public void TaskSwitchSavesLoadsAndReturns()
    {
        PrepareSecondTask();
        State->Gpr[3] = 0xB0B0;
        Assert.Equal(Outcome.Done, _bench.Run(0x9A, 0, 0, 0, 0, (byte)Task2, 0));
        Assert.Equal((0x6000ul, 0x9000ul, 0xCAFEul), (State->Rip, State->Gpr[4], State->Gpr[0]));
        Assert.Equal(EflagsBits.NestedTask, State->SystemFlags & EflagsBits.NestedTask);
        Assert.Equal(Task2, State->Segment(SegmentRegister.Tr).Selector);
        Assert.Equal(Task, _bench.Read16(Tss2));
        Assert.Equal((0x5007u, 0xB0B0u), (_bench.Read32(Tss + 0x20), _bench.Read32(Tss + 0x34)));
        Assert.NotEqual(0ul, State->Cr0 & 8);
        Assert.Equal(0x8B, _bench.Ram.Base[Gdt + Task2 + 5]);

        Assert.Equal(Outcome.Done, _bench.Run(0xCF));
        Assert.Equal((0x5007ul, 0xB0B0ul), (State->Rip, State->Gpr[3]));
        Assert.Equal(Task, State->Segment(SegmentRegister.Tr).Selector);
        Assert.Equal((0x8B, 0x89), (_bench.Ram.Base[Gdt + Task + 5], (int)_bench.Ram.Base[Gdt + Task2 + 5]));
        Assert.Equal(0u, _bench.Read32(Tss2 + 0x24) & EflagsBits.NestedTask);
    }

    [Fact]
    public void DoubleFaultThroughTaskGatePushesErrorOnTheNewStack()
    {
        PrepareSecondTask();
        _bench.SetGate(8, Task2, 0, 0x85);
        State->Gpr[4] = 0x10;
        State->Segment(SegmentRegister.Ss).Limit = 8;
        _ = Fault.Raise(State, Vector.StackFault);
        Assert.True(_bench.Processor.DeliverException());
        Assert.Equal((0x6000ul, 0x8FFCul), (State->Rip, State->Gpr[4]));
        Assert.Equal((0u, 0x5000u), (_bench.Read32(0x8FFC), _bench.Read32(Tss + 0x20)));
    }

    [Fact]
    public void BusyTaskIsRefused()
    {
        Assert.Equal(Outcome.Fault, _bench.Run(0xEA, 0, 0, 0, 0, (byte)Task, 0));
        Assert.Equal((Vector.GeneralProtection, (uint)Task), _bench.LastFault);
        Assert.Equal(0x5000ul, State->Rip);
        State->Gpr[0] = Task2;
        Assert.Equal(Outcome.Done, _bench.Run(0x0F, 0x00, 0xD8));
        Assert.Equal(0x8B, _bench.Ram.Base[Gdt + Task2 + 5]);
        Assert.Equal(Outcome.Fault, _bench.Run(0x0F, 0x00, 0xD8));
    }

    [Fact]
    public void InspectionInstructionsSetZero()
    {
        _bench.SetDescriptor(Free, SystemDescriptor(0, 0x12345, 0x91, 0x8));
        State->Gpr[1] = Free;
        Assert.Equal(Outcome.Done, _bench.Run(0x0F, 0x03, 0xC1));
        Assert.Equal((0x1234_5FFFul, EflagsBits.Zero), (State->Gpr[0], State->ArithFlags & EflagsBits.Zero));
        Assert.Equal(Outcome.Done, _bench.Run(0x0F, 0x02, 0xC1));
        Assert.Equal(0x0081_9100ul, State->Gpr[0]);
        Assert.Equal(Outcome.Done, _bench.Run(0x0F, 0x00, 0xE9));
        Assert.Equal(0u, State->ArithFlags & EflagsBits.Zero);
        Assert.Equal(Outcome.Done, _bench.Run(0x0F, 0x00, 0xE1));
        Assert.Equal(EflagsBits.Zero, State->ArithFlags & EflagsBits.Zero);
        State->Gpr[1] = 0;
        Assert.Equal(Outcome.Done, _bench.Run(0x0F, 0x03, 0xC1));
        Assert.Equal(0u, State->ArithFlags & EflagsBits.Zero);
        using var real = new ProcessorBench();
        Assert.Equal(Outcome.Fault, real.Run(0x0F, 0x00, 0xC8));
        Assert.Equal(Vector.InvalidOpcode, real.State->FaultVector);
    }

    [Fact]
    public void SysenterAndSysexit()
    {
        _bench.User();
        State->SysenterCs = Code0;
        State->SysenterEip = 0x7000;
        State->SysenterEsp = 0x7800;
        Assert.Equal(Outcome.Done, _bench.Run(0x0F, 0x34));
        Assert.Equal((0u, 0x7000ul, 0x7800ul), (State->Cpl, State->Rip, State->Gpr[4]));
        Assert.Equal(Data0, State->Segment(SegmentRegister.Ss).Selector);
        State->Gpr[1] = UserStack;
        State->Gpr[2] = 0x5555;
        Assert.Equal(Outcome.Done, _bench.Run(0x0F, 0x35));
        Assert.Equal((3u, 0x5555ul, (ulong)UserStack), (State->Cpl, State->Rip, State->Gpr[4]));
        Assert.Equal((Code3, Data3),
            (State->Segment(SegmentRegister.Cs).Selector, State->Segment(SegmentRegister.Ss).Selector));
        State->SysenterCs = 3;
        Assert.Equal(Outcome.Fault, _bench.Run(0x0F, 0x34));
    }

    private void PrepareSecondTask()
    {
        _bench.Write32(Tss2 + 0x20, 0x6000);
        _bench.Write32(Tss2 + 0x24, 2);
        _bench.Write32(Tss2 + 0x28, 0xCAFE);
        _bench.Write32(Tss2 + 0x38, 0x9000);
        uint[] selectors = [Data0, Code0, Data0, Data0, 0, 0];
        for (int i = 0; i < 6; i++)
        {
            _bench.Write32(Tss2 + 0x48 + (uint)(i * 4), selectors[i]);
        }
    }
}
