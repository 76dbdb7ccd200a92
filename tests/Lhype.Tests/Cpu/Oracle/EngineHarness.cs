// Runs the same snippets as NativeOracle on an engine, in a guest set up to look like a 32-bit Linux
// process: flat segments with Linux's selector values, CPL 3, paging on, nothing mapped but the regions of
// TestLayout and one small supervisor area. Physical pages lie in reverse order, so that no linear page
// crossing is contiguous in RAM. A harness for kernel code maps the same regions for supervisors alone, and
// the data and what follows in order, so that an engine can treat them as a kernel's map of memory.
//
// The guest's own code does what a kernel would: FXRSTOR and IRET into the snippet, and one IDT handler per
// vector that FXSAVEs and halts. The result is read from the exception frame, so what is compared is what a
// guest would see.

using System;
using System.Buffers.Binary;
using System.Threading;
using Lhype.Cpu;
using Lhype.Cpu.Architecture;
using Lhype.Host;

namespace Lhype.Tests.Cpu.Oracle;

/// <summary>One vCPU of an engine, reused for any number of runs. Not thread-safe.</summary>
internal sealed unsafe class EngineHarness : IDisposable
{
    private const uint Supervisor = 0xF000_0000;
    private const uint SupervisorGpa = 0x1_0000;
    private const int SupervisorPages = 4;
    private const uint Gdt = 0, Idt = 0x800, Stubs = 0x1000, Entry = 0x1800, StackTop = 0x3000;
    private const uint FxIn = 0x3000, FxOut = 0x3200, JumpTarget = 0x3400, Tss = 0x3800;
    private const int StubLength = 8;
    private const uint UserPointer = Entry, KernelPointer = Entry + 0x10, SavePointer = Entry + 0x20;
    private const uint PageDirectory = 0x1000, FirstTable = 0x2000;
    private const uint RegionsGpa = 0x10_0000;
    private const ushort KernelCode = 0x10, KernelData = 0x18, TaskSelector = 0x30;
    private const uint Present = 1, Writable = 2, User = 4, Used = 0x60, Global = 0x100;

    private readonly GuestRam _ram = new(4 << 20);
    private readonly IVcpu _vcpu;
    private readonly bool _kernelMap;
    private uint _nextTable = FirstTable;

    private readonly CpuModel _model;

    internal EngineHarness(IEngine engine, bool kernelMap = false, string model = "base")
    {
        _kernelMap = kernelMap;
        BuildTables();
        _model = CpuModel.Find(model);
        _vcpu = engine.CreateVcpu(_ram, new TestBus(), _model);
        _vcpu.Reset();
    }

    /// <summary>The vCPU, for tests of one engine's own features.</summary>
    internal IVcpu Vcpu => _vcpu;

    /// <summary>True if kernel code runs through a map (see LinearMap).</summary>
    internal bool HasKernelMap => _vcpu.State->LinearMapLimit != 0;

    /// <summary>How long a run may take before it counts as hung.</summary>
    internal static TimeSpan RunLimit { get; } = TimeSpan.FromSeconds(20);

    /// <summary>Runs at CPL 3 until an exception. <paramref name="cpu"/> and <paramref name="memory"/> are
    /// unchanged.
    /// </summary>
    internal RunResult RunUser(CpuImage cpu, TestMemory memory)
    {
        Load(cpu, memory);
        CpuState* state = _vcpu.State;
        Span<uint> frame = [cpu.Eip, TestLayout.UserCode, cpu.Eflags, cpu.Gpr[4], TestLayout.UserData];
        for (int i = 0; i < frame.Length; i++)
        {
            Write(SupervisorGpa + StackTop - 20 + ((uint)i * 4), frame[i]);
        }

        state->Gpr[4] = Supervisor + StackTop - 20;
        state->Eflags = 2;
        state->Rip = Supervisor + UserPointer;
        RunToHalt();
        return Collect(cpu, fromUser: true);
    }

    /// <summary>Runs at CPL 0 until the snippet's HLT. An exception is reported, but its frame is pushed
    /// onto the snippet's own stack, so only snippets that complete are comparable.</summary>
    internal RunResult RunKernel(CpuImage cpu, TestMemory memory)
    {
        Load(cpu, memory);
        CpuState* state = _vcpu.State;
        state->Gpr[4] = cpu.Gpr[4];
        state->Eflags = cpu.Eflags;
        state->Rip = Supervisor + KernelPointer;
        Write(SupervisorGpa + JumpTarget, cpu.Eip);
        RunToHalt();
        ulong end = state->Rip;
        if (end - (Supervisor + Stubs) < 256 * StubLength)
        {
            return Collect(cpu, fromUser: false);
        }

        state->Halted = 0;
        state->Rip = Supervisor + SavePointer;
        _vcpu.StateChanged();
        RunToHalt();
        RunResult result = Gather(cpu, (uint)end - 1, state->Eflags, (uint)state->Gpr[4],
            Vector.GeneralProtection, 0);
        return result;
    }

    public void Dispose()
    {
        _vcpu.Dispose();
        _ram.Dispose();
    }

    private void Load(CpuImage cpu, TestMemory memory)
    {
        for (int page = 0; page < TestLayout.TotalLength / 4096; page++)
        {
            memory.Bytes.AsSpan(page * 4096, 4096).CopyTo(new Span<byte>(_ram.Base + PhysicalOf(page), 4096));
        }

        _vcpu.InvalidateCode(RegionsGpa, TestLayout.TotalLength);
        cpu.Fx.CopyTo(new Span<byte>(_ram.Base + SupervisorGpa + FxIn, 512));
        CpuState* state = _vcpu.State;
        for (int i = 0; i < 8; i++)
        {
            state->Gpr[i] = cpu.Gpr[i];
        }

        state->Halted = 0;
        state->InterruptShadow = 0;
        state->Cpl = 0;
        state->Cr0 = 0x8005_0033;
        state->Cr2 = 0;
        state->Cr3 = PageDirectory;
        state->Cr4 = _kernelMap ? 0x680u : 0x600;
        if (_model.HasAvx)
        {
            OracleUppers.Set(state, cpu.Upper);
        }

        state->GdtBase = Supervisor + Gdt;
        state->GdtLimit = 0x37;
        state->IdtBase = Supervisor + Idt;
        state->IdtLimit = 0x7FF;
        SetSegment(SegmentRegister.Cs, KernelCode, 0, 0xC09B);
        SetSegment(SegmentRegister.Ss, KernelData, 0, 0xC093);
        SetSegment(SegmentRegister.Ds, TestLayout.UserData, 0, 0xC0F3);
        SetSegment(SegmentRegister.Es, TestLayout.UserData, 0, 0xC0F3);
        SetSegment(SegmentRegister.Fs, TestLayout.UserData, cpu.FsBase, 0xC0F3);
        SetSegment(SegmentRegister.Gs, TestLayout.UserData, cpu.GsBase, 0xC0F3);
        SetSegment(SegmentRegister.Ldtr, 0, 0, SegmentCache.UnusableBit);
        state->Segment(SegmentRegister.Tr) = new SegmentCache
        {
            Selector = TaskSelector,
            Base = Supervisor + Tss,
            Limit = 0x67,
            Attributes = 0x8B,
        };
    }

    private void RunToHalt()
    {
        _vcpu.StateChanged();
        using var watchdog = new Timer(_ => _vcpu.Kick(stop: true), null, RunLimit, Timeout.InfiniteTimeSpan);
        VcpuExit exit = _vcpu.Run();
        if (exit != VcpuExit.Halt)
        {
            CpuState* s = _vcpu.State;
            throw new InvalidOperationException($"the guest ended with {exit} at {s->Rip:x8} (cpl {s->Cpl}, "
                + $"last fault {s->FaultVector} error {s->FaultError:x} address {s->FaultAddress:x8})");
        }
    }

    private RunResult Collect(CpuImage start, bool fromUser)
    {
        CpuState* state = _vcpu.State;
        ulong stub = state->Rip - 1 - (Supervisor + Stubs);
        uint vector = (uint)(stub / StubLength);
        if (vector > 255 || stub % StubLength != StubLength - 1)
        {
            throw new InvalidOperationException(
                $"the guest halted outside the exception stubs, at {state->Rip:x8}");
        }

        // The frame grows down from the TSS's ESP0, or from the snippet's own ESP at CPL 0.
        bool hasError = vector is 8 or (>= 10 and <= 14) or 17 or 21;
        uint at = (uint)state->Gpr[4];
        uint error = hasError ? ReadLinear(at) : 0;
        at += hasError ? 4u : 0;
        uint esp = fromUser ? ReadLinear(at + 12) : at + 12;
        uint eip = ReadLinear(at), eflags = ReadLinear(at + 8);
        if (!fromUser && PhysicalOf(at + 8) is { } flags)
        {
            // Arithmetic flags need not be exact at a fault; the frame is in the memory that is compared.
            Write(flags, eflags & ~EflagsBits.Arithmetic);
        }

        return Gather(start, eip, eflags, esp, vector, error);
    }

    private RunResult Gather(CpuImage start, uint eip, uint eflags, uint esp, uint vector, uint error)
    {
        CpuState* state = _vcpu.State;
        // The program sees the harness's own pages, which the host does not have, as supervisor pages.
        if (vector == Vector.PageFault && (uint)state->Cr2 - Supervisor < SupervisorPages * 4096)
        {
            error &= ~1u;
        }

        var end = new CpuImage { Eip = eip, Eflags = eflags, FsBase = start.FsBase, GsBase = start.GsBase };
        for (int i = 0; i < 8; i++)
        {
            end.Gpr[i] = (uint)state->Gpr[i];
        }

        end.Gpr[4] = esp;
        new ReadOnlySpan<byte>(_ram.Base + SupervisorGpa + FxOut, 512).CopyTo(end.Fx);
        OracleUppers.Get(state, end.Upper);
        var memory = new TestMemory();
        for (int page = 0; page < TestLayout.TotalLength / 4096; page++)
        {
            var frame = new ReadOnlySpan<byte>(_ram.Base + PhysicalOf(page), 4096);
            frame.CopyTo(memory.Bytes.AsSpan(page * 4096));
        }

        return new RunResult
        {
            Cpu = end,
            Memory = memory,
            Vector = vector,
            ErrorCode = error,
            FaultAddress = vector == Vector.PageFault ? (uint)state->Cr2 : 0,
        };
    }

    private void SetSegment(SegmentRegister register, ushort selector, uint @base, uint attributes) =>
        _vcpu.State->Segment(register) = new SegmentCache
        {
            Selector = selector,
            Base = @base,
            Limit = 0xFFFF_FFFF,
            Attributes = attributes,
        };

    private uint PhysicalOf(int page)
    {
        const int DataPage = TestLayout.DataOffset / 4096, Pages = TestLayout.TotalLength / 4096;
        int order = _kernelMap ? (page - DataPage + Pages) % Pages : Pages - 1 - page;
        return RegionsGpa + (4096 * (uint)order);
    }

    /// <summary>The guest-physical address of a linear one, or null outside the regions.</summary>
    private uint? PhysicalOf(uint linear)
    {
        int offset = TestLayout.OffsetOf(linear);
        return offset < 0 ? null : PhysicalOf(offset / 4096) + (uint)(offset % 4096);
    }

    private uint ReadLinear(uint linear)
    {
        uint gpa = PhysicalOf(linear) ?? SupervisorGpa + (linear - Supervisor);
        return _ram.TryGetSpan(gpa, 4, out Span<byte> bytes)
            ? BinaryPrimitives.ReadUInt32LittleEndian(bytes)
            : throw new InvalidOperationException($"exception frame at {linear:x8}");
    }

    private void Write(uint gpa, uint value) => *(uint*)(_ram.Base + gpa) = value;

    private void BuildTables()
    {
        foreach (TestRegion region in TestLayout.Regions)
        {
            for (int at = 0; at < region.Length; at += 4096)
            {
                MapPage(region.Address + (uint)at, PhysicalOf((region.Offset + at) / 4096),
                    (_kernelMap ? Used | Global : User) | (region.Writable ? Writable : 0));
            }
        }

        for (uint page = 0; page < SupervisorPages; page++)
        {
            MapPage(Supervisor + (page * 4096), SupervisorGpa + (page * 4096), Writable);
        }

        // Descriptors in SDM layout (vol. 3, 3.4.5): flat 4 GiB code and data for rings 0 and 3, then the
        // TSS.
        ulong tss = Supervisor + Tss;
        ReadOnlySpan<ulong> gdt =
        [
            0, 0, 0x00CF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF, 0x00CF_FB00_0000_FFFF, 0x00CF_F300_0000_FFFF,
            0x0000_8B00_0000_0067 | ((tss & 0xFF_FFFF) << 16) | (tss >> 24 << 56),
        ];
        gdt.CopyTo(new Span<ulong>(_ram.Base + SupervisorGpa + Gdt, gdt.Length));
        Write(SupervisorGpa + Tss + 4, Supervisor + StackTop);
        Write(SupervisorGpa + Tss + 8, KernelData);
        Write(SupervisorGpa + Tss + 0x64, 0x68 << 16);
        BuildStubs();
    }

    private void BuildStubs()
    {
        for (uint vector = 0; vector < 256; vector++)
        {
            uint stub = Stubs + (vector * StubLength);
            EmitFx(stub, 0x05, FxOut);
            _ram.Base[SupervisorGpa + stub + 7] = 0xF4;
            // Only INT3 and INTO may be raised by INT instructions at CPL 3, as under Linux.
            uint type = vector is 3 or 4 ? 0xEE00u : 0x8E00;
            uint handler = Supervisor + stub;
            Write(SupervisorGpa + Idt + (vector * 8), ((uint)KernelCode << 16) | (handler & 0xFFFF));
            Write(SupervisorGpa + Idt + (vector * 8) + 4, (handler & 0xFFFF_0000) | type);
        }

        EmitFx(UserPointer, 0x0D, FxIn);
        _ram.Base[SupervisorGpa + UserPointer + 7] = 0xCF;
        EmitFx(KernelPointer, 0x0D, FxIn);
        _ram.Base[SupervisorGpa + KernelPointer + 7] = 0xFF;
        _ram.Base[SupervisorGpa + KernelPointer + 8] = 0x25;
        Write(SupervisorGpa + KernelPointer + 9, Supervisor + JumpTarget);
        EmitFx(SavePointer, 0x05, FxOut);
        _ram.Base[SupervisorGpa + SavePointer + 7] = 0xF4;
    }

    /// <summary>FXSAVE (ModRM 05) or FXRSTOR (ModRM 0D) with an absolute address.</summary>
    private void EmitFx(uint at, byte modRm, uint operand)
    {
        _ram.Base[SupervisorGpa + at] = 0x0F;
        _ram.Base[SupervisorGpa + at + 1] = 0xAE;
        _ram.Base[SupervisorGpa + at + 2] = modRm;
        Write(SupervisorGpa + at + 3, Supervisor + operand);
    }

    private void MapPage(uint linear, uint gpa, uint bits)
    {
        uint* directory = (uint*)(_ram.Base + PageDirectory) + (linear >> 22);
        if ((*directory & Present) == 0)
        {
            *directory = _nextTable | Present | Writable | User | Used;
            _nextTable += 4096;
        }

        uint* table = (uint*)(_ram.Base + (*directory & ~0xFFFu));
        table[(linear >> 12) & 0x3FF] = gpa | Present | bits;
    }
}
