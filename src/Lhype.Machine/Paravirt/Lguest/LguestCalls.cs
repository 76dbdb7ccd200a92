// The hypercalls, one method each, and the rules of their arguments. A guest that breaks one ends with the
// reason; no call returns an error. Meaning of the numbers: docs/hypercalls.md.

using System;
using System.Buffers.Binary;
using System.Text;
using Lhype.Cpu;

namespace Lhype.Machine.Paravirt.Lguest;

/// <summary>Hypercall numbers.</summary>
internal static class LguestCallNumber
{
    public const uint FlushAsync = 0, Init = 1, Shutdown = 2, LoadGdt = 3, NewPageTable = 4, FlushTlb = 5,
        LoadIdtEntry = 6, SetStack = 7, TaskSwitched = 8, SetClockEvent = 9, Halt = 10, BindDma = 12,
        SendDmaOrSetPmd = 13, SetPte = 14, SetPgd = 15, LoadTls = 16, Notify = 17, LoadGdtEntry = 18,
        SendInterrupts = 19;

    private static readonly string[] Names =
    [
        "FLUSH_ASYNC", "LGUEST_INIT", "SHUTDOWN", "LOAD_GDT", "NEW_PGTABLE", "FLUSH_TLB", "LOAD_IDT_ENTRY",
        "SET_STACK", "TS", "SET_CLOCKEVENT", "HALT", "call 11", "BIND_DMA", "SEND_DMA/SET_PMD", "SET_PTE",
        "SET_PGD", "LOAD_TLS", "NOTIFY", "LOAD_GDT_ENTRY", "SEND_INTERRUPTS",
    ];

    /// <summary>The name of a call, for people.</summary>
    public static string NameOf(uint number) => number < Names.Length ? Names[number] : $"call {number}";
}

public sealed partial class LguestHost
{
    private const int MessageBytes = 128;
    private const uint ConsoleTextBytes = 4096;
    private const uint PageMask = 4095;
    private const uint PtePresent = 1, PteLarge = 0x80;
    private const uint ShutdownPowerOff = 1, ShutdownRestart = 2;
    private const int FirstTlsEntry = 6, TlsEntries = 3;
    private const ulong DescriptorDpl = 3UL << 45, DescriptorDpl1 = 1UL << 45, DescriptorAccessed = 1UL << 40;
    private const ulong DescriptorSegment = 1UL << 44, DescriptorPresent = 1UL << 47;

    /// <summary>Makes a call. Its result for EAX, or null if it has none.</summary>
    private uint? Execute(in LguestCall call)
    {
        Trace(call);
        LguestDialect dialect = _dialect!;
        bool isA = dialect.Generation == LguestGeneration.A;
        bool fromD = dialect.IsAtLeast(LguestGeneration.D);
        switch (call.Number)
        {
            case LguestCallNumber.FlushAsync:
            case LguestCallNumber.SendInterrupts when fromD:
                break;
            case LguestCallNumber.Init:
                Kill("LGUEST_INIT again: already have lguest_data");
                break;
            case LguestCallNumber.Shutdown:
                Shutdown(call.First, call.Second);
                break;
            case LguestCallNumber.LoadGdt when !fromD:
                LoadGdt(call.First, call.Second);
                break;
            case LguestCallNumber.NewPageTable:
                NewPageTable(call.First);
                break;
            case LguestCallNumber.FlushTlb:
                _cpu.FlushTranslations(all: call.First != 0);
                break;
            case LguestCallNumber.LoadIdtEntry:
                LoadIdtEntry(call.First, call.Second, call.Third);
                break;
            case LguestCallNumber.SetStack:
                SetStack(call.First, call.Second, call.Third);
                break;
            case LguestCallNumber.TaskSwitched:
                _cpu.TaskSwitched = call.First != 0;
                break;
            case LguestCallNumber.SetClockEvent:
                SetClock(call.First);
                break;
            case LguestCallNumber.Halt:
                _cpu.Halted = true;
                break;
            case LguestCallNumber.BindDma when isA:
                return _devices!.BindDma(call.First, call.Second, call.Third >> 8, (byte)call.Third) ? 1u : 0;
            case LguestCallNumber.SendDmaOrSetPmd when isA:
                _devices!.SendDma(call.First, call.Second);
                break;
            case LguestCallNumber.SendDmaOrSetPmd when fromD && _extended:
                // Middle tables are shared by top tables, so nothing says which addresses this is about.
                _cpu.FlushTranslations(all: true);
                break;
            case LguestCallNumber.SetPte:
                SetPte(call.First, call.Second, call.Third);
                break;
            case LguestCallNumber.SetPgd:
                SetPgd(call.First, call.Second);
                break;
            case LguestCallNumber.LoadTls:
                LoadTls(call.First);
                break;
            case LguestCallNumber.Notify when dialect.Devices is LguestDeviceModel.Page
                or LguestDeviceModel.TaggedPage:
                Notify(call.First);
                break;
            case LguestCallNumber.LoadGdtEntry when fromD:
                LoadGdtEntry(call.First, call.Second, call.Third);
                break;
            default:
                Kill($"bad hypercall {call.Number}");
                break;
        }

        return null;
    }

    /// <summary>SHUTDOWN, or CRASH in A and B, which have no second argument. All end with a message; only
    /// its text tells the wish to switch off from a panic.</summary>
    private void Shutdown(uint message, uint how)
    {
        Span<byte> bytes = stackalloc byte[MessageBytes];
        if (!_memory.TryRead(message, bytes))
        {
            Kill($"bad address {message:x8} of a last message");
            return;
        }

        int end = bytes[..^1].IndexOf((byte)0);
        string text = Encoding.UTF8.GetString(bytes[..(end < 0 ? MessageBytes - 1 : end)]).Trim();
        bool hasKind = _dialect!.IsAtLeast(LguestGeneration.C);
        if (hasKind && how == ShutdownRestart)
        {
            _machine.RequestReset();
        }
        else if (text == "Power down" && (!hasKind || how == ShutdownPowerOff))
        {
            _machine.PowerOff();
        }
        else
        {
            Kill(text.Length == 0 ? "it gave up without a message" : text);
        }
    }

    /// <summary>LOAD_GDT: the whole table at once.</summary>
    private void LoadGdt(uint table, uint count)
    {
        Span<byte> bytes = stackalloc byte[ParavirtualCpu.GdtEntries * 8];
        if (count > ParavirtualCpu.GdtEntries)
        {
            Kill($"too many gdt entries: {count}");
        }
        else if (!_memory.TryRead(table, bytes[..(int)(count * 8)]))
        {
            Kill($"bad address {table:x8} of a GDT");
        }
        else
        {
            for (int i = 0; i < (int)count; i++)
            {
                SetDescriptor(i, BinaryPrimitives.ReadUInt64LittleEndian(bytes[(i * 8)..]));
            }
        }
    }

    private void LoadGdtEntry(uint index, uint low, uint high)
    {
        if (index >= ParavirtualCpu.GdtEntries)
        {
            Kill($"too many gdt entries: index {index}");
            return;
        }

        SetDescriptor((int)index, low | ((ulong)high << 32));
    }

    /// <summary>LOAD_TLS: the three entries a program's thread-local storage uses.</summary>
    private void LoadTls(uint table)
    {
        Span<byte> bytes = stackalloc byte[TlsEntries * 8];
        if (!_memory.TryRead(table, bytes))
        {
            Kill($"bad address {table:x8} of TLS entries");
            return;
        }

        for (int i = 0; i < TlsEntries; i++)
        {
            SetDescriptor(FirstTlsEntry + i, BinaryPrimitives.ReadUInt64LittleEndian(bytes[(i * 8)..]));
        }
    }

    /// <summary>Entries 10 and 11 (the host's code and data), 16 and 31 (task segments) stay the host's. No
    /// segment reaches CPL 0: system segments and gates are refused, DPL 0 becomes 1.</summary>
    private void SetDescriptor(int index, ulong descriptor)
    {
        if (index is 10 or 11 or 16 or 31)
        {
            return;
        }

        bool present = (descriptor & DescriptorPresent) != 0;
        if (present && (descriptor & DescriptorSegment) == 0)
        {
            descriptor = 0;
        }
        else if (present)
        {
            descriptor |= DescriptorAccessed | ((descriptor & DescriptorDpl) == 0 ? DescriptorDpl1 : 0);
        }

        _cpu.Gdt[index] = descriptor;
    }

    private void NewPageTable(uint top)
    {
        if (!_memory.Contains(top & ~31u, 32))
        {
            Kill($"bad address {top:x8} of a page table");
            return;
        }

        // The format is the kernel's for all its life; the first table shows it.
        if (!_cpu.Paging && _dialect!.IsAtLeast(LguestGeneration.D))
        {
            _extended = LguestTables.LooksExtended(_memory, top);
        }

        if (!_cpu.TryLoadPageTable(top, _extended))
        {
            Kill($"bad page directory pointer in the page table {top:x8}");
        }
    }

    private void LoadIdtEntry(uint vector, uint low, uint high)
    {
        // NMI, double fault, the spurious interrupt and the hypercall never reach the guest.
        if (vector is 2 or 8 or 15 or ParavirtualCpu.HypercallVector)
        {
            return;
        }

        uint type = (high >> 8) & 0xF;
        bool present = (high & 0x8000) != 0;
        if (vector >= (uint)_cpu.Idt.Length)
        {
            Kill($"Setting idt entry {vector}");
        }
        else if (present && type is not (0xE or 0xF))
        {
            Kill($"bad IDT type {type}");
        }
        else
        {
            // Only address, type, privilege and presence are the guest's to choose.
            const ulong selector = (ulong)(ParavirtualCpu.KernelCode | 1) << 16;
            _cpu.Idt[vector] = present ? (low & 0xFFFF) | selector | ((ulong)(high & 0xFFFF_EF00) << 32) : 0;
        }
    }

    private void SetStack(uint selector, uint pointer, uint pages)
    {
        if ((selector & 3) != 1)
        {
            Kill($"bad stack segment {selector:x}");
            return;
        }

        if (pages > 2)
        {
            Kill($"bad stack pages {pages}");
            return;
        }

        for (uint i = 0; i < pages; i++)
        {
            uint last = pointer - 1 - (i * 4096);
            if (!_cpu.IsWritable(last))
            {
                Kill($"bad stack page {last & ~PageMask:x8}");
                return;
            }
        }

        _cpu.StackSelector = (ushort)selector;
        _cpu.StackPointer = pointer;
    }

    /// <summary>SET_PTE: an entry was changed. Addresses of the kernel are the same in all tables.</summary>
    private void SetPte(uint top, uint linear, uint entry)
    {
        if (!_extended && (entry & PtePresent) != 0 && (entry & PteLarge) != 0)
        {
            Kill($"bad page table entry {entry:x8} for {linear:x8}");
            return;
        }

        if (linear >= KernelAddress || IsCurrent(top))
        {
            _cpu.FlushPage(linear);
        }
    }

    /// <summary>SET_PGD (SET_PMD before D): an entry of a top table was changed.</summary>
    private void SetPgd(uint top, uint index)
    {
        if (index >= (_extended ? 4u : 1024u))
        {
            return;
        }

        bool kernel = index >= KernelAddress >> (_extended ? 30 : 22);
        if (!kernel && !IsCurrent(top))
        {
            return;
        }

        // The four top entries of PAE are read when the table is loaded.
        if (_extended && _cpu.Paging && !_cpu.TryLoadPageTable(_cpu.PageTable, extended: true))
        {
            Kill($"bad page directory pointer in the page table {top:x8}");
        }

        _cpu.FlushTranslations(all: kernel);
    }

    private uint KernelAddress => _dialect!.KernelAddress == LguestDialect.None
        ? _setup.PageOffset : ReadWord(_dialect.KernelAddress);

    private bool IsCurrent(uint top) => (top & ~31u) == (_cpu.PageTable & ~31u);

    /// <summary>NOTIFY: a device, or text of a console that has no driver yet.</summary>
    private void Notify(uint address)
    {
        if (_devices!.Notify(address))
        {
            return;
        }

        uint room = address < _setup.MemoryTop ? Math.Min(_setup.MemoryTop - address, ConsoleTextBytes) : 0;
        if (room == 0 || !_memory.TryGetSpan(address, (int)room, out Span<byte> text))
        {
            Kill($"bad address {address:x8} in NOTIFY");
            return;
        }

        int end = text.IndexOf((byte)0);
        _console.Print(end < 0 ? text : text[..end]);
    }
}
