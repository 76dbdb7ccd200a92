// Faults of emitted code must come back with their facts, and faults of managed code must stay what they
// were.

using System;
using System.Runtime.CompilerServices;
using Lhype.Host;
using Xunit;

namespace Lhype.Tests.Host;

public sealed unsafe class FaultHandlerTests
{
    private const int PcSlot = 8, TrapSlot = 16, AddressSlot = 24, RegisterSlot = 32, ErrorSlot = 40;
    private const int Entry = 0, Resume = 64;

    // long f(byte* state): r15 = state, then the faulting instruction, which must not return normally.
    private static readonly byte[] Prologue =
    [
        0x41, 0x57,                     // push r15
        0x49, 0x89, 0xFF,               // mov  r15, rdi
        0xB8, 0x01, 0x00, 0x00, 0x00,   // mov  eax, 1
        0x31, 0xD2,                     // xor  edx, edx
        0x31, 0xC9,                     // xor  ecx, ecx
        0xBE, 0x78, 0x56, 0x34, 0x12,   // mov  esi, 0x12345678
    ];

    // Keeps ESI, to show that the registers of the fault are there, and returns 42.
    private static readonly byte[] ResumeCode =
    [
        0x49, 0x89, 0x77, RegisterSlot, // mov [r15+RegisterSlot], rsi
        0xB8, 0x2A, 0x00, 0x00, 0x00,   // mov eax, 42
        0x41, 0x5F,                     // pop r15
        0xC3,                           // ret
    ];

    public static TheoryData<string, byte[], uint, ulong> Faults => new()
    {
        { "div ecx", [0xF7, 0xF1], 0, 0 },
        { "mov eax, [rcx+0x40]", [0x8B, 0x41, 0x40], 14, 0x40 },
        { "ud2", [0x0F, 0x0B], 6, 0 },
        { "hlt", [0xF4], 13, 0 },
    };

    [Theory]
    [MemberData(nameof(Faults))]
    public void FaultOfEmittedCodeResumesWithItsFacts(string name, byte[] instruction, uint trap,
        ulong address)
    {
        Assert.NotEmpty(name);
        using CodeMemory code = new(4096);
        Prologue.CopyTo(new Span<byte>(code.Writable + Entry, Resume));
        instruction.CopyTo(new Span<byte>(code.Writable + Entry + Prologue.Length, 16));
        ResumeCode.CopyTo(new Span<byte>(code.Writable + Resume, 64));

        ulong* state = stackalloc ulong[8];
        using (FaultHandler.PrepareThread())
        using (FaultHandler.Register(code.Executable, Resume, code.Executable + Resume,
            new FaultSlots(PcSlot, TrapSlot, AddressSlot, ErrorSlot)))
        {
            delegate* unmanaged[Cdecl]<ulong*, long> run =
                (delegate* unmanaged[Cdecl]<ulong*, long>)code.Executable;
            for (int i = 0; i < 3; i++)
            {
                Assert.Equal(42, run(state));
                Assert.Equal((ulong)(code.Executable + Prologue.Length), state[PcSlot / 8]);
                Assert.Equal(trap, (uint)state[TrapSlot / 8]);
                Assert.Equal(0x12345678UL, state[RegisterSlot / 8]);
                if (trap == 14)
                {
                    Assert.Equal(address, state[AddressSlot / 8]);
                    Assert.Equal(4u, (uint)state[ErrorSlot / 8]);   // a read from user mode, not present
                }

                new Span<ulong>(state, 8).Clear();
            }
        }
    }

    [Fact]
    public void ManagedFaultsStayExceptions()
    {
        byte* nothing = stackalloc byte[64];
        using IDisposable range = FaultHandler.Register(nothing, 64, nothing, default);
        AssertManagedExceptions();
        using (FaultHandler.PrepareThread())
        {
            AssertManagedExceptions();
        }

        AssertManagedExceptions();
    }

    [Fact]
    public void PreparingTwiceIsHarmless()
    {
        using IDisposable first = FaultHandler.PrepareThread();
        FaultHandler.PrepareThread().Dispose();
        AssertManagedExceptions();
    }

    private static void AssertManagedExceptions()
    {
        for (int i = 0; i < 3; i++)
        {
            Assert.Throws<NullReferenceException>(() => Length(null!));
            Assert.Throws<DivideByZeroException>(() => Divide(i, 0));
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static int Length(string text) => text.Length;

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static int Divide(int a, int b) => a / b;
}
