// The page walk against page tables written by hand: formats, rights, error codes, A/D bits.

using System;
using System.Runtime.InteropServices;
using Lhype.Cpu;
using Lhype.Cpu.Mmu;
using Lhype.Host;
using Xunit;

namespace Lhype.Tests.Cpu.Mmu;

public sealed unsafe class PageWalkTests : IDisposable
{
    private const uint P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80, G = 0x100;
    private const ulong NX = 1UL << 63;

    private readonly GuestRam _ram = new(16 << 20);
    private readonly CpuState* _state;

    public PageWalkTests()
    {
        _state = (CpuState*)NativeMemory.AlignedAlloc(CpuState.SizeBytes, 4096);
        NativeMemory.Clear(_state, CpuState.SizeBytes);
        _state->Cr0 = ControlBits.Cr0Paging | ControlBits.Cr0Protection | ControlBits.Cr0WriteProtect;
        _state->Cr3 = 0x1000;
    }

    public void Dispose()
    {
        NativeMemory.AlignedFree(_state);
        _ram.Dispose();
    }

    [Fact]
    public void PagingOffIsIdentityAndWraps()
    {
        _state->Cr0 = 1;
        Assert.True(Walk(0x1_2345_6789, AccessKind.Write, true, out PageTranslation t));
        Assert.Equal(0x2345_6000UL, t.PageGpa);
        Assert.True(t.WriteReady);
    }

    [Fact]
    public void TwoLevelWalkSetsAccessedAndDirty()
    {
        Write32(0x1000 + (0x301 * 4), 0x2000 | P | W);
        Write32(0x2000 + (5 * 4), 0x7000 | P | W | G);
        Assert.True(Walk(0xC040_5123, AccessKind.Read, false, out PageTranslation t));
        Assert.Equal(0x7000UL, t.PageGpa);
        Assert.False(t.WriteReady);
        Assert.False(t.Global);
        Assert.Equal(0x2000u | P | W | A, Read32(0x1000 + (0x301 * 4)));
        Assert.Equal(0x7000u | P | W | G | A, Read32(0x2000 + (5 * 4)));

        _state->Cr4 = ControlBits.Cr4Pge;
        Assert.True(Walk(0xC040_5123, AccessKind.Write, false, out t));
        Assert.True(t.WriteReady);
        Assert.True(t.Global);
        Assert.Equal(0x7000u | P | W | G | A | D, Read32(0x2000 + (5 * 4)));
    }

    [Theory]
    [InlineData(0u, P | W | U, AccessKind.Read, false, 0u)]
    [InlineData(P | W | U, 0u, AccessKind.Write, true, 6u)]
    [InlineData(P | W, P | W | U, AccessKind.Read, true, 5u)]
    [InlineData(P | U, P | W | U, AccessKind.Write, true, 7u)]
    [InlineData(P | W | U, P | U, AccessKind.Write, false, 3u)]
    public void RightsOfBothLevelsCount(uint pde, uint pte, AccessKind kind, bool user, uint error)
    {
        Write32(0x1000, 0x2000 | pde);
        Write32(0x2000 + 12, 0x7000 | pte);
        Assert.False(Walk(0x3ABC, kind, user, out _));
        Assert.Equal(Vector.PageFault, _state->FaultVector);
        Assert.Equal(error, _state->FaultError);
        Assert.Equal(0x3ABCUL, _state->FaultAddress);
        Assert.Equal(0u, Read32(0x2000 + 12) & (A | D));
    }

    [Fact]
    public void SupervisorIgnoresReadOnlyWithoutWriteProtect()
    {
        _state->Cr0 &= ~ControlBits.Cr0WriteProtect;
        Write32(0x1000, 0x2000 | P);
        Write32(0x2000, 0x7000 | P);
        Assert.True(Walk(0, AccessKind.Write, false, out PageTranslation t));
        Assert.True(t.WriteReady);
    }

    [Fact]
    public void LargePageNeedsPseAndReachesAbove4GiB()
    {
        Write32(0x1000 + 4, 0x0080_0000 | P | W | PS | (3 << 13));
        _state->Cr4 = ControlBits.Cr4Pse;
        Assert.True(Walk(0x0040_0000 + 0x12_3456, AccessKind.Write, false, out PageTranslation t));
        Assert.Equal(0x3_0080_0000UL + 0x12_3000, t.PageGpa);

        Write32(0x1000 + 4, 0x0080_0000 | P | W | PS | (1 << 21));
        Assert.False(Walk(0x0040_0000, AccessKind.Read, false, out _));
        Assert.Equal(9u, _state->FaultError);

        _state->Cr4 = 0;
        Write32(0x1000 + 4, 0x3000 | P | W | PS);
        Write32(0x3000, 0x9000 | P);
        Assert.True(Walk(0x0040_0000, AccessKind.Read, false, out t));
        Assert.Equal(0x9000UL, t.PageGpa);
    }

    [Fact]
    public void PaeNoExecuteAndReservedBits()
    {
        _state->Cr4 = ControlBits.Cr4Pae;
        _state->Pdpte[1] = 0x3000 | P;
        Write64(0x3000 + 8, 0x4000 | P | W | U);
        Write64(0x4000 + 16, 0x1_2345_6000UL | P | W | U | NX);
        Assert.False(Walk(0x4020_2000, AccessKind.Read, true, out _));
        Assert.Equal(0xDu, _state->FaultError);

        _state->Efer = ControlBits.EferNoExecute;
        Assert.True(Walk(0x4020_2000, AccessKind.Read, true, out PageTranslation t));
        Assert.Equal(0x1_2345_6000UL, t.PageGpa);
        Assert.False(Walk(0x4020_2004, AccessKind.Execute, true, out _));
        Assert.Equal(0x15u, _state->FaultError);

        Write64(0x4000 + 16, 0x5000 | P | (1UL << 40));
        Assert.False(Walk(0x4020_2000, AccessKind.Write, false, out _));
        Assert.Equal(0xBu, _state->FaultError);

        Write64(0x3000 + 8, 0x20_0000 | P | W | PS);
        Assert.True(Walk(0x4030_1234, AccessKind.Write, false, out t));
        Assert.Equal(0x30_1000UL, t.PageGpa);
        Assert.Equal(0x20_0000UL | P | W | PS | A | D, Read64(0x3000 + 8));
        Assert.False(Walk(0x8000_0000, AccessKind.Execute, false, out _));
        Assert.Equal(0x10u, _state->FaultError);
    }

    [Fact]
    public void SmepForbidsSupervisorFetchFromUserPages()
    {
        Write32(0x1000, 0x2000 | P | W | U);
        Write32(0x2000, 0x7000 | P | W | U);
        Assert.True(Walk(0, AccessKind.Execute, false, out _));
        _state->Cr4 = ControlBits.Cr4Smep;
        Assert.False(Walk(0, AccessKind.Execute, false, out _));
        Assert.Equal(0x11u, _state->FaultError);
        Assert.True(Walk(0, AccessKind.Execute, true, out _));
    }

    [Fact]
    public void SmapObeysAc()
    {
        Write32(0x1000, 0x2000 | P | W | U);
        Write32(0x2000, 0x7000 | P | W | U);
        _state->Cr4 = ControlBits.Cr4Smap;
        Assert.False(Walk(0, AccessKind.Read, false, out _));
        Assert.Equal(1u, _state->FaultError);
        _state->SystemFlags = EflagsBits.AlignmentCheck;
        Assert.True(Walk(0, AccessKind.Read, false, out _));
        _state->Cpl = 3;
        Assert.False(Walk(0, AccessKind.Read, false, out _));
    }

    [Fact]
    public void TablesOutsideRamReadAsOnes()
    {
        _state->Cr3 = 0x4000_0000;
        Assert.True(Walk(0x1234, AccessKind.Read, true, out PageTranslation t));
        Assert.Equal(0xFFFF_F000UL, t.PageGpa);
        _state->Cr4 = ControlBits.Cr4Pse;
        Assert.False(Walk(0x1234, AccessKind.Read, true, out _));
        Assert.Equal(0xDu, _state->FaultError);
    }

    [Fact]
    public void FourLevels()
    {
        _state->Cr4 = ControlBits.Cr4Pae;
        _state->Efer = ControlBits.EferLongActive | ControlBits.EferLongEnable;
        Write64(0x1000 + (511 * 8), 0x2000 | P | W | U | (1UL << 60));
        Write64(0x2000 + (510 * 8), 0x3000 | P | W | U);
        Write64(0x3000, 0x4000 | P | W | U);
        Write64(0x4000 + 8, 0x6000 | P | W | U);
        Assert.True(Walk(0xFFFF_FFFF_8000_1000, AccessKind.Write, true, out PageTranslation t));
        Assert.Equal(0x6000UL, t.PageGpa);
        Write64(0x1000 + (511 * 8), 0x2000 | P | W | U | PS);
        Assert.False(Walk(0xFFFF_FFFF_8000_1000, AccessKind.Write, true, out _));
        Assert.Equal(0xFu, _state->FaultError);
    }

    private bool Walk(ulong linear, AccessKind kind, bool user, out PageTranslation translation) =>
        PageWalk.TryTranslate(_state, _ram, linear, kind, user, out translation);

    private void Write32(ulong gpa, uint value) => *(uint*)(_ram.Base + gpa) = value;

    private uint Read32(ulong gpa) => *(uint*)(_ram.Base + gpa);

    private void Write64(ulong gpa, ulong value) => *(ulong*)(_ram.Base + gpa) = value;

    private ulong Read64(ulong gpa) => *(ulong*)(_ram.Base + gpa);
}
