// Whole little guests on the default engine, in the modes Linux hardly uses: real mode from RESET, the way
// into protected mode and paging, 16-bit protected segments with bases and limits, virtual-8086 mode, back to
// real mode. Each guest leaves its results in memory and halts.

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

public sealed unsafe class ModeSwitchTests : IDisposable
{
    private const uint Results = 0x4000, Tss = 0x5000, Gdt = 0x6000, Idt = 0x6800;
    private const uint Code16 = 0x7C00, Code32 = 0x1_0000;
    private const uint Handlers = 0x1_8000, PageDirectory = 0x2_0000, PageTable = 0x2_1000;

    private readonly GuestRam _ram = new(4 << 20);
    private readonly IVcpu _vcpu;

    public ModeSwitchTests()
    {
        _vcpu = new TranslatorEngine().CreateVcpu(_ram, new TestBus(), CpuModel.Base);
        _vcpu.Reset();
        ulong[] gdt =
        [
            0, 0x00CF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF, 0x00CF_FB00_0000_FFFF, 0x00CF_F300_0000_FFFF,
            ProcessorBench.SystemDescriptor(Tss, 0x67, 0x89),
            ProcessorBench.SystemDescriptor(0x3_0000, 0xFFFF, 0x9B),
            ProcessorBench.SystemDescriptor(0x3_1000, 0x0FFF, 0x93),
            ProcessorBench.SystemDescriptor(0, 0xFFFF, 0x9B),
            ProcessorBench.SystemDescriptor(0, 0xFFFF, 0x93),
        ];
        for (int i = 0; i < gdt.Length; i++)
        {
            Write64(Gdt + (uint)(i * 8), gdt[i]);
        }

        Write64(0x6F00, 0x4F | ((ulong)Gdt << 16));
        Write64(0x6F08, 0x7FF | ((ulong)Idt << 16));
        Write64(0x6F10, 0x3FF);
        Write32(Tss + 4, 0x9000);
        Write32(Tss + 8, 0x10);
        Write32(Tss + 0x64, 0x0068_0000);
        State->Segment(SegmentRegister.Cs) = new SegmentCache { Limit = 0xFFFF, Attributes = 0x93 };
        State->Rip = Code16;
        State->Gpr[4] = 0x7000;
    }

    private CpuState* State => _vcpu.State;

    public void Dispose()
    {
        _vcpu.Dispose();
        _ram.Dispose();
    }

    [Fact]
    public void RealModeCallsInterruptsAndStrings()
    {
        Write32(0x21 * 4, 0x0000_7E00);
        Place(0x7E00, 16, a =>
        {
            a.add(ax, 0x100);
            a.iret();
        });
        Place(0x1_2340, 16, a =>
        {
            a.inc(bx);
            a.retf();
        });
        Place(Code16, 16, a =>
        {
            Label routine = a.CreateLabel(), skip = a.CreateLabel(), again = a.CreateLabel();
            a.mov(ax, 0x1234);
            a.mov(ds, ax);
            a.mov(es, ax);
            a.mov(__word_ptr[0x10], 0x5A5A);
            a.mov(si, 0x10);
            a.mov(di, 0x20);
            a.mov(cx, 8);
            a.cld();
            a.rep.movsb();
            a.mov(bx, 1);
            a.call(routine);
            a.call(0x1234, 0);
            a.@int(0x21);
            a.mov(cx, 5);
            a.Label(ref again);
            a.inc(bx);
            a.loop(again);
            a.pushf();
            a.pop(dx);
            a.mov(ebp, 0x1_2345);
            a.jmp(skip);
            a.Label(ref routine);
            a.add(bx, 0x10);
            a.ret();
            a.Label(ref skip);
            a.hlt();
        });
        RunToHalt();
        Assert.Equal(0x1334u, (uint)State->Gpr[0]);
        Assert.Equal(0x17u, (uint)State->Gpr[3]);
        Assert.Equal((0x1_2345u, 0u, 0x28u), ((uint)State->Gpr[5], (uint)State->Gpr[1], (uint)State->Gpr[7]));
        Assert.Equal(0x5A5A, Read16(0x1_2360));
        Assert.Equal(0x7000u, (uint)State->Gpr[4]);
    }

    [Fact]
    public void RealToPagedRing3AndBack()
    {
        EnterProtected();
        MapIdentity();
        SetGate(0x80, Handlers, 0xEE);
        SetGate(14, Handlers + 0x100, 0x8E);
        Place(Handlers, 32, a =>
        {
            // System call: note the caller's CS and ESP, return with EAX + 1.
            a.mov(ecx, __dword_ptr[esp + 4]);
            a.mov(__dword_ptr[Results], ecx);
            a.mov(ecx, __dword_ptr[esp + 12]);
            a.mov(__dword_ptr[Results + 4], ecx);
            a.inc(eax);
            a.iretd();
        });
        Place(Handlers + 0x100, 32, a =>
        {
            a.pop(edx);
            a.mov(edi, cr2);
            a.hlt();
        });
        Place(Code32, 32, a =>
        {
            LoadFlatData(a);
            a.mov(ax, 0x28);
            a.ltr(ax);
            a.mov(eax, PageDirectory);
            a.mov(cr3, eax);
            a.mov(eax, cr0);
            a.or(eax, unchecked((int)0x8001_0000));
            a.mov(cr0, eax);
            a.lidt(__fword_ptr[0x6F08]);
            a.push(0x23);
            a.push(0x3_8000);
            a.push(0x202);
            a.push(0x1B);
            a.push(0x1_4000);
            a.iretd();
        });
        Place(0x1_4000, 32, a =>
        {
            // IRET has dropped the ring 0 selector in DS.
            a.mov(eax, 0x23);
            a.mov(ds, ax);
            a.mov(eax, 41);
            a.@int(0x80);
            a.mov(__dword_ptr[0x3_8000], eax);
            a.mov(__dword_ptr[Gdt], eax);
        });
        RunToHalt();
        Assert.Equal((0x1Bu, 0x3_8000u, 42u), (Read32(Results), Read32(Results + 4), Read32(0x3_8000)));
        Assert.Equal((7u, Gdt, 0u), ((uint)State->Gpr[2], (uint)State->Gpr[7], State->Cpl));
    }

    [Fact]
    public void SixteenBitSegmentsWithBasesAndLimits()
    {
        EnterProtected();
        SetGate(13, Handlers, 0x8E);
        Place(Handlers, 32, a =>
        {
            a.pop(ebp);
            a.mov(esi, __dword_ptr[esp]);
            a.hlt();
        });
        Place(Code32, 32, a =>
        {
            LoadFlatData(a);
            a.lidt(__fword_ptr[0x6F08]);
            a.mov(ax, 0x38);
            a.mov(ds, ax);
            a.mov(ebx, 0xFFFE);
            a.db(0xEA, 0x00, 0x01, 0x00, 0x00, 0x30, 0x00);
        });
        Place(0x3_0100, 16, a =>
        {
            Label far = a.CreateLabel();
            a.mov(cx, 0x1111);
            a.mov(__word_ptr[0x10], cx);
            a.add(__word_ptr[bx + 0x12], 0x2222);
            a.push(cx);
            a.pop(dx);
            a.call(far);
            a.mov(__word_ptr[0xFFF], cx);
            a.Label(ref far);
            a.inc(cx);
            a.ret();
        });
        RunToHalt();
        Assert.Equal(0x3333, Read16(0x3_1010));
        Assert.Equal((0x1112, 0x1111), ((ushort)State->Gpr[1], (ushort)State->Gpr[2]));
        Assert.Equal((0u, 0u), ((uint)State->Gpr[5], Read32(0x3_1FFF) & 0xFF));
        Assert.Equal(0x111u, (uint)State->Gpr[6]);
    }

    [Fact]
    public void Virtual8086TaskTrapsToItsMonitor()
    {
        EnterProtected();
        SetGate(13, Handlers, 0x8E);
        Place(Handlers, 32, a =>
        {
            a.pop(ebp);
            a.mov(esi, __dword_ptr[esp]);
            a.mov(edi, __dword_ptr[esp + 8]);
            a.hlt();
        });
        Place(Code32, 32, a =>
        {
            LoadFlatData(a);
            a.lidt(__fword_ptr[0x6F08]);
            a.mov(ax, 0x28);
            a.ltr(ax);
            uint[] frame = [0, 0, 0x3000, 0x2000, 0x2000, 0x800, 0x2_0002, 0x3000, 0x10];
            foreach (uint value in frame)
            {
                a.push((int)value);
            }

            a.iretd();
        });
        Place(0x3_0010, 16, a =>
        {
            a.mov(ax, 0x77);
            a.mov(__word_ptr[0x40], ax);
            a.push(ax);
            a.pop(bx);
            a.mov(cx, 2);
            a.rep.stosw();
            a.cli();
        });
        State->Gpr[7] = 0x60;
        RunToHalt();
        Assert.Equal(0x77, Read16(0x3_0040));
        Assert.Equal((0x77u, 0x0077_0077u), ((uint)State->Gpr[3], Read32(0x2_0060)));
        Assert.Equal((0u, 0x2_0002u), ((uint)State->Gpr[5], (uint)State->Gpr[7] & 0x2_0002));
        Assert.Equal(0xFA, _ram.Base[0x3_0000 + (uint)State->Gpr[6]]);
        Assert.Equal(0u, State->Cpl);
    }

    [Fact]
    public void ProtectedBackToReal()
    {
        EnterProtected();
        Place(Code32, 32, a =>
        {
            LoadFlatData(a);
            a.mov(ecx, 0x3333);
            a.db(0xEA, 0x00, 0x7D, 0x00, 0x00, 0x40, 0x00);
        });
        Place(0x7D00, 16, a =>
        {
            a.mov(ax, 0x48);
            a.mov(ds, ax);
            a.mov(es, ax);
            a.mov(ss, ax);
            a.mov(eax, cr0);
            a.and(eax, ~1);
            a.mov(cr0, eax);
            a.db(0xEA, 0x40, 0x7D, 0x00, 0x00);
        });
        Write32(0x10 * 4, 0x0000_7D80);
        Place(0x7D40, 16, a =>
        {
            a.lidt(__fword_ptr[0x6F10]);
            a.mov(ax, 0x2000);
            a.mov(ds, ax);
            a.mov(__word_ptr[2], cx);
            a.mov(sp, 0x7000);
            a.@int(0x10);
            a.hlt();
        });
        Place(0x7D80, 16, a =>
        {
            a.mov(si, 0x99);
            a.iret();
        });
        RunToHalt();
        Assert.Equal(0x3333, Read16(0x2_0002));
        Assert.Equal((0x99, 0x6000_0010ul), ((ushort)State->Gpr[6], State->Cr0));
        Assert.Equal(0x7000, (ushort)State->Gpr[4]);
    }

    private static void LoadFlatData(Assembler a)
    {
        a.mov(ax, 0x10);
        a.mov(ds, ax);
        a.mov(es, ax);
        a.mov(ss, ax);
        a.mov(esp, 0xA000);
    }

    /// <summary>The way in: LGDT, CR0.PE, far jump with a 32-bit offset to Code32.</summary>
    private void EnterProtected() => Place(Code16, 16, a =>
    {
        a.cli();
        a.xor(ax, ax);
        a.mov(ds, ax);
        a.lgdt(__fword_ptr[0x6F00]);
        a.mov(eax, cr0);
        a.or(eax, 1);
        a.mov(cr0, eax);
        a.db(0x66, 0xEA, 0x00, 0x00, 0x01, 0x00, 0x08, 0x00);
    });

    /// <summary>Identity map of 4 MiB, user-writable but for the page of the descriptor tables.</summary>
    private void MapIdentity()
    {
        Write32(PageDirectory, PageTable | 7);
        for (uint page = 0; page < 1024; page++)
        {
            Write32(PageTable + (page * 4), (page << 12) | (page == Gdt >> 12 ? 5u : 7));
        }
    }

    private void SetGate(int vector, uint offset, uint access) =>
        Write64(Idt + (uint)(vector * 8), ProcessorBench.Gate(0x08, offset, access));

    private void Place(uint address, int bitness, Action<Assembler> program)
    {
        var assembler = new Assembler(bitness);
        program(assembler);
        var stream = new MemoryStream();
        _ = assembler.Assemble(new StreamCodeWriter(stream), bitness == 16 ? address & 0xFFFF : address);
        stream.ToArray().CopyTo(new Span<byte>(_ram.Base + address, (int)stream.Length));
    }

    private void RunToHalt()
    {
        _vcpu.StateChanged();
        using var watchdog = new Timer(_ => _vcpu.Kick(stop: true), null, EngineHarness.RunLimit,
            Timeout.InfiniteTimeSpan);
        VcpuExit exit = _vcpu.Run();
        Assert.True(exit == VcpuExit.Halt, $"{exit} at {State->Segment(SegmentRegister.Cs).Selector:x}:"
            + $"{State->Rip:x}, last fault {State->FaultVector} error {State->FaultError:x}");
    }

    private uint Read32(uint gpa) => *(uint*)(_ram.Base + gpa);

    private ushort Read16(uint gpa) => *(ushort*)(_ram.Base + gpa);

    private void Write32(uint gpa, uint value) => *(uint*)(_ram.Base + gpa) = value;

    private void Write64(uint gpa, ulong value) => *(ulong*)(_ram.Base + gpa) = value;
}
