// Strings, ports, stack, system registers, MSRs and CPUID, one instruction at a time.

using System;
using Lhype.Cpu;
using Lhype.Cpu.Architecture;
using Lhype.Host;
using Xunit;
using static Lhype.Tests.Cpu.Architecture.ProcessorBench;

namespace Lhype.Tests.Cpu.Architecture;

public sealed unsafe class InstructionTests : IDisposable
{
    private readonly ProcessorBench _bench = new ProcessorBench().Protect();

    private CpuState* State => _bench.State;

    private byte* Ram => _bench.Ram.Base;

    public void Dispose() => _bench.Dispose();

    [Theory]
    [InlineData(1, false, 10000u)]
    [InlineData(2, false, 5000u)]
    [InlineData(4, true, 3000u)]
    public void RepMovsMovesAcrossPages(int size, bool backwards, uint count)
    {
        uint bytes = count * (uint)size;
        for (uint i = 0; i < bytes; i++)
        {
            Ram[Data + 3 + i] = (byte)((i * 7) + (i >> 8));
        }

        uint edge = backwards ? bytes - (uint)size : 0;
        State->DirectionStep = backwards ? -1 : 1;
        State->Gpr[6] = Data + 3 + edge;
        State->Gpr[7] = Data + 0x4_0001 + edge;
        State->Gpr[1] = count;
        byte[] code = size switch { 1 => [0xF3, 0xA4], 2 => [0xF3, 0x66, 0xA5], _ => [0xF3, 0xA5] };
        Assert.Equal(Outcome.Done, _bench.Run(code));
        Assert.Equal(0ul, State->Gpr[1]);
        Assert.NotEqual(0x5000ul, State->Rip);
        uint moved = backwards ? 0 - bytes : bytes;
        Assert.Equal((ulong)(Data + 3 + edge + moved), State->Gpr[6]);
        Assert.True(new Span<byte>(Ram + Data + 3, (int)bytes)
            .SequenceEqual(new Span<byte>(Ram + Data + 0x4_0001, (int)bytes)));
        Assert.Equal(0, Ram[Data + 0x4_0001 + bytes]);
    }

    [Fact]
    public void LongRunsLetInterruptsIn()
    {
        State->Gpr[7] = Data;
        State->Gpr[1] = 0x2_0000;
        Assert.Equal(Outcome.Done, _bench.Run(0xF3, 0xAA));
        Assert.Equal((0x1_0000ul, 0x5000ul), (State->Gpr[1], State->Rip));
        Assert.Equal(Outcome.Done, _bench.Run(0xF3, 0xAA));
        Assert.Equal((0ul, 0x5002ul), (State->Gpr[1], State->Rip));
    }

    [Fact]
    public void FaultInTheMiddleKeepsWhatWasDone()
    {
        State->Segment(SegmentRegister.Es).Limit = Data + 9;
        State->Gpr[7] = Data;
        State->Gpr[0] = 0x11;
        State->Gpr[1] = 100;
        Assert.Equal(Outcome.Fault, _bench.Run(0xF3, 0xAA));
        Assert.Equal((90ul, (ulong)Data + 10, 0x5000ul), (State->Gpr[1], State->Gpr[7], State->Rip));
        Assert.Equal((0x11, 0), (Ram[Data + 9], (int)Ram[Data + 10]));
    }

    [Fact]
    public void SixteenBitStringsWrapAndKeepUpperHalves()
    {
        State->Gpr[7] = 0xABCD_FFFE;
        State->Gpr[1] = 0x1234_0004;
        State->Gpr[0] = 0x77;
        Assert.Equal(Outcome.Done, _bench.Run(0x67, 0xF3, 0xAA));
        Assert.Equal((0xABCD_0002ul, 0x1234_0000ul), (State->Gpr[7], State->Gpr[1]));
        Assert.Equal((0x77, 0x77, 0x77), (Ram[0xFFFE], Ram[0], (int)Ram[1]));
    }

    [Fact]
    public void RepneScasFindsAndSetsFlagsOfTheLastComparison()
    {
        Ram[Data + 5000] = 0x42;
        State->Gpr[0] = 0x42;
        State->Gpr[7] = Data;
        State->Gpr[1] = 10000;
        Assert.Equal(Outcome.Done, _bench.Run(0xF2, 0xAE));
        Assert.Equal((ulong)Data + 5001, State->Gpr[7]);
        Assert.Equal((4999ul, EflagsBits.Zero | EflagsBits.Parity), (State->Gpr[1], State->ArithFlags));
    }

    [Fact]
    public void RepeCmpsStopsAtTheDifference()
    {
        Ram[Data + 0x2010] = 1;
        State->Gpr[6] = Data;
        State->Gpr[7] = Data + 0x2000;
        State->Gpr[1] = 100;
        Assert.Equal(Outcome.Done, _bench.Run(0xF3, 0xA6));
        Assert.Equal(83ul, State->Gpr[1]);
        Assert.Equal(EflagsBits.Carry | EflagsBits.Sign | EflagsBits.Adjust | EflagsBits.Parity,
            State->ArithFlags);
    }

    [Fact]
    public void PortStringsAndPermissionBitmap()
    {
        _bench.Input.Enqueue(0x1111);
        _bench.Input.Enqueue(0x2222);
        State->Gpr[2] = 0x1F0;
        State->Gpr[7] = Data;
        State->Gpr[1] = 2;
        Assert.Equal(Outcome.Done, _bench.Run(0xF3, 0x66, 0x6D));
        Assert.Equal(0x2222_1111u, _bench.Read32(Data));

        _bench.User();
        Assert.Equal(Outcome.Fault, _bench.Run(0xEC));
        Assert.Equal((Vector.GeneralProtection, 0u), _bench.LastFault);
        State->Segment(SegmentRegister.Tr).Limit = 0x68 + 0x80;
        Ram[Tss + 0x68 + 0x3E] = 0xFD;
        State->Gpr[2] = 0x1F1;
        State->Gpr[0] = 0x55;
        Assert.Equal(Outcome.Done, _bench.Run(0xEE));
        Assert.Equal(((ushort)0x1F1, 1, 0x55u), _bench.Written[^1]);
        Assert.Equal(Outcome.Fault, _bench.Run(0x66, 0xEF));
        State->SystemFlags |= EflagsBits.Iopl;
        Assert.Equal(Outcome.Done, _bench.Run(0x66, 0xEF));
    }

    [Fact]
    public void PopToMemoryUsesTheNewStackPointer()
    {
        _bench.Write32(KernelStack, 0x1234_5678);
        Assert.Equal(Outcome.Done, _bench.Run(0x8F, 0x04, 0x24));
        Assert.Equal((0x1234_5678u, (ulong)KernelStack + 4), (_bench.Read32(KernelStack + 4), State->Gpr[4]));
    }

    [Fact]
    public void PopfObeysPrivilege()
    {
        _bench.User();
        State->Eflags = 0x202;
        _bench.Write32(UserStack, 0xFFFF_FFFF);
        Assert.Equal(Outcome.Done, _bench.Run(0x9D));
        Assert.Equal(0x24_4FD7u, State->Eflags);
        _bench.Protect();
        State->Cpl = 0;
        _bench.Write32(KernelStack, 0);
        Assert.Equal(Outcome.Done, _bench.Run(0x9D));
        Assert.Equal(2u, State->Eflags);
    }

    [Fact]
    public void StackOf16BitsLeavesUpperHalfAlone()
    {
        State->Segment(SegmentRegister.Ss).Attributes &= ~SegmentCache.BigBit;
        State->Gpr[4] = 0xFFFF_0002;
        State->Gpr[0] = 0xAABB_CCDD;
        Assert.Equal(Outcome.Done, _bench.Run(0x50));
        Assert.Equal(0xFFFF_FFFEul, State->Gpr[4]);
        State->Gpr[4] = 0xFFFF_0000;
        Assert.Equal(Outcome.Done, _bench.Run(0x50));
        Assert.Equal(0xFFFF_FFFCul, State->Gpr[4]);
        Assert.Equal(0xAABB_CCDDu, _bench.Read32(0xFFFC));
    }

    [Theory]
    [InlineData(0x8000_0010u, false)]
    [InlineData(0x2000_0011u, false)]
    [InlineData(0x6000_0011u, true)]
    [InlineData(0x0000_0033u, true)]
    public void Cr0Combinations(uint value, bool allowed)
    {
        State->Gpr[0] = value;
        Assert.Equal(allowed ? Outcome.Done : Outcome.Fault, _bench.Run(0x0F, 0x22, 0xC0));
        Assert.Equal(allowed ? value | 0x10 : 0x11ul, State->Cr0);
    }

    [Fact]
    public void Cr4ReservedBitsAndPdptes()
    {
        State->Gpr[0] = 1 << 21;
        Assert.Equal(Outcome.Fault, _bench.Run(0x0F, 0x22, 0xE0));
        State->Gpr[0] = 0x20;
        Assert.Equal(Outcome.Done, _bench.Run(0x0F, 0x22, 0xE0));
        _bench.Write64(Data, 0x1 | (1 << 7));
        State->Cr3 = Data;
        State->Gpr[0] = 0x8000_0011;
        Assert.Equal(Outcome.Fault, _bench.Run(0x0F, 0x22, 0xC0));
        Assert.Equal(0x11ul, State->Cr0);
        _bench.Write64(Data, 0x1_1001);
        _bench.Write64(0x1_1000, 0x83);
        Assert.Equal(Outcome.Done, _bench.Run(0x0F, 0x22, 0xC0));
        Assert.Equal(0x1_1001ul, State->Pdpte[0]);
        _bench.Write64(Data + 32, 0x2);
        State->Gpr[0] = Data + 32;
        Assert.Equal(Outcome.Done, _bench.Run(0x0F, 0x22, 0xD8));
        Assert.Equal((ulong)Data + 32, State->Cr3);
    }

    [Fact]
    public void PrivilegedInstructionsFaultInRing3()
    {
        _bench.User();
        byte[][] privileged =
        [
            [0xF4], [0x0F, 0x20, 0xC0], [0x0F, 0x22, 0xD8], [0x0F, 0x21, 0xC0], [0x0F, 0x30], [0x0F, 0x32],
            [0x0F, 0x06], [0x0F, 0x08], [0x0F, 0x09], [0x0F, 0x01, 0x38], [0x0F, 0x01, 0x10],
            [0x0F, 0x01, 0xF0],
            [0x0F, 0x00, 0xD0], [0xFA],
        ];
        foreach (byte[] code in privileged)
        {
            Assert.Equal(Outcome.Fault, _bench.Run(code));
            Assert.Equal((Vector.GeneralProtection, 0u), _bench.LastFault);
        }

        Assert.Equal(Outcome.Fault, _bench.Run(0x0F, 0x0B));
        Assert.Equal(Vector.InvalidOpcode, State->FaultVector);
    }

    [Fact]
    public void DebugRegistersAndGeneralDetect()
    {
        State->Gpr[0] = 0xFFFF_FFFF;
        Assert.Equal(Outcome.Done, _bench.Run(0x0F, 0x23, 0xF0));
        Assert.Equal(0xFFFF_EFFFul, State->Dr[6]);
        State->Gpr[0] = 0x2000;
        Assert.Equal(Outcome.Done, _bench.Run(0x0F, 0x23, 0xF8));
        Assert.Equal(0x2400ul, State->Dr[7]);
        Assert.Equal(Outcome.Fault, _bench.Run(0x0F, 0x21, 0xC0));
        Assert.Equal((Vector.Debug, 0x2000ul), (State->FaultVector, State->Dr[6] & 0x2000));
        _bench.SetGate(1, Code0, 0x7000, 0x8E);
        Assert.True(_bench.Processor.DeliverException());
        Assert.Equal(0x400ul, State->Dr[7]);
        State->Cr4 = 8;
        Assert.Equal(Outcome.Fault, _bench.Run(0x0F, 0x21, 0xE0));
        Assert.Equal(Vector.InvalidOpcode, State->FaultVector);
    }

    [Theory]
    [InlineData(0x277u, 0x0007_0406_0007_0406ul, true)]
    [InlineData(0x277u, 0x0207_0406_0007_0406ul, false)]
    [InlineData(0xC000_0080u, 0x800ul, true)]
    [InlineData(0xC000_0080u, 0x100ul, true)]
    [InlineData(0xC000_0080u, 0x200ul, false)]
    [InlineData(0xC000_0082u, 0x8000_0000_0000ul, false)]
    [InlineData(0xC000_0100u, 0xFFFF_8000_0000_0000ul, true)]
    [InlineData(0x1Bu, 0ul, false)]
    [InlineData(0x1Bu, 1ul, true)]
    [InlineData(0x8Bu, 0ul, true)]
    [InlineData(0x9999u, 0ul, false)]
    public void MsrWrites(uint index, ulong value, bool allowed)
    {
        State->Gpr[1] = index;
        State->Gpr[0] = (uint)value;
        State->Gpr[2] = value >> 32;
        Assert.Equal(allowed ? Outcome.Done : Outcome.Fault, _bench.Run(0x0F, 0x30));
    }

    [Fact]
    public void TimeStampCounter()
    {
        State->Gpr[1] = 0x10;
        State->Gpr[0] = 5000;
        State->Gpr[2] = 1;
        Assert.Equal(Outcome.Done, _bench.Run(0x0F, 0x30));
        Assert.Equal(Outcome.Done, _bench.Run(0x0F, 0x31));
        Assert.Equal((5000ul, 1ul), (State->Gpr[0], State->Gpr[2]));
        _bench.User();
        State->Cr4 = 4;
        Assert.Equal(Outcome.Fault, _bench.Run(0x0F, 0x31));
    }

    [Fact]
    public void DisabledFloatingPointFaults()
    {
        State->Cr0 |= 0x4;
        AssertFault(Vector.DeviceNotAvailable, 0xD9, 0xE8);
        AssertFault(Vector.InvalidOpcode, 0x0F, 0xEF, 0xC0);
        State->Cr0 = 0x19;
        AssertFault(Vector.DeviceNotAvailable, 0x0F, 0xEF, 0xC0);
        AssertFault(Vector.InvalidOpcode, 0x0F, 0x57, 0xC0);
        State->Cr4 = 0x200;
        AssertFault(Vector.DeviceNotAvailable, 0x0F, 0x57, 0xC0);
        AssertFault(Vector.DeviceNotAvailable, 0x0F, 0xAE, 0x00);
        State->Cr0 |= 2;
        AssertFault(Vector.DeviceNotAvailable, 0x9B);
        Assert.Equal(Outcome.Done, _bench.Run(0x0F, 0xAE, 0xE8));
        State->Cr0 = 0x11;
        State->Gpr[0] = Data;
        _bench.Write32(Data, 0x1_0000);
        AssertFault(Vector.GeneralProtection, 0x0F, 0xAE, 0x10);
    }

    [Fact]
    public void OldModelsLackNewInstructions()
    {
        using var old = new ProcessorBench(CpuModel.Find("486"));
        old.Protect();
        byte[][] missing = [[0x0F, 0xA2], [0x0F, 0x31], [0x0F, 0x32], [0x0F, 0x34], [0x0F, 0x20, 0xE0]];
        foreach (byte[] code in missing)
        {
            Assert.Equal(Outcome.Fault, old.Run(code));
            Assert.Equal(Vector.InvalidOpcode, old.State->FaultVector);
        }

        old.Write32(KernelStack, 0x24_0000);
        Assert.Equal(Outcome.Done, old.Run(0x9D));
        Assert.Equal(EflagsBits.AlignmentCheck, old.State->SystemFlags);
    }

    [Fact]
    public void CpuidIsConsistent()
    {
        CpuidResult zero = CpuModel.Base.Query(0, 0, 0);
        Assert.Equal((0x16u, 0x756E_6547u), (zero.Eax, zero.Ebx));
        Assert.Equal(0x4B4D_564Bu, CpuModel.Base.Query(0x4000_0000, 0, 0).Ebx);
        Assert.Equal(CpuModel.Base.Query(0x16, 0, 1_000_000_000),
            CpuModel.Base.Query(0x99, 0, 1_000_000_000));
        foreach (ulong hz in (ulong[])[800_000_000, 2_345_678_000, 5_123_456_789])
        {
            CpuidResult ratio = CpuModel.Base.Query(0x15, 0, hz);
            Assert.InRange((ulong)ratio.Ecx / 1000 * ratio.Ebx, 1ul, uint.MaxValue);
            double shown = (double)ratio.Ecx * ratio.Ebx / ratio.Eax;
            Assert.InRange(shown / hz, 1 - 1e-6, 1 + 1e-6);
        }

        foreach (CpuModel model in CpuModel.All)
        {
            if (model.MissingOnHost == null)
            {
                Assert.Same(model, CpuModel.Find(model.Name.ToUpperInvariant()));
            }
            else
            {
                LhypeException refused = Assert.Throws<LhypeException>(() => CpuModel.Find(model.Name));
                Assert.Contains(model.MissingOnHost, refused.Message, StringComparison.Ordinal);
            }
        }

        LhypeException error = Assert.Throws<LhypeException>(() => CpuModel.Find("z80"));
        Assert.Contains("pentium3", error.Message, StringComparison.Ordinal);
    }

    private void AssertFault(uint vector, params byte[] code)
    {
        Assert.Equal(Outcome.Fault, _bench.Run(code));
        Assert.Equal(vector, State->FaultVector);
        Assert.Equal(0x5000ul, State->Rip & ~0xFFul);
    }
}
