// Runs the snippets of LongOracle on an engine, in a guest that looks like a 64-bit Linux process: CPL 3,
// null data segments, bases of FS and GS from their MSRs, four-level paging with nothing mapped but the
// regions of TestLayout and a small supervisor area. Physical pages lie in reverse order, as in
// EngineHarness.

using System;
using System.Threading;
using Lhype.Cpu;
using Lhype.Cpu.Architecture;
using Lhype.Host;

namespace Lhype.Tests.Cpu.Oracle;

/// <summary>One vCPU of an engine in 64-bit mode, reused for any number of runs. Not thread-safe.</summary>
internal sealed unsafe class LongHarness : IDisposable
{
    private const ulong Supervisor = 0xFFFF_8000_0000_0000;
    private const uint SupervisorGpa = 0x1_0000;
    private const int SupervisorPages = 6;
    private const uint Gdt = 0, Tss = 0x100, Idt = 0x1000, Stubs = 0x2000, Entry = 0x3000, StackTop = 0x4800;
    private const uint FxIn = 0x5000, FxOut = 0x5200;
    private const int StubLength = 16;
    private const uint Top = 0x1000, FirstTable = 0x2_0000;
    private const uint RegionsGpa = 0x10_0000;
    private const ushort KernelCode = 0x10, KernelData = 0x18, UserData = 0x2B, UserCode = 0x33;
    private const ushort TaskSelector = 0x40;
    private const uint Present = 1, Writable = 2, User = 4;

    private readonly GuestRam _ram = new(4 << 20);
    private readonly IVcpu _vcpu;
    private uint _nextTable = FirstTable;

    private readonly CpuModel _model;

    internal LongHarness(IEngine engine, string model = "v2")
    {
        BuildTables();
        _model = CpuModel.Find(model);
        _vcpu = engine.CreateVcpu(_ram, new TestBus(), _model);
        _vcpu.Reset();
    }

    /// <summary>Runs at CPL 3 until an exception. <paramref name="cpu"/> and <paramref name="memory"/> are
    /// unchanged.</summary>
    internal LongResult Run(LongImage cpu, TestMemory memory)
    {
        for (int page = 0; page < TestLayout.TotalLength / 4096; page++)
        {
            memory.Bytes.AsSpan(page * 4096, 4096).CopyTo(new Span<byte>(_ram.Base + PhysicalOf(page), 4096));
        }

        _vcpu.InvalidateCode(RegionsGpa, TestLayout.TotalLength);
        cpu.Fx.CopyTo(new Span<byte>(_ram.Base + SupervisorGpa + FxIn, 512));
        CpuState* state = _vcpu.State;
        for (int i = 0; i < 16; i++)
        {
            state->Gpr[i] = cpu.Gpr[i];
        }

        SetSystemState(state, cpu);
        if (_model.HasAvx)
        {
            OracleUppers.Set(state, cpu.Upper);
        }

        ulong* frame = (ulong*)(_ram.Base + SupervisorGpa + StackTop - 40);
        frame[0] = cpu.Rip;
        frame[1] = UserCode;
        frame[2] = cpu.Rflags;
        frame[3] = cpu.Gpr[4];
        frame[4] = UserData;
        state->Gpr[4] = Supervisor + StackTop - 40;
        state->Eflags = 2;
        state->Rip = Supervisor + Entry;
        _vcpu.StateChanged();
        using var watchdog = new Timer(_ => _vcpu.Kick(stop: true), null, EngineHarness.RunLimit,
            Timeout.InfiniteTimeSpan);
        VcpuExit exit = _vcpu.Run();
        ulong stub = state->Rip - 1 - (Supervisor + Stubs);
        if (exit != VcpuExit.Halt || stub / StubLength > 255)
        {
            throw new InvalidOperationException($"the guest ended with {exit} at {state->Rip:x} "
                + $"(cpl {state->Cpl}, fault {state->FaultVector}/{state->FaultError:x})");
        }

        return Collect(cpu, (uint)(stub / StubLength));
    }

    /// <summary>Shows pages of TestMemory at another linear address too.</summary>
    internal void Map(ulong linear, int offset, int pages, bool writable)
    {
        for (int i = 0; i < pages; i++)
        {
            MapPage(linear + ((ulong)i * 4096), PhysicalOf((offset / 4096) + i),
                User | (writable ? Writable : 0));
        }
    }

    public void Dispose()
    {
        _vcpu.Dispose();
        _ram.Dispose();
    }

    private static void SetSystemState(CpuState* state, LongImage cpu)
    {
        state->Halted = 0;
        state->InterruptShadow = 0;
        state->Cpl = 0;
        state->Cr0 = 0x8005_0033;
        state->Cr2 = 0;
        state->Cr3 = Top;
        state->Cr4 = 0x620;
        state->Efer = 0xD01;
        state->GdtBase = Supervisor + Gdt;
        state->GdtLimit = 0x4F;
        state->IdtBase = Supervisor + Idt;
        state->IdtLimit = 0xFFF;
        state->Segment(SegmentRegister.Cs) = Flat(KernelCode, 0xA09B);
        state->Segment(SegmentRegister.Ss) = Flat(KernelData, 0xC093);
        for (SegmentRegister register = SegmentRegister.Ds; register <= SegmentRegister.Gs; register++)
        {
            state->Segment(register) = new SegmentCache { Attributes = SegmentCache.UnusableBit };
        }

        state->Segment(SegmentRegister.Es) = new SegmentCache { Attributes = SegmentCache.UnusableBit };
        state->Segment(SegmentRegister.Fs).Base = cpu.FsBase;
        state->Segment(SegmentRegister.Gs).Base = cpu.GsBase;
        state->Segment(SegmentRegister.Ldtr) = new SegmentCache { Attributes = SegmentCache.UnusableBit };
        state->Segment(SegmentRegister.Tr) = new SegmentCache
        {
            Selector = TaskSelector,
            Base = Supervisor + Tss,
            Limit = 0x67,
            Attributes = 0x8B,
        };
    }

    private static SegmentCache Flat(ushort selector, uint attributes) =>
        new() { Selector = selector, Limit = uint.MaxValue, Attributes = attributes };

    private LongResult Collect(LongImage start, uint vector)
    {
        CpuState* state = _vcpu.State;
        bool hasError = vector is 8 or (>= 10 and <= 14) or 17 or 21;
        ulong* frame = (ulong*)(_ram.Base + SupervisorGpa + (state->Gpr[4] - Supervisor));
        uint error = hasError ? (uint)*frame++ : 0;
        // The harness's own pages: see LongOracle, which does the same with the host kernel's.
        if (vector == Vector.PageFault && state->Cr2 - Supervisor < SupervisorPages * 4096)
        {
            error &= ~1u;
        }

        var end = new LongImage
        {
            Rip = frame[0],
            Rflags = frame[2],
            FsBase = start.FsBase,
            GsBase = start.GsBase,
        };
        for (int i = 0; i < 16; i++)
        {
            end.Gpr[i] = state->Gpr[i];
        }

        end.Gpr[4] = frame[3];
        new ReadOnlySpan<byte>(_ram.Base + SupervisorGpa + FxOut, 512).CopyTo(end.Fx);
        OracleUppers.Get(state, end.Upper);
        var memory = new TestMemory();
        for (int page = 0; page < TestLayout.TotalLength / 4096; page++)
        {
            var bytes = new ReadOnlySpan<byte>(_ram.Base + PhysicalOf(page), 4096);
            bytes.CopyTo(memory.Bytes.AsSpan(page * 4096));
        }

        return new LongResult
        {
            Cpu = end,
            Memory = memory,
            Vector = vector,
            ErrorCode = error,
            FaultAddress = vector == Vector.PageFault ? state->Cr2 : 0,
        };
    }

    private static uint PhysicalOf(int page) =>
        RegionsGpa + (uint)(TestLayout.TotalLength - 4096 - (page * 4096));

    private void BuildTables()
    {
        foreach (TestRegion region in TestLayout.Regions)
        {
            for (int at = 0; at < region.Length; at += 4096)
            {
                MapPage(region.Address + (uint)at, PhysicalOf((region.Offset + at) / 4096),
                    User | (region.Writable ? Writable : 0));
            }
        }

        for (uint page = 0; page < SupervisorPages; page++)
        {
            MapPage(Supervisor + (page * 4096), SupervisorGpa + (page * 4096), Writable);
        }

        ulong tss = Supervisor + Tss;
        ReadOnlySpan<ulong> gdt =
        [
            0, 0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF, 0x00CF_FB00_0000_FFFF, 0x00CF_F300_0000_FFFF,
            0x00AF_FB00_0000_FFFF, 0,
            0x0000_8B00_0000_0067 | ((tss & 0xFF_FFFF) << 16) | ((tss >> 24 & 0xFF) << 56), tss >> 32,
        ];
        gdt.CopyTo(new Span<ulong>(_ram.Base + SupervisorGpa + Gdt, gdt.Length));
        *(ulong*)(_ram.Base + SupervisorGpa + Tss + 4) = Supervisor + StackTop;
        for (uint vector = 0; vector < 256; vector++)
        {
            uint stub = Stubs + (vector * StubLength);
            EmitFx(stub, 0x05, FxOut);
            _ram.Base[SupervisorGpa + stub + 8] = 0xF4;
            for (int i = 9; i < StubLength; i++)
            {
                _ram.Base[SupervisorGpa + stub + i] = 0xF4;
            }

            ulong type = vector is 3 or 4 ? 0xEE00u : 0x8E00;
            ulong handler = Supervisor + stub;
            ulong* gate = (ulong*)(_ram.Base + SupervisorGpa + Idt + (vector * 16));
            gate[0] = (handler & 0xFFFF) | ((ulong)KernelCode << 16) | (type << 32)
                | ((handler & 0xFFFF_0000) << 32);
            gate[1] = handler >> 32;
        }

        EmitFx(Entry, 0x0D, FxIn);
        _ram.Base[SupervisorGpa + Entry + 8] = 0x48;
        _ram.Base[SupervisorGpa + Entry + 9] = 0xCF;
    }

    /// <summary>FXSAVE64 (ModRM 05) or FXRSTOR64 (ModRM 0D) relative to RIP, 8 bytes.</summary>
    private void EmitFx(uint at, byte modRm, uint operand)
    {
        byte* code = _ram.Base + SupervisorGpa + at;
        code[0] = 0x48;
        code[1] = 0x0F;
        code[2] = 0xAE;
        code[3] = modRm;
        *(int*)(code + 4) = (int)operand - (int)(at + 8);
    }

    private void MapPage(ulong linear, uint gpa, uint bits)
    {
        uint table = Top;
        for (int level = 3; level > 0; level--)
        {
            ulong* entry = (ulong*)(_ram.Base + table) + ((linear >> (12 + (9 * level))) & 511);
            if ((*entry & Present) == 0)
            {
                *entry = _nextTable | Present | Writable | User;
                _nextTable += 4096;
            }

            table = (uint)*entry & ~4095u;
        }

        ((ulong*)(_ram.Base + table))[(linear >> 12) & 511] = gpa | Present | bits;
    }
}
