// XCR0, the XSAVE family and what CPUID says of them, on the CPU model v3; and which instructions exist in
// which model. Nothing here runs a VEX-encoded instruction on the host, so no host needs AVX for it.

using System;
using System.Linq;
using Lhype.Cpu;
using Lhype.Cpu.Architecture;
using Xunit;
using static Lhype.Tests.Cpu.Architecture.ProcessorBench;

namespace Lhype.Tests.Cpu.Architecture;

public sealed unsafe class XsaveTests : IDisposable
{
    private const uint Osxsave = 1 << 27;
    private static readonly byte[] Xgetbv = [0x0F, 0x01, 0xD0], Xsetbv = [0x0F, 0x01, 0xD1];
    // With the area at [EBX].
    private static readonly byte[] Xsave = [0x0F, 0xAE, 0x23], Xrstor = [0x0F, 0xAE, 0x2B];
    private static readonly byte[] Xsaveopt = [0x0F, 0xAE, 0x33], Xsavec = [0x0F, 0xC7, 0x23];
    // vmovaps ymm1, ymm2; vpmaskmovd [ebx], ymm1, ymm2
    private static readonly byte[] Move = [0xC5, 0xFC, 0x28, 0xCA], Masked = [0xC4, 0xE2, 0x75, 0x8E, 0x13];

    private readonly ProcessorBench _bench = new ProcessorBench(Model("v3")).Protect();

    private CpuState* State => _bench.State;

    public void Dispose() => _bench.Dispose();

    private static CpuModel Model(string name) => CpuModel.All.Single(model => model.Name == name);

    [Fact]
    public void CpuidShowsTheLevelAndNoMore()
    {
        CpuModel model = Model("v3");
        // FMA, MOVBE, XSAVE, AVX, F16C.
        const uint wanted = (1u << 12) | (1 << 22) | (1 << 26) | (1 << 28) | (1 << 29);
        Assert.Equal(wanted, model.Query(1, 0, 0).Ecx & wanted);
        // No PCLMULQDQ, no AES, and OSXSAVE is not the model's to say.
        Assert.Equal(0u, model.Query(1, 0, 0).Ecx & ((1u << 1) | (1 << 25) | Osxsave));
        // BMI1, AVX2, BMI2; no AVX-512 of any kind, RTM, SHA.
        Assert.Equal(0x128u, model.Query(7, 0, 0).Ebx & 0xF023_0128u);
        Assert.Equal(0u, model.Query(7, 1, 0).Eax);
        Assert.Equal(1u << 5, model.Query(0x8000_0001, 0, 0).Ecx & (1 << 5));
        foreach (string name in (string[])["v3", "host"])
        {
            // AVX-512 (EBX 16, 17, 21, 26-28, 30, 31), PKU, CET, AMX.
            CpuidResult seven = Model(name).Query(7, 0, 0);
            Assert.Equal(0u, seven.Ebx & 0xDC23_0000);
            Assert.Equal(0u, seven.Ecx & ((1u << 1) | (1 << 3) | (1 << 7) | (1 << 11) | (1 << 14)));
            Assert.Equal(0u, seven.Edx & ((1u << 20) | (1 << 22) | (1 << 24) | (1 << 25)));
        }

        Assert.Equal(default, CpuModel.Base.Query(0xD, 0, 0));
        Assert.False(CpuModel.Base.HasXsave);
    }

    [Fact]
    public void CpuidFollowsControlRegisters()
    {
        Assert.Equal(0u, Cpuid(1, 0).Ecx & Osxsave);
        Assert.Equal(new CpuidResult(7, 576, 832, 0), Cpuid(0xD, 0));
        Enable(3);
        Assert.Equal(Osxsave, Cpuid(1, 0).Ecx & Osxsave);
        Assert.Equal(576u, Cpuid(0xD, 0).Ebx);
        Enable(7);
        Assert.Equal(new CpuidResult(7, 832, 832, 0), Cpuid(0xD, 0));
        Assert.Equal(new CpuidResult(7, 832, 0, 0), Cpuid(0xD, 1));
        Assert.Equal(new CpuidResult(256, 576, 0, 0), Cpuid(0xD, 2));
        Assert.Equal(default, Cpuid(0xD, 3));
    }

    [Fact]
    public void XsetbvHasRules()
    {
        AssertFault(Vector.InvalidOpcode, Xsetbv);
        AssertFault(Vector.InvalidOpcode, Xgetbv);
        State->Cr4 |= ControlBits.Cr4Osxsave;
        // No x87; AVX without SSE; AVX-512; ECX other than 0.
        foreach ((uint value, uint index) in ((uint, uint)[])[(0, 0), (6, 0), (5, 0), (0xE7, 0), (7, 1)])
        {
            SetWanted(value);
            State->Gpr[1] = index;
            AssertFault(Vector.GeneralProtection, Xsetbv);
        }

        State->Gpr[1] = 0;
        State->Gpr[2] = 1;
        AssertFault(Vector.GeneralProtection, Xsetbv);
        SetWanted(7);
        _bench.User();
        AssertFault(Vector.GeneralProtection, Xsetbv);
        State->Cpl = 0;
        Done(Xsetbv);
        Assert.Equal(7ul, State->Xcr0);
        SetWanted(0);
        _bench.User();
        Done(Xgetbv);
        Assert.Equal((7ul, 0ul), (State->Gpr[0], State->Gpr[2]));
        State->Gpr[1] = 1;
        Done(Xgetbv);
        Assert.Equal(3ul, State->Gpr[0]);
        State->Gpr[1] = 2;
        AssertFault(Vector.GeneralProtection, Xgetbv);
    }

    [Fact]
    public void OsxsaveIsABitOfCr4()
    {
        State->Gpr[0] = ControlBits.Cr4Osxsave;
        Done(0x0F, 0x22, 0xE0);
        using var old = new ProcessorBench();
        old.Protect();
        old.State->Gpr[0] = ControlBits.Cr4Osxsave;
        Assert.Equal(Outcome.Fault, old.Run(0x0F, 0x22, 0xE0));
        Assert.Equal(Vector.GeneralProtection, old.State->FaultVector);
    }

    [Fact]
    public void AvxIsOffUntilTheKernelEnablesIt()
    {
        AssertFault(Vector.InvalidOpcode, Move);
        Enable(3);
        AssertFault(Vector.InvalidOpcode, Move);
        State->Cr4 &= ~ControlBits.Cr4Osxsave;
        State->Xcr0 = 7;
        AssertFault(Vector.InvalidOpcode, Masked);
        Enable(7);
        State->Cr0 |= ControlBits.Cr0TaskSwitched;
        AssertFault(Vector.DeviceNotAvailable, Move);
        AssertFault(Vector.DeviceNotAvailable, Xsave);
        AssertFault(Vector.DeviceNotAvailable, Xrstor);
    }

    [Fact]
    public void MaskedMovesTouchWhatTheMaskSays()
    {
        Enable(7);
        State->Gpr[3] = Data;
        // Elements 1 and 6.
        ((uint*)State->Xmm)[(1 * 4) + 1] = 0x8000_0000;
        SetUpper(1, 0, 0x8000_0000);
        for (uint i = 0; i < 4; i++)
        {
            ((uint*)State->Xmm)[(2 * 4) + i] = 0x100 + i;
        }

        SetUpper(2, 0x0000_0105_0000_0104, 0x0000_0107_0000_0106);
        Done(Masked);
        Assert.Equal((0u, 0x101u, 0u, 0x106u), (_bench.Read32(Data), _bench.Read32(Data + 4),
            _bench.Read32(Data + 16), _bench.Read32(Data + 24)));
        // vpmaskmovd xmm3, xmm1, [ebx]: the rest of ymm3 becomes 0.
        SetUpper(3, 1, 2);
        Done(0xC4, 0xE2, 0x71, 0x8C, 0x1B);
        Assert.Equal(0x101_0000_0000ul, ((ulong*)State->Xmm)[3 * 2]);
        Assert.Equal(0ul, ((ulong*)State->Xmm)[(3 * 2) + 1]);
        Assert.Equal(0ul, State->Upper[3 * 2] | State->Upper[(3 * 2) + 1]);
    }

    [Fact]
    public void XsaveAndXrstorKeepEverything()
    {
        Enable(7);
        FillVectors();
        State->Mxcsr = 0x5FA0;
        _bench.Write32(Data + 512, 0xFFFF_FFF8);
        Done(Xsave);
        Assert.Equal(0xFFFF_FFFFu, _bench.Read32(Data + 512));
        Assert.Equal((0x5FA0u, 0xFFFFu), (_bench.Read32(Data + 24), _bench.Read32(Data + 28)));
        Assert.Equal(0x107u, _bench.Read32(Data + 160 + (7 * 16)));
        Assert.Equal(0x707u, _bench.Read32(Data + 576 + (7 * 16)));
        // 32-bit code saves eight registers.
        Assert.Equal(0u, _bench.Read32(Data + 576 + (8 * 16)));
        _bench.Write32(Data + 512, 7);
        _bench.Write32(Data + 516, 0);
        Span<byte> low = new(State->Xmm, 128);
        low.Clear();
        SetUpper(7, 0, 0);
        State->Mxcsr = 0x1F80;
        Done(Xrstor);
        Assert.Equal(0x5FA0u, State->Mxcsr);
        Assert.Equal((0x107u, 0x707ul), (((uint*)State->Xmm)[7 * 4], State->Upper[7 * 2]));

        // What XSTATE_BV leaves out is initialised, but for MXCSR.
        _bench.Write32(Data + 512, 1);
        Done(Xrstor);
        Assert.Equal(0x5FA0u, State->Mxcsr);
        Assert.False(low.ContainsAnyExcept((byte)0));
        Assert.Equal(0u, State->UpperInUse);
    }

    [Fact]
    public void OptimisedFormsLeaveOutWhatIsNotInUse()
    {
        Enable(7);
        State->Gpr[3] = Data;
        _bench.Write32(Data + 576, 0x1234_5678);
        _bench.Write32(Data + 512, 4);
        Done(Xsaveopt);
        Assert.Equal((3u, 0x1234_5678u), (_bench.Read32(Data + 512), _bench.Read32(Data + 576)));
        _bench.Write32(Data + 512, uint.MaxValue);
        Done(Xsavec);
        Assert.Equal((3u, 0x1234_5678u), (_bench.Read32(Data + 512), _bench.Read32(Data + 576)));
        Assert.Equal((7u, 0x8000_0000u), (_bench.Read32(Data + 520), _bench.Read32(Data + 524)));
        FillVectors();
        Done(Xsavec);
        Assert.Equal((7u, 0x700u), (_bench.Read32(Data + 512), _bench.Read32(Data + 576)));
        // The compacted form comes back, MXCSR with SSE alone.
        State->Mxcsr = 0x3F80;
        SetUpper(0, 0, 0);
        Done(Xrstor);
        Assert.Equal((0x1F80u, 0x700ul), (State->Mxcsr, State->Upper[0]));
        // Saving it all the same writes zeros.
        State->UpperInUse = 0;
        Done(Xsave);
        Assert.Equal((3u, 0u), (_bench.Read32(Data + 512), _bench.Read32(Data + 576)));
    }

    [Fact]
    public void WantedComponentsAreThoseOfEdxEax()
    {
        Enable(7);
        FillVectors();
        SetWanted(4);
        _bench.Write32(Data + 160, 0x55);
        Done(Xsave);
        Assert.Equal((0x55u, 0x700u, 4u),
            (_bench.Read32(Data + 160), _bench.Read32(Data + 576), _bench.Read32(Data + 512)));
        SetWanted(2);
        _bench.Write32(Data + 512, 6);
        ((uint*)State->Xmm)[0] = 1;
        SetUpper(0, 9, 9);
        Done(Xrstor);
        Assert.Equal((0x55u, 9ul), (((uint*)State->Xmm)[0], State->Upper[0]));
    }

    [Fact]
    public void BadAreasAreRefused()
    {
        AssertFault(Vector.InvalidOpcode, Xsave);
        AssertFault(Vector.InvalidOpcode, Xrstor);
        Enable(7);
        State->Gpr[3] = Data + 16;
        AssertFault(Vector.GeneralProtection, Xsave);
        AssertFault(Vector.GeneralProtection, Xrstor);
        State->Gpr[3] = Data;
        Done(Xsave);
        // A component XCR0 lacks; the reserved part of the header; MXCSR.
        foreach ((uint at, uint value) in ((uint, uint)[])[(512, 0xF), (520, 1), (528, 1), (24, 0x1_1F80)])
        {
            uint before = _bench.Read32(Data + at);
            _bench.Write32(Data + at, value);
            AssertFault(Vector.GeneralProtection, Xrstor);
            _bench.Write32(Data + at, before);
        }

        Done(Xrstor);
        Done(Xsavec);
        // Compacted: a component without room; one XCR0 lacks; a reserved byte further on.
        foreach ((uint at, uint value) in ((uint, uint)[])[(520, 1), (520, 0xF), (560, 1)])
        {
            uint before = _bench.Read32(Data + at);
            _bench.Write32(Data + at, value);
            AssertFault(Vector.GeneralProtection, Xrstor);
            _bench.Write32(Data + at, before);
        }

        Done(Xrstor);
    }

    private void Enable(ulong xcr0)
    {
        State->Cr4 |= ControlBits.Cr4Osxsave | ControlBits.Cr4Osfxsr;
        State->Xcr0 = xcr0;
        SetWanted(uint.MaxValue);
    }

    private void SetWanted(uint value)
    {
        State->Gpr[0] = value;
        State->Gpr[1] = 0;
        State->Gpr[2] = 0;
    }

    private void SetUpper(int register, ulong low, ulong high)
    {
        State->UpperInUse = 1;
        State->Upper[register * 2] = low;
        State->Upper[(register * 2) + 1] = high;
    }

    private void FillVectors()
    {
        State->Gpr[3] = Data;
        for (int i = 0; i < 8; i++)
        {
            ((uint*)State->Xmm)[i * 4] = 0x100 + (uint)i;
            SetUpper(i, 0x700 + (ulong)i, 1);
        }
    }

    private CpuidResult Cpuid(uint leaf, uint subleaf)
    {
        State->Gpr[0] = leaf;
        State->Gpr[1] = subleaf;
        Done(0x0F, 0xA2);
        return new((uint)State->Gpr[0], (uint)State->Gpr[3], (uint)State->Gpr[1], (uint)State->Gpr[2]);
    }

    private void Done(params byte[] code) => Assert.Equal(Outcome.Done, _bench.Run(code));

    private void AssertFault(uint vector, params byte[] code)
    {
        Assert.Equal(Outcome.Fault, _bench.Run(code));
        Assert.Equal(vector, State->FaultVector);
    }
}
