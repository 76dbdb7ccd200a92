// The CPU of a guest whose kernel knows that it has a hypervisor (the lguest interface): that kernel runs at
// CPL 1, so all that needs CPL 0 is the host's. Descriptor tables, the stack for traps from user mode and
// the page-table base are kept here and change by hypercalls, and the kernel's interrupt flag is a word of
// its own memory. The machine implements IParavirtualHost; Architecture/Paravirtual.cs is the processor's
// side.

using System;
using System.IO;
using Lhype.Cpu.Architecture;
using Lhype.Cpu.Mmu;

namespace Lhype.Cpu;

/// <summary>The hypervisor of a paravirtual guest. All calls come on the vCPU's thread.</summary>
public interface IParavirtualHost
{
    /// <summary>The guest kernel's interrupt flag, in the place of EFLAGS.IF: 0x200 or 0.</summary>
    uint InterruptFlag { get; set; }

    /// <summary>Address of an IRET before which an interrupt takes over the frame that is already on the
    /// stack; null if there is none.</summary>
    uint? FramelessReturn { get; }

    /// <summary>CLI at CPL 1 does nothing, instead of raising #GP.</summary>
    bool IgnoresCli { get; }

    /// <summary>A page fault at <paramref name="address"/> is about to be delivered.</summary>
    void PageFaulted(uint address);

    /// <summary>INT 0x1F or, if <paramref name="vmcall"/>, VMCALL at CPL 1. EIP is still that of the
    /// instruction. False: this guest has no such call, it gets #UD.</summary>
    bool Hypercall(bool vmcall);

    /// <summary>Ends the guest, which broke the rules; <paramref name="reason"/> is a clause about
    /// it.</summary>
    void Kill(string reason);
}

/// <summary>The privileged half of a paravirtual guest's CPU, and what hypercalls do to it.</summary>
public sealed unsafe class ParavirtualCpu
{
    /// <summary>Entries of the GDT.</summary>
    public const int GdtEntries = 32;
    /// <summary>Selector of the kernel's code segment, without its RPL of 1: GDT entry 12.</summary>
    public const ushort KernelCode = 0x60;
    /// <summary>Selector of the kernel's data segment, without its RPL of 1: GDT entry 13.</summary>
    public const ushort KernelData = 0x68;
    /// <summary>Number of the hypercall interrupt.</summary>
    public const uint HypercallVector = 0x1F;

    private readonly CpuState* _state;
    private readonly LinearMemory _memory;
    private readonly Processor _processor;
    private readonly Action _modeChanged;

    internal ParavirtualCpu(CpuState* state, LinearMemory memory, Processor processor, IParavirtualHost host,
        Action modeChanged)
    {
        _modeChanged = modeChanged;
        _state = state;
        _memory = memory;
        _processor = processor;
        Host = host;
    }

    /// <summary>The hypervisor.</summary>
    public IParavirtualHost Host { get; }

    /// <summary>Segment descriptors.</summary>
    public ulong[] Gdt { get; } = new ulong[GdtEntries];

    /// <summary>Interrupt gates, by vector; 0 where there is none.</summary>
    public ulong[] Idt { get; } = new ulong[256];

    /// <summary>SS for traps from user mode.</summary>
    public ushort StackSelector { get; set; }

    /// <summary>ESP for traps from user mode.</summary>
    public uint StackPointer { get; set; }

    /// <summary>EIP.</summary>
    public uint Eip => (uint)_state->Rip;

    /// <summary>CPL: 1 in the guest's kernel, 3 in its programs.</summary>
    public uint Cpl => _state->Cpl;

    /// <summary>True from HALT until an interrupt.</summary>
    public bool Halted
    {
        get => _state->Halted != 0;
        set => _state->Halted = value ? 1u : 0;
    }

    /// <summary>CR0.TS: the next FPU instruction raises #NM. Set by hypercall.</summary>
    public bool TaskSwitched
    {
        set
        {
            ulong rest = _state->Cr0 & ~ControlBits.Cr0TaskSwitched;
            _state->Cr0 = value ? rest | ControlBits.Cr0TaskSwitched : rest;
            _modeChanged();
        }
    }

    /// <summary>Physical address of the top page table; meaningless while <see cref="Paging"/> is
    /// false.</summary>
    public uint PageTable => (uint)_state->Cr3;

    /// <summary>False before the first page table: addresses are physical.</summary>
    public bool Paging => (_state->Cr0 & ControlBits.Cr0Paging) != 0;

    /// <summary>Page-table entries have 8 bytes.</summary>
    public bool PhysicalAddressExtension => (_state->Cr4 & ControlBits.Cr4Pae) != 0;

    /// <summary>A general register (0 = EAX ... 7 = EDI, as encoded).</summary>
    public uint Gpr(int number) => (uint)_state->Gpr[number & 7];

    /// <summary>Sets a general register.</summary>
    public void SetGpr(int number, uint value) => _state->Gpr[number & 7] = value;

    /// <summary>The state at the first instruction, at <paramref name="eip"/>: flat segments of CPL 1,
    /// interrupts on for real, no paging, no page of 4 MiB or 2 MiB allowed, FPU and SSE ready.</summary>
    public void Start(uint eip)
    {
        Gdt[KernelCode >> 3] = 0x00CF_BB00_0000_FFFF;
        Gdt[KernelData >> 3] = 0x00CF_B300_0000_FFFF;
        for (int i = 0; i < 8; i++)
        {
            _state->Gpr[i] = 0;
            _state->Segment((SegmentRegister)i) = i switch
            {
                (int)SegmentRegister.Cs => Segment(KernelCode, 0xC0BB),
                (int)SegmentRegister.Ds or (int)SegmentRegister.Es or (int)SegmentRegister.Ss =>
                    Segment(KernelData, 0xC0B3),
                _ => new SegmentCache { Attributes = SegmentCache.UnusableBit },
            };
        }

        // Empty tables: emitted code finds no gate and leaves every interrupt to C#.
        _state->GdtLimit = 0;
        _state->IdtLimit = 0;
        _state->Cpl = 1;
        _state->Eflags = EflagsBits.Interrupt | 2;
        _state->Rip = eip;
        _state->Cr0 = ControlBits.Cr0Protection | ControlBits.Cr0MonitorCoprocessor
            | ControlBits.Cr0ExtensionType | ControlBits.Cr0NumericError | ControlBits.Cr0WriteProtect
            | ControlBits.Cr0AlignmentMask;
        _processor.EnableFeatures(ControlBits.Cr4Pse | ControlBits.Cr4Pge | ControlBits.Cr4Osfxsr
            | ControlBits.Cr4Osxmmexcpt);
        _modeChanged();
        _memory.FlushAll();
    }

    /// <summary>Loads the top page table at <paramref name="top"/> and turns paging on; with
    /// <paramref name="extended"/> in the format of PAE. False: the four top entries of PAE are not
    /// acceptable.</summary>
    public bool TryLoadPageTable(uint top, bool extended)
    {
        if (!Paging || extended != PhysicalAddressExtension)
        {
            _state->Cr0 |= ControlBits.Cr0Paging;
            _state->Cr4 = (_state->Cr4 & ~ControlBits.Cr4Pae) | (extended ? ControlBits.Cr4Pae : 0);
            _memory.FlushAll();
        }

        return _processor.TryLoadPageTable(top);
    }

    /// <summary>Forgets what was cached of the page tables; global pages too if
    /// <paramref name="all"/>.</summary>
    public void FlushTranslations(bool all)
    {
        if (all)
        {
            _memory.FlushAll();
        }
        else
        {
            _memory.FlushNonGlobal();
        }
    }

    /// <summary>Forgets what was cached about the page of <paramref name="linear"/>.</summary>
    public void FlushPage(uint linear) => _memory.FlushPage(linear);

    /// <summary>True if the kernel could write the byte at <paramref name="linear"/>.</summary>
    public bool IsWritable(uint linear) => _memory.TryProbeWrite(linear, 1, user: false);

    /// <summary>Writes what is kept here and not in the guest's registers.</summary>
    public void Save(BinaryWriter writer)
    {
        foreach (ulong descriptor in Gdt)
        {
            writer.Write(descriptor);
        }

        foreach (ulong gate in Idt)
        {
            writer.Write(gate);
        }

        writer.Write(StackSelector);
        writer.Write(StackPointer);
    }

    /// <summary>Reads back what <see cref="Save"/> wrote.</summary>
    public void Restore(BinaryReader reader)
    {
        for (int i = 0; i < Gdt.Length; i++)
        {
            Gdt[i] = reader.ReadUInt64();
        }

        for (int i = 0; i < Idt.Length; i++)
        {
            Idt[i] = reader.ReadUInt64();
        }

        StackSelector = reader.ReadUInt16();
        StackPointer = reader.ReadUInt32();
    }

    /// <summary>The descriptor a selector names. There is no LDT. False: outside the table.</summary>
    internal bool TryDescriptor(uint selector, out ulong descriptor)
    {
        uint index = (selector & 0xFFFF) >> 3;
        bool found = (selector & 4) == 0 && index < GdtEntries;
        descriptor = found ? Gdt[index] : 0;
        return found;
    }

    internal void RefuseLargePage(ulong linear) =>
        Host.Kill($"bad page directory entry: a large page at {linear:x8}");

    private static SegmentCache Segment(ushort selector, uint attributes) => new()
    {
        Selector = (ushort)(selector | 1),
        Limit = uint.MaxValue,
        Attributes = attributes,
    };
}
