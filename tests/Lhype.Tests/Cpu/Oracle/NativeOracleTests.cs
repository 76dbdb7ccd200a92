// The oracle itself: registers, flags, FPU state, faults and segment bases arrive and come back unharmed,
// and foreign signals (a null reference in managed code) still reach the runtime.

using System;
using System.Threading.Tasks;
using Lhype.Cpu;
using Xunit;

namespace Lhype.Tests.Cpu.Oracle;

public sealed class NativeOracleTests
{
    private static RunResult Run(CpuImage cpu, params byte[] code)
    {
        var memory = new TestMemory();
        memory.FillPattern();
        code.CopyTo(memory.Code);
        memory.Code[code.Length] = 0xF4;
        return NativeOracle.Instance.Run(cpu, memory);
    }

    [Fact]
    public void RunsToTheHaltAndReturnsAllRegisters()
    {
        var cpu = new CpuImage();
        for (uint i = 0; i < 8; i++)
        {
            cpu.Gpr[i] = 0x8111_1111 * i;
        }

        RunResult result = Run(cpu, 0x90);
        Assert.True(result.Completed, result.ToString());
        Assert.Equal(cpu.Gpr, result.Cpu.Gpr);
        Assert.Equal(TestLayout.Code + 1, result.Cpu.Eip);
    }

    [Fact]
    public void IsReally32Bit()
    {
        // 40 is INC EAX in 32-bit mode and a REX prefix in 64-bit mode.
        RunResult result = Run(new CpuImage(), 0x40);
        Assert.Equal(1u, result.Cpu.Gpr[0]);
    }

    [Fact]
    public void DivideByZeroIsVector0AtTheInstruction()
    {
        RunResult result = Run(new CpuImage(), 0x90, 0xF7, 0xF1);
        Assert.Equal(Vector.DivideError, result.Vector);
        Assert.Equal(TestLayout.Code + 1, result.Cpu.Eip);
    }

    [Fact]
    public void PageFaultsCarryAddressAndErrorCode()
    {
        var cpu = new CpuImage();
        cpu.Gpr[1] = TestLayout.ReadOnly + 8;
        RunResult result = Run(cpu, 0x89, 0x01);
        Assert.Equal((Vector.PageFault, 7u, TestLayout.ReadOnly + 8),
            (result.Vector, result.ErrorCode, result.FaultAddress));
        cpu.Gpr[1] = TestLayout.Data - 2;
        result = Run(cpu, 0x8B, 0x01);
        Assert.Equal((Vector.PageFault, 4u, TestLayout.Data - 2),
            (result.Vector, result.ErrorCode, result.FaultAddress));
    }

    [Fact]
    public void SegmentBasesAreTheSnippets()
    {
        var cpu = new CpuImage { FsBase = TestLayout.Data, GsBase = TestLayout.Data + 64 };
        RunResult result = Run(cpu, 0x64, 0xA1, 4, 0, 0, 0, 0x65, 0x8B, 0x0D, 8, 0, 0, 0);
        Assert.True(result.Completed, result.ToString());
        Assert.Equal(BitConverter.ToUInt32(result.Memory.Data[4..8]), result.Cpu.Gpr[0]);
        Assert.Equal(BitConverter.ToUInt32(result.Memory.Data[72..76]), result.Cpu.Gpr[1]);
    }

    [Fact]
    public void FpuStateGoesInAndOut()
    {
        var cpu = new CpuImage();
        cpu.Fx[160] = 0x55;
        // fld1; pxor xmm1, xmm0
        RunResult result = Run(cpu, 0xD9, 0xE8, 0x66, 0x0F, 0xEF, 0xC8);
        Assert.Equal(0x55, result.Cpu.Fx[176]);
        Assert.Equal(0x80, result.Cpu.Fx[4]);
        Assert.Equal(0x3FFF, BitConverter.ToUInt16(result.Cpu.Fx, 40));
    }

    [Fact]
    public void AliasIsTheSameMemory()
    {
        var cpu = new CpuImage();
        cpu.Gpr[1] = TestLayout.Alias + 0x800;
        cpu.Gpr[0] = 0x12345678;
        RunResult result = Run(cpu, 0x89, 0x01);
        Assert.Equal(0x78, result.Memory.Code[0x800]);
    }

    [Fact]
    public async Task ForeignFaultsStillReachTheRuntime()
    {
        _ = Run(new CpuImage(), 0x90);
        await Task.WhenAll(Task.Run(RunMany), Task.Run(NullReferences));

        static void RunMany()
        {
            for (int i = 0; i < 500; i++)
            {
                Assert.True(Run(new CpuImage(), 0x90).Completed);
            }
        }

        static void NullReferences()
        {
            string? nothing = Environment.GetEnvironmentVariable("LHYPE_NO_SUCH_VARIABLE");
            for (int i = 0; i < 50; i++)
            {
                Assert.Throws<NullReferenceException>(() => nothing!.Length);
            }
        }
    }
}
