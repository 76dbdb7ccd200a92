// The user address space laid out in the host's own page tables: a hot user program runs with no check at
// all on its memory operands, which access gs:[linear address]. A page comes into the window when it is first
// touched (a host page fault, a guest page walk, an mmap: some microseconds) and leaves it when the guest
// invalidates its translation, so the window is a TLB without a capacity limit, and as true to the page
// tables as any TLB must be (SDM vol. 3, 4.10). It never shows what the TLBs would not: only RAM, only with
// user rights, writable only if dirty and free of translated code.
//
// That pays only for address spaces that stay: each page costs what some ten thousand accesses gain. So a
// space is promoted when it has used much CPU time since its translations were last flushed, and waits longer
// the next time if the window did not earn its cost. Used by TranslatorVcpu (policy, faults) and LinearMemory
// (invalidation).

using System;
using System.Runtime.InteropServices;
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
}

/// <summary>The window of one vCPU. Linear addresses are 32 bits.</summary>
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

    private struct Run
    {
        internal uint Linear;
        internal uint Pages;
        internal ulong Gpa;
        internal bool Writable;
    }

    private readonly CpuState* _state;
    private readonly GuestRam _ram;
    private readonly LinearMemory _memory;
    private readonly ulong* _mapped = (ulong*)NativeMemory.AllocZeroed(1 << 17);
    private readonly Run[] _runs = new Run[MaxRuns];
    private readonly bool _always;
    private AddressWindow? _host;
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
    }

    /// <summary>Called after each budget of user instructions that ran without a window or with it. True if
    /// the window was opened, so that the mode key must be computed again.</summary>
    internal bool CountUserTime()
    {
        _state->UserPolls++;
        if (_state->WindowActive != 0 || (_state->UserPolls < _threshold && !_always))
        {
            return false;
        }

        Open();
        return true;
    }

    /// <summary>The calling thread is about to run the guest: GS is the thread's, the window the
    /// vCPU's.</summary>
    internal void Enter() => _host?.LoadGs();

    /// <summary>True if <see cref="CountUserTime"/> need not be waited for.</summary>
    internal bool OpensAtOnce => _always && _state->WindowActive == 0;

    /// <summary>True if a host fault address belongs to the window.</summary>
    internal bool Contains(ulong hostAddress) => _host != null && _host.Contains(hostAddress);

    /// <summary>Handles a host page fault at <paramref name="hostAddress"/>.</summary>
    internal WindowFault Resolve(ulong hostAddress, bool write)
    {
        ulong linear = hostAddress - _host!.Base;
        if (linear > uint.MaxValue)
        {
            return Odd();
        }

        if (!PageWalk.TryTranslate(_state, _ram, linear, write ? AccessKind.Write : AccessKind.Read,
            user: true, out PageTranslation translation))
        {
            return WindowFault.GuestFault;
        }

        if (!IsShowable(translation, write))
        {
            return Odd();
        }

        if (translation.Large)
        {
            _memory.NoteLarge(linear);
        }

        if (_runCount == MaxRuns)
        {
            Empty();
        }

        linear &= ~4095UL;
        bool writable = IsWritable(translation);
        uint pages = 1;
        while (pages < MaxRunPages && Continues(linear, translation.PageGpa, pages, writable))
        {
            pages++;
        }

        if (!_host.TryMap(linear, translation.PageGpa, pages * 4096UL, writable))
        {
            Close();
            return WindowFault.Unmappable;
        }

        _runs[_runCount++] = new Run
        {
            Linear = (uint)linear,
            Pages = pages,
            Gpa = translation.PageGpa,
            Writable = writable,
        };
        for (uint i = 0; i < pages; i++)
        {
            Mark(((uint)linear >> 12) + i);
        }

        return WindowFault.Mapped;
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
        if (_state->WindowActive != 0)
        {
            TakeBack((uint)linear >> 12);
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
                TakeBack((run.Linear + (uint)offset) >> 12);
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _host?.Dispose();
        NativeMemory.Free(_mapped);
    }

    private void Open()
    {
        _host ??= new AddressWindow(_ram);
        _host.LoadGs();
        _state->WindowBase = _host.Base;
        _state->WindowActive = 1;
        _state->UserModeBits |= ModeKey.Window;
        _unmappable = 0;
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
    private bool Continues(ulong linear, ulong gpa, uint index, bool writable)
    {
        ulong next = linear + (index * 4096UL);
        return next <= uint.MaxValue && !IsMapped((uint)next >> 12)
            && PageWalk.TryTranslate(_state, _ram, next, AccessKind.Peek, user: true,
                out PageTranslation translation)
            && translation.PageGpa == gpa + (index * 4096UL) && _ram.IsRamPage(translation.PageGpa)
            && IsWritable(translation) == writable;
    }

    private void Empty()
    {
        if (_runCount == 0)
        {
            return;
        }

        _host!.Unmap(0, 1UL << 32);
        new Span<ulong>(_mapped, 1 << 14).Clear();
        _runCount = 0;
        _unmaps = 0;
    }

    private void TakeBack(uint page)
    {
        if (!IsMapped(page))
        {
            return;
        }

        _mapped[page >> 6] &= ~(1UL << (int)(page & 63));
        _host!.Unmap((ulong)page << 12, 4096);
        if (++_unmaps > MaxRuns)
        {
            Empty();
        }
    }

    private bool IsMapped(uint page) => (_mapped[page >> 6] >> (int)(page & 63) & 1) != 0;

    private void Mark(uint page) => _mapped[page >> 6] |= 1UL << (int)(page & 63);
}
