// Filling and flushing the software TLBs of LinearMemory. A CR3 load must cost what the last address space
// used, not what the tables could hold, so every fill is logged and a flush undoes the log; global
// translations have a log of their own.

using System;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Lhype.Host;

namespace Lhype.Cpu.Mmu;

/// <summary>How emitted code may walk the guest's page tables.</summary>
internal enum WalkKind : uint
{
    /// <summary>Not at all: paging is off, or one of the rarer rights (WP clear, SMAP) is in force.
    /// SMEP is about instruction fetches, which C# looks up.</summary>
    None,
    /// <summary>4-byte entries; bit 7 of a page-directory entry means nothing.</summary>
    Legacy,
    /// <summary>4-byte entries with 4 MiB pages.</summary>
    LegacyLarge,
    /// <summary>8-byte entries.</summary>
    Pae,
    /// <summary>Four levels of them.</summary>
    Long,
}

/// <summary>What LinearMemory knows of a page of guest-physical memory, one byte each.</summary>
internal static class PageFlag
{
    /// <summary>Holds translated code: no write entry may exist.</summary>
    internal const byte Code = 1;
    /// <summary>Not RAM, though below its end (the video hole).</summary>
    internal const byte Device = 2;
}

/// <summary>Byte offsets (in CpuState) of TLB entries filled since the last flush, in native memory because
/// emitted code adds to it and undoes it: the count, then the offsets, 4 bytes each.</summary>
internal sealed unsafe class TlbLog : IDisposable
{
    /// <summary>Offsets a log holds.</summary>
    internal const int Capacity = 8192;

    private int* _log = (int*)NativeMemory.AllocZeroed((Capacity + 1) * sizeof(int));

    internal ulong Address => (ulong)_log;

    internal int Count
    {
        get => *_log;
        set => *_log = value;
    }

    internal bool Full => Count == Capacity;

    internal ReadOnlySpan<int> Entries => new(_log + 1, Count);

    internal void Add(int offset) => _log[1 + Count++] = offset;

    public void Dispose()
    {
        NativeMemory.Free(_log);
        _log = null;
    }
}

public sealed unsafe partial class LinearMemory
{
    /// <summary>Forgets every translation (CR0.PG, CR4 paging bits changed; or CR3 load without
    /// PGE).</summary>
    public void FlushAll()
    {
        FlushNonGlobal();
        Undo(_globalLog);
        Map.Drop();
        new Span<byte>(_executedPages, ExecutedPagesBytes).Clear();
        new Span<ulong>(_state->LargeRegions, 2048 / 64).Clear();
        _state->GlobalBit = (_state->Cr4 & ControlBits.Cr4Pge) != 0 ? PageWalk.GlobalPage : 0;
        _state->WalkKind = EmittedWalk();
    }

    /// <summary>Which walk the control registers allow to emitted code. They change only with a complete
    /// flush.</summary>
    private WalkKind EmittedWalk()
    {
        const ulong needed = ControlBits.Cr0Paging | ControlBits.Cr0WriteProtect;
        if ((_state->Cr0 & needed) != needed || (_state->Cr4 & ControlBits.Cr4Smap) != 0)
        {
            return WalkKind.None;
        }

        if ((_state->Efer & ControlBits.EferLongActive) != 0)
        {
            return WalkKind.Long;
        }

        bool extended = (_state->Cr4 & ControlBits.Cr4Pae) != 0;
        if (LargePageMet != null)
        {
            return extended ? WalkKind.None : WalkKind.Legacy;
        }

        return extended ? WalkKind.Pae
            : (_state->Cr4 & ControlBits.Cr4Pse) != 0 ? WalkKind.LegacyLarge : WalkKind.Legacy;
    }

    /// <summary>Remembers that <paramref name="linear"/> is part of a large page, see
    /// <see cref="FlushPage"/>.</summary>
    internal void NoteLarge(ulong linear)
    {
        ulong region = (linear >> 21) & 2047;
        _state->LargeRegions[region >> 6] |= 1UL << (int)(region & 63);
        LargePageMet?.Invoke(linear);
    }

    /// <summary>The same for all of the 1 GiB page of <paramref name="linear"/>.</summary>
    internal void NoteHuge(ulong linear)
    {
        const int words = 512 / 64;
        ulong first = (linear >> 30 & 3) * words;
        for (ulong word = first; word < first + words; word++)
        {
            _state->LargeRegions[word] = ulong.MaxValue;
        }
    }

    /// <summary>Forgets every translation that is not global (CR3 load).</summary>
    public void FlushNonGlobal()
    {
        _state->TlbFlushes++;
        Window.Flush();
        ForgetStack();
        ForgetReturns();
        Undo(_localLog);
    }

    /// <summary>Forgets one page, global or not (INVLPG; SDM vol. 3, 4.10.4.1). A page that was mapped large
    /// loses all its 4 KiB pieces.</summary>
    public void FlushPage(ulong linear)
    {
        linear = Wrap(linear);
        ulong region = (linear >> 21) & 2047;
        if ((_state->LargeRegions[region >> 6] >> (int)(region & 63) & 1) != 0)
        {
            FlushAll();
            return;
        }

        Window.FlushPage(linear);
        ForgetStack();
        ulong page = linear & PageMask;
        for (int table = 0; table < 4; table++)
        {
            TlbEntry* entry = (TlbEntry*)((byte*)_state + CpuState.Offset.Tlb) + (table * CpuState.TlbEntries)
                + ((linear >> 12) & (CpuState.TlbEntries - 1));
            if (entry->Tag == page)
            {
                entry->Tag = ulong.MaxValue;
            }
        }

        for (uint mode = 0; mode <= ModeKey.Slot; mode += ModeKey.Slot & (~ModeKey.Slot + 1))
        {
            CodeTlbEntry* code = CpuState.CodeTlb(_state) + CpuState.CodeSlot(linear, mode);
            if ((code->Tag & PageMask) == page)
            {
                code->Tag = ulong.MaxValue;
                code->Stamp = 0;
            }
        }

        if ((_executedPages[(linear >> 18) & 0x3FFF] >> (int)((linear >> 12) & 63) & 1) != 0)
        {
            DropJumps(linear >> 12);
            ForgetReturns();
        }
    }

    /// <summary>Enters a code page into the code TLB.</summary>
    internal void FillCode(ulong linearPage, uint modeKey, bool global, bool large, ulong table, uint stamp)
    {
        CodeTlbEntry* entry = CpuState.CodeTlb(_state) + CpuState.CodeSlot(linearPage, modeKey);
        Log(global, large, linearPage, (int)((byte*)entry - (byte*)_state));
        entry->Tag = linearPage | modeKey;
        entry->Table = table;
        entry->Stamp = stamp;
        entry->Global = global ? 1u : 0;
        _executedPages[(linearPage >> 18) & 0x3FFF] |= 1UL << (int)((linearPage >> 12) & 63);
    }

    /// <summary>
    /// The page of the stack must be looked up again (see Translator/StackGroups.cs). The check subtracts
    /// the tag, so every value stands for a page; this one is so far from being canonical that no difference
    /// between a host and a guest address can make it so, and an RSP that fits it faults on the host.
    /// </summary>
    private void ForgetStack()
    {
        _state->StackTag = NoStack;
    }

    /// <summary>What <see cref="ForgetStack"/> stores; emitted code stores the upper half alone.</summary>
    internal const ulong NoStack = 1UL << 63;

    /// <summary>No return address of a translated call may be used any more: what it leads to, or whose code
    /// is mapped there, may have changed.</summary>
    internal void ForgetReturns() => _state->ReturnStack = _state->ReturnTop;

    /// <summary>Empties a table of the jump cache before its first use.</summary>
    internal void OpenJumpTable(int index)
    {
        Invariant.Check(index == _jumpTables, "jump tables are opened in order");
        _jumpTables++;
        ClearJumps(index);
    }

    /// <summary>No table of the jump cache is in use any more.</summary>
    internal void CloseJumpTables()
    {
        Undo(_localLog);
        Undo(_globalLog);
        _jumpTables = 0;
    }

    /// <summary>Makes the jump cache entry at <paramref name="offset"/> in CpuState lead from
    /// <paramref name="linear"/>, whose page is in the code TLB for <paramref name="mode"/>, to host address
    /// <paramref name="host"/>.</summary>
    internal void FillJump(int offset, ulong linear, uint mode, ulong host)
    {
        CodeTlbEntry* page = CpuState.CodeTlb(_state) + CpuState.CodeSlot(linear, mode);
        Log(page->Global != 0, large: false, linear & PageMask, offset);
        JumpEntry* entry = (JumpEntry*)((byte*)_state + offset);
        entry->Host = host;
        entry->NegatedLinear = 0 - linear;
    }

    /// <summary>Empties the code TLB: the tables its entries point to are about to go.</summary>
    internal void DropCodeEntries()
    {
        CodeTlbEntry* entries = CpuState.CodeTlb(_state);
        for (int i = 0; i < CpuState.CodeTlbEntries; i++)
        {
            entries[i].Tag = ulong.MaxValue;
            entries[i].Stamp = 0;
        }

        for (int i = 0; i < _jumpTables; i++)
        {
            ClearJumps(i);
        }
    }

    private JumpEntry* JumpTable(int index) =>
        (JumpEntry*)((byte*)_state + CpuState.Offset.JumpCache) + (index * CpuState.JumpTableEntries);

    private void ClearJumps(int table)
    {
        JumpEntry* entries = JumpTable(table);
        for (int i = 0; i < CpuState.JumpTableEntries; i++)
        {
            entries[i].Host = _state->JumpMiss;
        }
    }

    /// <summary>Forgets all jumps into one linear page. Its entries are neighbours in each table.</summary>
    private void DropJumps(ulong page)
    {
        int first = (int)(page << 12 & (CpuState.JumpTableEntries - 1));
        for (int table = 0; table < _jumpTables; table++)
        {
            JumpEntry* entries = JumpTable(table) + first;
            for (int i = 0; i < 4096; i++)
            {
                if ((0 - entries[i].NegatedLinear) >> 12 == page)
                {
                    entries[i].Host = _state->JumpMiss;
                }
            }
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private bool TryFill(ulong linear, bool write, bool user, out ulong gpa)
    {
        Misses++;
        if (!PageWalk.TryTranslate(_state, _ram, linear, write ? AccessKind.Write : AccessKind.Read, user,
            out PageTranslation translation))
        {
            gpa = 0;
            return false;
        }

        gpa = translation.PageGpa | (linear & 4095);
        if (!_ram.IsRamPage(gpa))
        {
            return true;
        }

        Install(linear & PageMask, translation, write: false, user);
        if (translation.WriteReady && _pageFlags[gpa >> 12] == 0)
        {
            Install(linear & PageMask, translation, write: true, user);
        }

        return true;
    }

    private void Install(ulong page, in PageTranslation translation, bool write, bool user)
    {
        TlbEntry* entry = CpuState.DataTlb(_state, user, write) + ((page >> 12) & (CpuState.TlbEntries - 1));
        Log(translation.Global, translation.Large, page, (int)((byte*)entry - (byte*)_state));
        if (translation.Huge)
        {
            NoteHuge(page);
        }

        entry->Tag = page;
        entry->Addend = (ulong)_ram.Base + translation.PageGpa - page;
    }

    private void Log(bool global, bool large, ulong page, int offset)
    {
        TlbLog log = global ? _globalLog : _localLog;
        if (log.Full)
        {
            Undo(log);
        }

        log.Add(offset);
        if (large)
        {
            NoteLarge(page);
        }
    }

    private void Undo(TlbLog log)
    {
        foreach (int offset in log.Entries)
        {
            bool jump = offset >= CpuState.Offset.JumpCache;
            *(ulong*)((byte*)_state + offset) = jump ? _state->JumpMiss : ulong.MaxValue;
            if (!jump && offset >= CpuState.Offset.CodeTlb)
            {
                ((CodeTlbEntry*)((byte*)_state + offset))->Stamp = 0;
            }
        }

        log.Count = 0;
    }

    private void ClearTables()
    {
        TlbEntry* entries = (TlbEntry*)((byte*)_state + CpuState.Offset.Tlb);
        for (int i = 0; i < 4 * CpuState.TlbEntries; i++)
        {
            entries[i].Tag = ulong.MaxValue;
        }

        DropCodeEntries();
    }

    private static void DropWriteEntries(TlbEntry* table, ulong hostPage)
    {
        for (int i = 0; i < CpuState.TlbEntries; i++)
        {
            if (table[i].Tag + table[i].Addend == hostPage)
            {
                table[i].Tag = ulong.MaxValue;
            }
        }
    }
}
