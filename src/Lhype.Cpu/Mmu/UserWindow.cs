// The user address space laid out in the host's own page tables: a hot user program runs with no check at
// all on its memory operands. 32-bit programs access gs:[linear address]. The 47 bits of a 64-bit program do
// not fit into the host's, so it has a few regions of 1 TiB: code, heap and stack of a process lie in three
// or four. CpuState.Regions says for each TiB how far its host addresses are away; one that has no region
// leads to addresses of the host's kernel, where every access faults and tells its linear address. Linear
// addresses of more than 47 bits run off the table's end into a page that faults too.
//
// A page comes into the window when it is first touched (a host page fault, a guest page walk, an mmap: some
// microseconds) and leaves it when the guest invalidates its translation, so the window is a TLB without a
// capacity limit, and as true to the page tables as any TLB must be (SDM vol. 3, 4.10). It never shows what
// the TLBs would not: only RAM, only with user rights, writable only if dirty and free of translated code.
//
// That pays only for address spaces that stay: each page costs what some ten thousand accesses gain. So a
// space is promoted when it has used much CPU time since its translations were last flushed, and waits
// longer the next time if the window did not earn its cost. Used by TranslatorVcpu (policy, faults) and
// LinearMemory (invalidation).

using System;
using Lhype.Host;

namespace Lhype.Cpu.Mmu;

/// <summary>What became of a fault in the window.</summary>
internal enum WindowFault
{
    /// <summary>The page is there now: run the instruction again.</summary>
    Mapped,
    /// <summary>The guest's page tables refuse the access: #PF is recorded.</summary>
    GuestFault,
    /// <summary>No page can be shown (MMIO, a store to translated code, a wrap at 4 GiB): run this one
    /// instruction through the TLBs.</summary>
    Unmappable,
    /// <summary>The address has a region now, so that its host address is another: run the instruction from
    /// its start.</summary>
    Moved,
}

/// <summary>The window of one vCPU.</summary>
internal sealed unsafe class UserWindow : IDisposable
{
    /// <summary>Mappings the host is asked for before the window starts over; Linux allows 65530 in a
    /// process.</summary>
    private const int MaxRuns = 16384;
    /// <summary>Most neighbours mapped with the page that faulted, if they are contiguous in RAM.</summary>
    private const int MaxRunPages = 64;
    /// <summary>Polls of user time (48 Ki instructions each) before a space is promoted.</summary>
    private const int FirstThreshold = 256;
    private const int LongestThreshold = 1 << 20;
    /// <summary>What a mapping costs to make and to drop, in polls of user time.</summary>
    private const int PollsPerRun = 2;
    /// <summary>Instructions run through the TLBs after which the space is no good for a window.</summary>
    private const int MaxUnmappable = 2000;

    /// <summary>Regions of 64-bit programs; with the randomization of Linux all their ordinary ones need
    /// five.</summary>
    private const int MaxRegions = 12;
    private const int RegionShift = CpuState.RegionShift;
    private const ulong RegionBytes = 1UL << RegionShift;
    /// <summary>Host minus linear address where there is no region.</summary>
    private const ulong Nowhere = 0xFFFF_8000_0000_0000;
    /// <summary>User addresses have 47 bits.</summary>
    private const ulong UserBytes = 1UL << 47;

    private struct Run
    {
        internal WindowRegion Region;
        internal ulong Linear;
        internal uint Pages;
        internal ulong Gpa;
        internal bool Writable;
    }

    private readonly CpuState* _state;
    private readonly GuestRam _ram;
    private readonly LinearMemory _memory;
    private readonly Run[] _runs = new Run[MaxRuns];
    private readonly bool _always;
    private readonly WindowRegion?[] _regions = new WindowRegion?[MaxRegions];
    private WindowRegion? _low;
    private bool _long;
    private int _used;
    private int _runCount;
    private int _unmaps;
    private int _unmappable;
    private int _threshold = FirstThreshold;

    /// <summary>With <paramref name="always"/> (tests) every user address space is promoted at
    /// once.</summary>
    internal UserWindow(CpuState* state, GuestRam ram, LinearMemory memory, bool always)
    {
        _state = state;
        _ram = ram;
        _memory = memory;
        _always = always;
        new Span<ulong>(_state->Regions, CpuState.RegionCount).Fill(Nowhere);
    }

    /// <summary>Called after each budget of user instructions that ran without a window or with it. True if
    /// the window was opened, so that the mode key must be computed again.</summary>
    internal bool CountUserTime()
    {
        _state->UserPolls++;
        return _state->WindowActive == 0 && (_state->UserPolls >= _threshold || _always) && TryOpen();
    }

    /// <summary>The calling thread is about to run the guest: GS is the thread's, the window the
    /// vCPU's.</summary>
    internal void Enter() => _low?.LoadGs();

    /// <summary>True if <see cref="CountUserTime"/> need not be waited for.</summary>
    internal bool OpensAtOnce => _always && _state->WindowActive == 0;

    /// <summary>True if a host fault address belongs to the window, or to what 64-bit code reaches instead of
    /// it.</summary>
    internal bool Contains(ulong hostAddress)
    {
        if (_state->WindowActive == 0)
        {
            return false;
        }

        return !_long ? _low!.ContainsHost(hostAddress)
            : hostAddress >= Nowhere || IsBehindTable(hostAddress) || RegionOfHost(hostAddress) != null;
    }

    /// <summary>Handles a host page fault at <paramref name="hostAddress"/>.</summary>
    internal WindowFault Resolve(ulong hostAddress, bool write)
    {
        WindowRegion? region = _long ? RegionOfHost(hostAddress) : _low;
        if (region == null)
        {
            // An operand may begin in the TiB beside that of its base register.
            return !IsBehindTable(hostAddress) && !HasRegion(hostAddress - Nowhere)
                && TryAddRegion(hostAddress - Nowhere) ? WindowFault.Moved : Odd();
        }

        ulong linear = hostAddress - region.Addend;
        if (!region.Contains(linear))
        {
            return Odd();
        }

        if (!PageWalk.TryTranslate(_state, _ram, linear, write ? AccessKind.Write : AccessKind.Read,
            user: true, out PageTranslation translation))
        {
            // In the last page the operand may reach what is not canonical, which comes before #PF.
            return _long && linear >= UserBytes - 4096 ? Odd() : WindowFault.GuestFault;
        }

        return IsShowable(translation, write) && TryShow(region, linear, translation)
            ? WindowFault.Mapped : Odd();
    }

    private bool TryShow(WindowRegion region, ulong linear, in PageTranslation translation)
    {
        if (translation.Large)
        {
            _memory.NoteLarge(linear);
        }

        if (translation.Huge)
        {
            _memory.NoteHuge(linear);
        }

        if (_runCount == MaxRuns)
        {
            Empty();
        }

        linear &= ~4095UL;
        bool writable = IsWritable(translation);
        uint pages = 1;
        while (pages < MaxRunPages && Continues(region, linear, translation.PageGpa, pages, writable))
        {
            pages++;
        }

        if (!region.TryShow(linear, translation.PageGpa, pages, writable))
        {
            Close();
            return false;
        }

        _runs[_runCount++] = new Run
        {
            Region = region,
            Linear = linear,
            Pages = pages,
            Gpa = translation.PageGpa,
            Writable = writable,
        };
        return true;
    }

    /// <summary>The guest forgot all its user translations: nothing may stay.</summary>
    internal void Flush()
    {
        if (_state->WindowActive != 0)
        {
            int cost = _runCount * PollsPerRun;
            _threshold = _state->UserPolls - _threshold > 4 * cost
                ? Math.Max(_threshold / 2, FirstThreshold)
                : Math.Min(_threshold * 2, LongestThreshold);
            Close();
        }

        _state->UserPolls = 0;
    }

    /// <summary>The guest invalidated one page.</summary>
    internal void FlushPage(ulong linear)
    {
        if (_state->WindowActive != 0 && RegionOf(linear) is { } region)
        {
            TakeBack(region, linear);
        }
    }

    /// <summary>A page of RAM is about to hold translated code: it may no longer be writable.</summary>
    internal void ProtectCode(ulong gpa)
    {
        for (int i = 0; i < _runCount; i++)
        {
            ref Run run = ref _runs[i];
            ulong offset = gpa - run.Gpa;
            if (run.Writable && offset < run.Pages * 4096UL)
            {
                TakeBack(run.Region, run.Linear + offset);
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _low?.Dispose();
        foreach (WindowRegion? region in _regions)
        {
            region?.Dispose();
        }
    }

    /// <summary>False: the host has no addresses to spare, and will not be asked again.</summary>
    private bool TryOpen()
    {
        _long = (_state->Efer & ControlBits.EferLongActive) != 0;
        if (_long ? !TryAddRegion(UserBytes - 1) : !TryOpenLow())
        {
            _threshold = int.MaxValue;
            return false;
        }

        _state->WindowActive = 1;
        _state->UserModeBits |= ModeKey.Window;
        _unmappable = 0;
        return true;
    }

    private bool TryOpenLow()
    {
        _low ??= WindowRegion.TryCreate(_ram, 1UL << 32, 0);
        if (_low == null)
        {
            return false;
        }

        _low.LoadGs();
        _state->WindowBase = _low.Addend;
        return true;
    }

    /// <summary>Host minus linear address around <paramref name="linear"/>, which is a constant for as long
    /// as the vCPU lives. False: there is nothing that a program could access, or no region is
    /// left.</summary>
    internal bool TryGetAddend(ulong linear, out ulong addend)
    {
        addend = linear < UserBytes ? _state->Regions[linear >> RegionShift] : Nowhere;
        if (addend == Nowhere
            && PageWalk.TryTranslate(_state, _ram, linear, AccessKind.Peek, user: true, out _)
            && TryAddRegion(linear))
        {
            addend = _state->Regions[linear >> RegionShift];
        }

        return addend != Nowhere;
    }

    /// <summary>Sees to it that the TiB around <paramref name="linear"/> has a region, which it keeps. False:
    /// there is none left, or no such user address.</summary>
    private bool TryAddRegion(ulong linear)
    {
        if (linear >= UserBytes)
        {
            return false;
        }

        ref ulong addend = ref _state->Regions[linear >> RegionShift];
        if (addend == Nowhere)
        {
            ulong first = linear & ~(RegionBytes - 1);
            if (_used == MaxRegions || WindowRegion.TryCreate(_ram, RegionBytes, first) is not { } region)
            {
                return false;
            }

            _regions[_used++] = region;
            addend = region.Addend;
        }

        return true;
    }

    private bool HasRegion(ulong linear) =>
        linear < UserBytes && _state->Regions[linear >> RegionShift] != Nowhere;

    private bool IsBehindTable(ulong hostAddress) =>
        hostAddress - ((ulong)_state + CpuState.SizeBytes) < CpuState.RegionGuardBytes;

    private WindowRegion? RegionOfHost(ulong hostAddress)
    {
        for (int i = 0; i < _used; i++)
        {
            if (_regions[i]!.ContainsHost(hostAddress))
            {
                return _regions[i];
            }
        }

        return null;
    }

    private WindowRegion? RegionOf(ulong linear)
    {
        if (!_long)
        {
            return _low;
        }

        for (int i = 0; i < _used; i++)
        {
            if (_regions[i]!.Contains(linear))
            {
                return _regions[i];
            }
        }

        return null;
    }

    private void Close()
    {
        Empty();
        _state->UserPolls = 0;
        if (!_always)
        {
            _state->WindowActive = 0;
            _state->UserModeBits &= ~ModeKey.Window;
        }
    }

    private WindowFault Odd()
    {
        if (++_unmappable > MaxUnmappable && !_always)
        {
            _threshold = LongestThreshold;
            Close();
        }

        return WindowFault.Unmappable;
    }

    private bool IsShowable(in PageTranslation translation, bool write) =>
        _ram.IsRamPage(translation.PageGpa) && !(write && _memory.HoldsCode(translation.PageGpa));

    private bool IsWritable(in PageTranslation translation) =>
        translation.WriteReady && !_memory.HoldsCode(translation.PageGpa);

    /// <summary>True if page number <paramref name="index"/> behind a page would look the same in one
    /// mapping, and the guest has used it: a CPU caches only translations whose A bit is set.</summary>
    private bool Continues(WindowRegion region, ulong linear, ulong gpa, uint index, bool writable)
    {
        ulong next = linear + (index * 4096UL);
        return region.Contains(next) && !region.IsShown(next)
            && PageWalk.TryTranslate(_state, _ram, next, AccessKind.Peek, user: true,
                out PageTranslation translation)
            && translation.PageGpa == gpa + (index * 4096UL) && _ram.IsRamPage(translation.PageGpa)
            && IsWritable(translation) == writable;
    }

    private void Empty()
    {
        for (int i = 0; i < _runCount; i++)
        {
            _runs[i].Region.Forget(_runs[i].Linear, _runs[i].Pages);
        }

        if (_runCount != 0 && !_long)
        {
            _low!.HideAll();
        }

        for (int i = 0; _runCount != 0 && i < _used; i++)
        {
            _regions[i]!.HideAll();
        }

        _runCount = 0;
        _unmaps = 0;
    }

    private void TakeBack(WindowRegion region, ulong linear)
    {
        if (!region.IsShown(linear))
        {
            return;
        }

        region.Hide(linear);
        if (++_unmaps > MaxRuns)
        {
            Empty();
        }
    }
}
