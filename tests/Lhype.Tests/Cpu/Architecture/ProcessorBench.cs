// A Processor with RAM, descriptor tables and a bus that remembers ports, but no translator: instructions are
// decoded from bytes and executed one at a time, so a test sees exactly one routine. The set-up is a small
// protected-mode system: flat segments for rings 0 and 3, a 32-bit TSS, gates on demand.

using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using Iced.Intel;
using Lhype.Cpu;
using Lhype.Cpu.Architecture;
using Lhype.Cpu.Mmu;
using Lhype.Host;

namespace Lhype.Tests.Cpu.Architecture;

internal sealed unsafe class ProcessorBench : ICpuBus, IDisposable
{
    internal const uint Gdt = 0x1000, Idt = 0x2000, Tss = 0x3000, Tss2 = 0x3400, Ldt = 0x3800;
    internal const uint KernelStack = 0x8000, UserStack = 0xA000, Data = 0x10000;
    internal const ushort Code0 = 0x08, Data0 = 0x10, Code3 = 0x1B, Data3 = 0x23, Task = 0x28, Task2 = 0x30;
    /// <summary>First selector free for a test's own descriptors.</summary>
    internal const ushort Free = 0x40;

    private const ulong FlatCode = 0x00CF_9B00_0000_FFFF, FlatData = 0x00CF_9300_0000_FFFF;

    private readonly CodeMemory _code = new(4096);

    internal ProcessorBench(CpuModel? model = null)
    {
        State = (CpuState*)NativeMemory.AlignedAlloc(CpuState.SizeBytes, 4096);
        NativeMemory.Clear(State, CpuState.SizeBytes);
        Memory = new LinearMemory(State, Ram, this);
        var native = new NativeRoutines
        {
            // A stopped clock; and copies and fills by bytes, which is all these tests need.
            ReadTsc = (delegate* unmanaged[Cdecl, SuppressGCTransition]<ulong>)Routine(0,
                0xB8, 0xE8, 0x03, 0x00, 0x00, 0xC3),
            RepMovs =
                (delegate* unmanaged[Cdecl, SuppressGCTransition]<byte*, byte*, nuint, int, void>)Routine(32,
                0x48, 0x89, 0xD0, 0x48, 0x63, 0xC9, 0x48, 0x0F, 0xAF, 0xC8, 0xF3, 0xA4, 0xC3),
            RepStos =
                (delegate* unmanaged[Cdecl, SuppressGCTransition]<byte*, ulong, nuint, int, void>)Routine(64,
                0x48, 0x89, 0xF0, 0x48, 0x89, 0xD1, 0xF3, 0xAA, 0xC3),
            Fxsave = (delegate* unmanaged[Cdecl, SuppressGCTransition]<byte*, void>)Routine(96,
                0x0F, 0xAE, 0x07, 0xC3),
            Fxrstor = (delegate* unmanaged[Cdecl, SuppressGCTransition]<byte*, void>)Routine(112,
                0x0F, 0xAE, 0x0F, 0xC3),
        };
        Processor = new Processor(State, Memory, Ram, this, native, model ?? CpuModel.Base);
        Processor.Reset();
    }

    internal GuestRam Ram { get; } = new(4 << 20);
    internal CpuState* State { get; }
    internal LinearMemory Memory { get; }
    internal Processor Processor { get; }
    internal List<(ushort Port, int Size, uint Value)> Written { get; } = [];
    internal Queue<uint> Input { get; } = new();

    public bool InterruptRequested => false;
    public ulong TscHz => 2_345_678_000;

    /// <summary>Protected mode, CPL 0, paging off.</summary>
    internal ProcessorBench Protect()
    {
        SetDescriptor(Code0, FlatCode);
        SetDescriptor(Data0, FlatData);
        SetDescriptor(Code3, FlatCode | (3UL << 45));
        SetDescriptor(Data3, FlatData | (3UL << 45));
        SetDescriptor(Task, SystemDescriptor(Tss, 0x67, 0x8B));
        SetDescriptor(Task2, SystemDescriptor(Tss2, 0x67, 0x89));
        State->GdtBase = Gdt;
        State->GdtLimit = 0xFF;
        State->IdtBase = Idt;
        State->IdtLimit = 0x7FF;
        State->Cr0 = 0x11;
        SetFlat(SegmentRegister.Cs, Code0, 0xC09B);
        foreach (SegmentRegister register in (SegmentRegister[])[SegmentRegister.Ds, SegmentRegister.Es,
            SegmentRegister.Fs, SegmentRegister.Gs, SegmentRegister.Ss])
        {
            SetFlat(register, Data0, 0xC093);
        }

        State->Segment(SegmentRegister.Tr) = new SegmentCache
        {
            Selector = Task,
            Base = Tss,
            Limit = 0x67,
            Attributes = 0x8B,
        };
        Write32(Tss + 4, KernelStack);
        Write32(Tss + 8, Data0);
        Write32(Tss + 0x64, 0x0068_0000);
        State->Gpr[4] = KernelStack;
        State->Rip = 0x5000;
        return this;
    }

    /// <summary>Ring 3 with flat segments.</summary>
    internal ProcessorBench User()
    {
        State->Cpl = 3;
        SetFlat(SegmentRegister.Cs, Code3, 0xC0FB);
        SetFlat(SegmentRegister.Ss, Data3, 0xC0F3);
        SetFlat(SegmentRegister.Ds, Data3, 0xC0F3);
        SetFlat(SegmentRegister.Es, Data3, 0xC0F3);
        State->Gpr[4] = UserStack;
        return this;
    }

    internal void SetFlat(SegmentRegister register, ushort selector, uint attributes) =>
        State->Segment(register) = new SegmentCache
        {
            Selector = selector,
            Limit = uint.MaxValue,
            Attributes = attributes,
        };

    internal void SetDescriptor(ushort selector, ulong descriptor) =>
        Write64(Gdt + (selector & 0xFFF8u), descriptor);

    /// <summary>A descriptor from base, 20-bit limit and access byte, without flags.</summary>
    internal static ulong SystemDescriptor(uint @base, uint limit, uint access, uint flags = 0) =>
        (limit & 0xFFFF) | ((ulong)(@base & 0xFF_FFFF) << 16) | ((ulong)access << 40)
        | ((ulong)((limit >> 16) & 15) << 48) | ((ulong)flags << 52) | ((ulong)(@base >> 24) << 56);

    internal static ulong Gate(ushort selector, uint offset, uint access, uint parameters = 0) =>
        (offset & 0xFFFF) | ((ulong)selector << 16) | ((ulong)parameters << 32) | ((ulong)access << 40)
        | ((ulong)(offset >> 16) << 48);

    internal void SetGate(int vector, ushort selector, uint offset, uint access) =>
        Write64(Idt + (uint)(vector * 8), Gate(selector, offset, access));

    /// <summary>Decodes <paramref name="code"/> for the current code size and executes one
    /// instruction.</summary>
    internal Outcome Run(params byte[] code)
    {
        bool wide = (State->Segment(SegmentRegister.Cs).Attributes & SegmentCache.BigBit) != 0;
        byte[] padded = new byte[16];
        code.CopyTo(padded, 0);
        Decoder decoder = Decoder.Create(wide ? 32 : 16, padded);
        decoder.IP = 0;
        return Processor.Execute(decoder.Decode());
    }

    internal (uint Vector, uint Error) LastFault => (State->FaultVector, State->FaultError);

    internal uint Read32(uint gpa) => *(uint*)(Ram.Base + gpa);

    internal ushort Read16(uint gpa) => *(ushort*)(Ram.Base + gpa);

    internal void Write32(uint gpa, uint value) => *(uint*)(Ram.Base + gpa) = value;

    internal void Write64(uint gpa, ulong value) => *(ulong*)(Ram.Base + gpa) = value;

    public uint ReadPort(ushort port, int size) => Input.Count != 0 ? Input.Dequeue() : uint.MaxValue;

    public void WritePort(ushort port, int size, uint value) => Written.Add((port, size, value));

    public ulong ReadMmio(ulong gpa, int size) => ulong.MaxValue;

    public void WriteMmio(ulong gpa, int size, ulong value)
    {
    }

    public int AcknowledgeInterrupt() => -1;

    public bool TryReadMsr(uint index, out ulong value)
    {
        value = 0x1234;
        return index == 0x1B;
    }

    public MsrResult WriteMsr(uint index, ulong value) =>
        index != 0x1B ? MsrResult.NotHandled : value == 0 ? MsrResult.GeneralProtection : MsrResult.Written;

    public void Poll()
    {
    }

    public void Dispose()
    {
        Memory.Dispose();
        _code.Dispose();
        NativeMemory.AlignedFree(State);
        Ram.Dispose();
    }

    private nint Routine(int offset, params ReadOnlySpan<byte> code)
    {
        code.CopyTo(new Span<byte>(_code.Writable + offset, code.Length));
        return (nint)(_code.Executable + offset);
    }
}
