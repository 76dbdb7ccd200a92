// The guest kernel's map of memory: kernels see RAM in one piece at a fixed distance (Linux: lowmem), and
// most of what they access lies there. For addresses inside it emitted code needs no TLB: a load compares
// the address with the map's bounds, a store looks at one byte for its page, and the host address is a
// constant away. What lies outside goes to the TLBs, out of line.
//
// The map is a snapshot of *global* translations, as a TLB large enough would hold them all (SDM vol. 3,
// 4.10.2.4): a CR3 load need not drop it, and whatever invalidates one of its translations drops it whole.
// It is looked for again some time later. Used by TranslatorVcpu (when) and LinearMemory (invalidation).

using System;
using Lhype.Host;

namespace Lhype.Cpu.Mmu;

/// <summary>Why a store that begins in a linear page must not be made through the map. "Next": the page
/// behind it, into which the store may reach.</summary>
internal static class StoreBarrier
{
    /// <summary>Holds translated code.</summary>
    internal const byte Code = 1;
    internal const byte NextCode = 2;
    /// <summary>Not in the map, read-only or not dirty.</summary>
    internal const byte NotReady = 4;
    internal const byte NextNotReady = 8;
}

/// <summary>The map of one vCPU.</summary>
internal sealed unsafe class LinearMap
{
    /// <summary>The map leaves out the first MiB, which has holes.</summary>
    private const ulong FirstGpa = 1 << 20;
    /// <summary>Pieces that are looked at as a whole when they are part of a large page.</summary>
    private const ulong PieceBytes = 1 << 21;
    private const ulong MinimumBytes = 8 << 20;
    /// <summary>A load must not reach over the end.</summary>
    private const uint Margin = 4096;
    /// <summary>Budgets between a drop and the next attempt; doubled when a map did not last. Kernels change
    /// their map now and then (loading a module does it several times), and looking for it again costs about
    /// as much as ten budgets.</summary>
    private const int FirstWait = 4;
    private const int LongestWait = 128;
    /// <summary>The same when there was none to be found.</summary>
    private const int LongestSearch = 4096;
    private const int Pages = 1 << 20;

    private readonly CpuState* _state;
    private readonly GuestRam _ram;
    private readonly LinearMemory _memory;
    private readonly byte* _barriers;
    private readonly uint? _always;
    private ulong _start;
    private ulong _length;
    private int _wait = FirstWait;
    private int _polls;

    internal LinearMap(CpuState* state, GuestRam ram, LinearMemory memory, uint? always)
    {
        _state = state;
        _ram = ram;
        _memory = memory;
        _always = always;
        _barriers = (byte*)state + CpuState.Offset.StoreBarriers;
        new Span<byte>(_barriers, Pages).Fill(StoreBarrier.NotReady);
    }

    /// <summary>Where the map begins. Emitted code contains it, so that all of it must go when this
    /// changes.</summary>
    internal uint Start { get; private set; }

    /// <summary>Called after each budget of instructions that ended in code at CPL 0 with paging. True if a
    /// map was found, so that the mode key must be computed again.</summary>
    internal bool CountKernelTime()
    {
        _polls++;
        if (_length != 0 || (_polls < _wait && _always == null))
        {
            return false;
        }

        _polls = 0;
        bool found = Find();
        if (!found)
        {
            _wait = Math.Min(_wait * 2, LongestSearch);
        }

        return found;
    }

    /// <summary>True if <see cref="CountKernelTime"/> need not be waited for.</summary>
    internal bool OpensAtOnce => _always != null && _length == 0;

    /// <summary>Every translation is forgotten.</summary>
    internal void Drop()
    {
        if (_length == 0)
        {
            return;
        }

        _wait = _polls < 16 * _wait ? Math.Min(_wait * 2, LongestWait) : Math.Max(_wait / 2, FirstWait);
        _polls = 0;
        BarAll(_start, _length);
        _length = 0;
        _state->LinearMapLimit = 0;
    }

    /// <summary>The page at <paramref name="gpa"/> holds translated code from now on.</summary>
    internal void Protect(ulong gpa)
    {
        if (TryGetPage(gpa, out byte* barrier))
        {
            *barrier |= StoreBarrier.Code;
            *(barrier - 1) |= StoreBarrier.NextCode;
        }
    }

    /// <summary>The page at <paramref name="gpa"/> holds no translated code any more.</summary>
    internal void Unprotect(ulong gpa)
    {
        if (TryGetPage(gpa, out byte* barrier))
        {
            *barrier &= unchecked((byte)~StoreBarrier.Code);
            *(barrier - 1) &= unchecked((byte)~StoreBarrier.NextCode);
        }
    }

    private bool TryGetPage(ulong gpa, out byte* barrier)
    {
        ulong offset = gpa - FirstGpa;
        barrier = _barriers + ((_start + offset) >> 12);
        return offset < _length;
    }

    private bool Find()
    {
        const ulong needed = ControlBits.Cr0Paging | ControlBits.Cr0Protection;
        if ((_state->Cr0 & needed) != needed || _state->GlobalBit == 0
            || _memory.LargePageMet != null
            || (_state->Efer & ControlBits.EferLongActive) != 0)
        {
            return false;
        }

        // Most often it is where it was.
        return (Start != 0 && TryEnter(Start)) || (TryGuessStart(out ulong start) && TryEnter(start));
    }

    private bool TryEnter(ulong start)
    {
        ulong length = Enter(start);
        if (length < (_always == null ? MinimumBytes : 2 * Margin))
        {
            BarAll(start, length);
            return false;
        }

        _start = start;
        _length = length;
        Start = (uint)start;
        // The page behind the end is not in the map.
        _barriers[((start + length) >> 12) - 1] |= StoreBarrier.NextNotReady;
        _state->LinearMapLimit = (uint)length - Margin;
        _state->LinearMapDelta = (ulong)_ram.Base + FirstGpa - start;
        _state->SupervisorModeBits |= ModeKey.LinearMap;
        return true;
    }

    private void BarAll(ulong start, ulong length) =>
        new Span<byte>(_barriers + (start >> 12) - 1, (int)(length >> 12) + 1).Fill(StoreBarrier.NotReady);

    /// <summary>The distance between linear and guest-physical addresses that most supervisor stores in the
    /// TLB have in common (the majority vote of Boyer and Moore), as the linear address of the map's
    /// start.</summary>
    private bool TryGuessStart(out ulong start)
    {
        if (_always is { } given)
        {
            start = given;
            return true;
        }

        TlbEntry* entries = CpuState.DataTlb(_state, user: false, write: true);
        ulong candidate = 0;
        int votes = 0;
        for (int i = 0; i < CpuState.TlbEntries; i++)
        {
            if (entries[i].Tag == ulong.MaxValue)
            {
                continue;
            }

            candidate = votes == 0 ? entries[i].Addend : candidate;
            votes += entries[i].Addend == candidate ? 1 : -1;
        }

        // host = linear + addend = RAM + gpa
        start = (ulong)_ram.Base - candidate + FirstGpa;
        return votes > 0 && start <= uint.MaxValue && start >= FirstGpa;
    }

    /// <summary>Sets the bytes of all pages from <paramref name="start"/> on that are one piece of RAM;
    /// returns its length.</summary>
    private ulong Enter(ulong start)
    {
        ulong end = Math.Min(_ram.LowSize - FirstGpa, (1UL << 32) - start);
        ulong at = 0;
        while (at < end && TryLook(start + at, FirstGpa + at, out PageTranslation translation))
        {
            _memory.NoteLarge(start + at);
            ulong next = Math.Min(at + Step(start + at, translation), end);
            for (; at < next; at += 4096)
            {
                Bar(start + at, FirstGpa + at, translation.WriteReady);
            }
        }

        return at;
    }

    private ulong Step(ulong linear, in PageTranslation translation) =>
        translation.Large ? PieceBytes - (linear & (PieceBytes - 1)) : 4096;

    /// <summary>True if the page at <paramref name="linear"/> is a supervisor's alone, global, and shows
    /// <paramref name="gpa"/>; without any effect the guest could see.</summary>
    private bool TryLook(ulong linear, ulong gpa, out PageTranslation translation) =>
        PageWalk.TryTranslate(_state, _ram, linear, AccessKind.Peek, user: false, out translation)
        && translation.Global && translation.PageGpa == gpa && _ram.IsRamPage(gpa)
        && !PageWalk.TryTranslate(_state, _ram, linear, AccessKind.Peek, user: true, out _);

    /// <summary>Sets the byte of one page, and what the byte before it says of the next.</summary>
    private void Bar(ulong linear, ulong gpa, bool ready)
    {
        byte* barrier = _barriers + (linear >> 12);
        bool code = _memory.HoldsCode(gpa);
        *barrier = (byte)((code ? StoreBarrier.Code : 0) | (ready ? 0 : StoreBarrier.NotReady));
        *(barrier - 1) |=
            (byte)((code ? StoreBarrier.NextCode : 0) | (ready ? 0 : StoreBarrier.NextNotReady));
    }
}
