// The little guest of the tests of IA-32e mode: 4 MiB of RAM mapped at 0 and once more in the upper half,
// flat segments for both rings and both code sizes, and exception handlers that halt, so that what a test
// left is read from its registers and its stack. Base of LongModeTests and LongFeatureTests.

using System;
using System.IO;
using System.Threading;
using Iced.Intel;
using Lhype.Cpu;
using Lhype.Cpu.Architecture;
using Lhype.Cpu.Translator;
using Lhype.Host;
using Lhype.Tests.Cpu.Oracle;
using Xunit;
using static Iced.Intel.AssemblerRegisters;

namespace Lhype.Tests.Cpu.Architecture;

/// <summary>One vCPU of model base, in long mode.</summary>
public abstract unsafe class LongGuest : IDisposable
{
    private protected const uint Gdt = 0x6000, Tss = 0x6800, Idt = 0x7000, Stubs = 0x8000;
    private protected const uint Pml4 = 0x1_0000, Code = 0x2_0000, User = 0x3_0000, Narrow = 0x4_0000;
    private protected const uint Stack = 0x9_0000, UserStack = 0x9_4000, IstStack = 0x9_8008;
    private protected const uint RingStack = 0x9_C000;
    private protected const ulong Alias = 0xFFFF_8000_0000_0000;
    private protected const ulong NotCanonical = 0x8000_0000_0000;
    private protected const ushort Kernel = 0x10, Data = 0x18, Code32 = 0x23, UserData = 0x2B, User64 = 0x33;
    private protected const ushort Task = 0x40, Ldt = 0x50, Gate = 0x60, Both = 0x70, Kernel32 = 0x78;

    private protected GuestRam Ram { get; } = new(4 << 20);
    private protected IVcpu Vcpu { get; }

    private protected LongGuest()
    {
        Vcpu = new TranslatorEngine().CreateVcpu(Ram, new TestBus(), CpuModel.Base);
        BuildTables();
    }

    private protected CpuState* State => Vcpu.State;

    /// <inheritdoc/>
    public void Dispose()
    {
        Vcpu.Dispose();
        Ram.Dispose();
        GC.SuppressFinalize(this);
    }

    private protected static void WriteMsr(Assembler a, uint index, ulong value)
    {
        a.mov(ecx, index);
        a.mov(eax, (uint)value);
        a.mov(edx, (uint)(value >> 32));
        a.wrmsr();
    }

    private protected static void Twice(Action test)
    {
        test();
        test();
    }

    /// <summary>Kernel code at CPL 0, ready to run.</summary>
    private protected void Kernel64(Action<Assembler> code)
    {
        Place(Code, 64, code);
        Prepare();
        State->Rip = Code;
        State->Gpr[4] = Stack;
    }

    private protected void EnterUser(uint rip, ulong flags, ushort selector = User64)
    {
        Prepare();
        ulong* frame = (ulong*)(Ram.Base + Stack - 40);
        frame[0] = rip;
        frame[1] = selector;
        frame[2] = flags;
        frame[3] = UserStack;
        frame[4] = UserData;
        Place(Code + 0x800, 64, a => a.iretq());
        State->Rip = Code + 0x800;
        State->Gpr[4] = Stack - 40;
    }

    private protected void Prepare()
    {
        State->Halted = 0;
        State->InterruptShadow = 0;
        State->Cpl = 0;
        State->Eflags = 2;
        State->Cr0 = 0x8005_0033;
        State->Cr3 = Pml4;
        State->Cr4 = 0x620;
        State->Efer |= 0xD01;
        State->GdtBase = Alias + Gdt;
        State->GdtLimit = 0xFF;
        State->IdtBase = Alias + Idt;
        State->IdtLimit = 0xFFF;
        State->Segment(SegmentRegister.Cs) = Flat(Kernel, 0xA09B);
        State->Segment(SegmentRegister.Ss) = Flat(Data, 0xC093);
        State->Segment(SegmentRegister.Ds) = Flat(UserData, 0xC0F3);
        State->Segment(SegmentRegister.Es) = Flat(UserData, 0xC0F3);
        State->Segment(SegmentRegister.Fs) = new SegmentCache { Attributes = SegmentCache.UnusableBit };
        State->Segment(SegmentRegister.Gs) = new SegmentCache { Attributes = SegmentCache.UnusableBit };
        State->Segment(SegmentRegister.Tr) = new SegmentCache
        {
            Selector = Task,
            Base = Alias + Tss,
            Limit = 0x67,
            Attributes = 0x8B,
        };
        Vcpu.StateChanged();
    }

    private protected static SegmentCache Flat(ushort selector, uint attributes) =>
        new() { Selector = selector, Limit = uint.MaxValue, Attributes = attributes };

    private bool _hasError;

    private protected (uint Vector, uint Error) RunToFault(uint vector = 0, int ist = 0)
    {
        if (ist != 0)
        {
            SetGate(vector, Stubs + (vector * 16), 0x8E, ist);
        }

        Run();
        ulong stub = State->Rip - 1 - Alias - Stubs;
        Assert.True(stub / 16 < 256, $"halted at {State->Rip:x}, not in a handler");
        uint found = (uint)(stub / 16);
        _hasError = found is 8 or (>= 10 and <= 14) or 17;
        if (ist != 0)
        {
            SetGate(vector, Stubs + (vector * 16), 0x8E);
        }

        return (found, _hasError ? (uint)Frame(0) : 0);
    }

    /// <summary>Word of the exception frame: 0 error code, 1 RIP, 2 CS, 3 RFLAGS, 4 RSP, 5 SS.</summary>
    private protected ulong Frame(int word, bool? hasError = null)
    {
        ulong at = State->Gpr[4] + ((ulong)word * 8) - ((hasError ?? _hasError) ? 0 : 8ul);
        return *(ulong*)(Ram.Base + (uint)at);
    }

    private protected void Run()
    {
        using var watchdog = new Timer(_ => Vcpu.Kick(stop: true), null, EngineHarness.RunLimit,
            Timeout.InfiniteTimeSpan);
        VcpuExit exit = Vcpu.Run();
        Assert.True(exit == VcpuExit.Halt, $"{exit} at {State->Rip:x}, fault {State->FaultVector}/"
            + $"{State->FaultError:x} {State->FaultAddress:x}");
    }

    private protected void Place(uint address, int bits, Action<Assembler> code)
    {
        var assembler = new Assembler(bits);
        code(assembler);
        using var stream = new MemoryStream();
        assembler.Assemble(new StreamCodeWriter(stream), address);
        stream.ToArray().CopyTo(new Span<byte>(Ram.Base + address, (int)stream.Length));
        Vcpu.InvalidateCode(address, (ulong)stream.Length);
    }

    private protected void SetGate(uint vector, uint handler, uint type, int ist = 0)
    {
        ulong address = Alias + handler;
        ulong* gate = (ulong*)(Ram.Base + Idt + (vector * 16));
        gate[0] = (address & 0xFFFF) | ((ulong)Kernel << 16) | ((ulong)ist << 32) | ((ulong)type << 40)
            | ((address & 0xFFFF_0000) << 32);
        gate[1] = address >> 32;
    }

    private protected void Write64(uint gpa, ulong value) => *(ulong*)(Ram.Base + gpa) = value;

    private protected void BuildTables()
    {
        // 4 MiB of large pages, at 0 and once more in the upper half; a page at 1 GiB that cannot be run.
        Write64(Pml4, Pml4 + 0x1007);
        Write64(Pml4 + (256 * 8), Pml4 + 0x1007);
        Write64(Pml4 + 0x1000, Pml4 + 0x2007);
        Write64(Pml4 + 0x1008, Pml4 + 0x3007);
        Write64(Pml4 + 0x2000, 0x87);
        Write64(Pml4 + 0x2008, 0x20_0087);
        Write64(Pml4 + 0x3000, 0x8000_0000_0000_0087);
        ReadOnlySpan<ulong> gdt =
        [
            0, 0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF, 0x00CF_FB00_0000_FFFF, 0x00CF_F300_0000_FFFF,
            0x00AF_FB00_0000_FFFF, 0, ProcessorBench.SystemDescriptor(Tss, 0x67, 0x89), Alias >> 32,
            ProcessorBench.SystemDescriptor(0x5000, 0xFF, 0x82), 1,
            // A call gate for CPL 3 to Code + 0x100.
            ((Code + 0x100) & 0xFFFF) | ((ulong)Kernel << 16) | (0xECul << 40)
                | ((ulong)((Code + 0x100) >> 16) << 48), Alias >> 32,
            0x00EF_9B00_0000_FFFF, 0x00CF_9B00_0000_FFFF,
        ];
        gdt.CopyTo(new Span<ulong>(Ram.Base + Gdt, gdt.Length));
        Write64(Tss + 4, RingStack);
        Write64(Tss + 0x24, IstStack);
        for (uint vector = 0; vector < 256; vector++)
        {
            new Span<byte>(Ram.Base + Stubs + (vector * 16), 16).Fill(0xF4);
            SetGate(vector, Stubs + (vector * 16), 0x8E);
        }
    }
}
