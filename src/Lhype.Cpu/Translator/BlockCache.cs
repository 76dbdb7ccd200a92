// The bookkeeping of translated code: which guest-physical bytes each block came from, where its entry point
// is, which jumps lead to it, and which guest instruction each host address belongs to. Nothing here is per
// linear address: a block is found through the (guest-physical page, mode) it was translated for, so it
// survives exec, fork and randomised layouts. When code memory is full, everything is dropped at once and
// translated again as needed.

using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using Lhype.Cpu.Mmu;
using Lhype.Host;

namespace Lhype.Cpu.Translator;

/// <summary>One guest-physical page translated in one mode: 4096 entry points, as code offsets (0 =
/// none).</summary>
internal sealed unsafe class CodePage
{
    internal CodePage(ulong gpa, uint modeKey)
    {
        Gpa = gpa;
        ModeKey = modeKey;
        Table = (int*)NativeMemory.AllocZeroed(4096 * sizeof(int));
    }

    internal ulong Gpa { get; }
    internal uint ModeKey { get; }
    internal int* Table { get; }
    /// <summary>Stamps of the linear pages this has been mapped at (see CodeTlbEntry.Stamp).</summary>
    internal Dictionary<ulong, uint> Stamps { get; } = [];
    /// <summary>The linear page seen last and its stamp (0: none yet).</summary>
    internal ulong LastLinear { get; set; }
    internal uint LastStamp { get; set; }
}

/// <summary>What is known of one block. Offsets are into code memory. A block has three entries, one behind
/// the other: for indirect jumps, which checks that the jump means this block (see <see cref="JumpCache"/>);
/// for jumps that may close a loop, which looks at the budget; and for forward jumps inside the page, of
/// which no loop can be made.</summary>
internal struct Block
{
    internal CodePage Page;
    internal int Start;
    internal int CheckedEntry;
    internal int ForwardEntry;
    internal int End;
    /// <summary>Offset of the first guest byte in the page.</summary>
    internal int GuestOffset;
    /// <summary>Guest bytes; may reach into the next page if <see cref="SecondGpa"/> is set.</summary>
    internal int GuestLength;
    /// <summary>Guest-physical address of the next page for a page-crossing instruction, or
    /// ulong.MaxValue.</summary>
    internal ulong SecondGpa;
    internal int FirstMap;
    internal int MapCount;
    /// <summary>Head of the list of links that jump here, or -1.</summary>
    internal int IncomingLinks;
    /// <summary>True if the block may read flags it has not set.</summary>
    internal bool FlagsLiveIn;
    internal bool Valid;
    /// <summary>Next block that covers bytes of the same guest-physical page, or -1; one chain for each of
    /// the two pages a block can touch.</summary>
    internal int NextInPage;
    internal int NextInSecondPage;
}

/// <summary>A direct jump out of a block.</summary>
internal struct Link
{
    /// <summary>Offset of the rel32 that is patched.</summary>
    internal int Patch;
    /// <summary>Where it leads while unlinked.</summary>
    internal int Stub;
    /// <summary>Target minus the linear address of the block's page.</summary>
    internal int TargetOffset;
    /// <summary>The target lies behind the jump in the same page.</summary>
    internal bool Forward;
    /// <summary>The target is the translation without stack groups.</summary>
    internal bool Ungrouped;
    /// <summary>Next link into the same target block, or -1.</summary>
    internal int NextIncoming;
    /// <summary>Times it was linked again after a mismatch; a link that keeps changing stays a
    /// look-up.</summary>
    internal bool Linked;
}

/// <summary>Maps a host address to the guest instruction it belongs to.</summary>
internal struct MapEntry
{
    internal int HostOffset;
    internal ushort GuestOffset;
    /// <summary>Index of the instruction in its block.</summary>
    internal byte Index;
    /// <summary>Instructions from this one on that the budget has been charged for already.</summary>
    internal byte Charged;
    /// <summary>True if the guest's flags are parked in r11 while this code runs.</summary>
    internal bool FlagsParked;
}

/// <summary>All blocks of one vCPU.</summary>
internal sealed unsafe class BlockCache : ICodeWatcher
{
    /// <summary>Code pages kept; each costs 16 KiB, and a hostile guest could ask for one per page and
    /// mode.</summary>
    private const int MaxPages = 16384;

    private const int RecentPages = 4096;

    /// <summary>Linear pages remembered for one code page. A guest that maps it at more places starts over;
    /// jumps specialised on a forgotten place become look-ups.</summary>
    private const int MaxStamps = 256;

    private readonly LinearMemory _memory;
    private readonly Emitter _emitter;
    /// <summary>The pages found last, by the low bits of page number and mode, in front of
    /// <see cref="_pages"/>.</summary>
    private readonly CodePage?[] _recent = new CodePage?[RecentPages];
    private readonly Dictionary<ulong, CodePage> _pages = [];
    private readonly Dictionary<ulong, PageBlocks> _byGpa = [];
    /// <summary>How many stores beside its code a page is allowed; <see cref="FirstPatience"/> for the pages
    /// that are not here.</summary>
    private readonly Dictionary<ulong, int> _patience = [];
    private Block[] _blocks = new Block[16384];
    private Link[] _links = new Link[32768];
    private MapEntry[] _maps = new MapEntry[131072];
    private uint _nextStamp = 1;

    private const int FirstPatience = 32;

    private sealed class PageBlocks
    {
        internal int First = -1;
        /// <summary>One bit for each 64 bytes of the page that hold translated code.</summary>
        internal ulong Granules;
        /// <summary>Stores to the page that met no translated code.</summary>
        internal int Misses;
    }

    internal BlockCache(LinearMemory memory, Emitter emitter)
    {
        _memory = memory;
        _emitter = emitter;
        memory.Watcher = this;
    }

    /// <summary>True while another code page and another stamp can be had.</summary>
    internal bool HasRoom => _pages.Count < MaxPages - 1 && _nextStamp < uint.MaxValue - 2;

    internal int BlockCount { get; private set; }
    internal int LinkCount { get; private set; }
    internal int MapCount { get; private set; }
    internal ulong Invalidated { get; private set; }

    internal ref Block BlockAt(int index) => ref _blocks[index];

    internal ref Link LinkAt(int index) => ref _links[index];

    internal ReadOnlySpan<MapEntry> MapOf(in Block block) => _maps.AsSpan(block.FirstMap, block.MapCount);

    internal CodePage PageFor(ulong gpa, uint modeKey)
    {
        ref CodePage? recent = ref _recent[(int)((gpa >> 12) ^ (modeKey << 4)) & (RecentPages - 1)];
        if (recent != null && recent.Gpa == gpa && recent.ModeKey == modeKey)
        {
            return recent;
        }

        ulong key = gpa | modeKey;
        if (!_pages.TryGetValue(key, out CodePage? page))
        {
            page = new CodePage(gpa, modeKey);
            _pages.Add(key, page);
        }

        recent = page;
        return page;
    }

    /// <summary>The number that stands for "this code page seen at this linear page in its mode".</summary>
    internal uint StampFor(CodePage page, ulong linearPage)
    {
        if (page.LastLinear == linearPage && page.LastStamp != 0)
        {
            return page.LastStamp;
        }

        if (!page.Stamps.TryGetValue(linearPage, out uint stamp))
        {
            if (page.Stamps.Count == MaxStamps)
            {
                page.Stamps.Clear();
            }

            stamp = _nextStamp++;
            page.Stamps.Add(linearPage, stamp);
        }

        page.LastLinear = linearPage;
        page.LastStamp = stamp;

        return stamp;
    }

    internal int AddLink(int patch, int stub, int targetOffset, bool forward, bool ungrouped)
    {
        if (LinkCount == _links.Length)
        {
            Array.Resize(ref _links, _links.Length * 2);
        }

        _links[LinkCount] =
            new Link
            {
                Patch = patch,
                Stub = stub,
                TargetOffset = targetOffset,
                Forward = forward,
                Ungrouped = ungrouped,
                NextIncoming = -1,
            };
        return LinkCount++;
    }

    internal void AddMap(int hostOffset, int guestOffset, int index, int charged, bool flagsParked)
    {
        if (MapCount == _maps.Length)
        {
            Array.Resize(ref _maps, _maps.Length * 2);
        }

        _maps[MapCount++] = new MapEntry
        {
            HostOffset = hostOffset,
            GuestOffset = (ushort)guestOffset,
            Index = (byte)index,
            Charged = (byte)charged,
            FlagsParked = flagsParked,
        };
    }

    /// <summary>Enters a finished block: its bytes are watched from now on and its entry point can be
    /// found.</summary>
    internal int AddBlock(in Block block)
    {
        if (BlockCount == _blocks.Length)
        {
            Array.Resize(ref _blocks, _blocks.Length * 2);
        }

        int index = BlockCount++;
        ref Block added = ref _blocks[index];
        added = block;
        added.Valid = true;
        added.IncomingLinks = -1;
        int inFirst = Math.Min(block.GuestLength, 4096 - block.GuestOffset);
        added.NextInPage = Watch(block.Page.Gpa, block.GuestOffset, inFirst, index);
        added.NextInSecondPage = block.SecondGpa == ulong.MaxValue
            ? -1
            : Watch(block.SecondGpa, 0, block.GuestLength - inFirst, index);
        block.Page.Table[block.GuestOffset] = block.CheckedEntry;
        return index;
    }

    /// <summary>The block whose host code contains <paramref name="offset"/>, or -1.</summary>
    internal int FindByHost(int offset)
    {
        int low = 0;
        int high = BlockCount - 1;
        while (low <= high)
        {
            int middle = (low + high) >> 1;
            ref Block block = ref _blocks[middle];
            if (offset < block.Start)
            {
                high = middle - 1;
            }
            else if (offset >= block.End)
            {
                low = middle + 1;
            }
            else
            {
                return middle;
            }
        }

        return -1;
    }

    /// <summary>The map entry for the host address <paramref name="offset"/> inside
    /// <paramref name="block"/>.</summary>
    internal MapEntry FindInstruction(in Block block, int offset)
    {
        ReadOnlySpan<MapEntry> map = MapOf(block);
        MapEntry found = map[0];
        foreach (ref readonly MapEntry entry in map)
        {
            if (entry.HostOffset > offset)
            {
                break;
            }

            found = entry;
        }

        return found;
    }

    /// <summary>Offset of the host code of the guest instruction that <paramref name="entry"/> belongs
    /// to.</summary>
    internal int StartOfInstruction(in Block block, in MapEntry entry)
    {
        foreach (ref readonly MapEntry first in MapOf(block))
        {
            if (first.Index == entry.Index)
            {
                return first.HostOffset;
            }
        }

        return block.Start;
    }

    /// <summary>Records that link <paramref name="linkIndex"/> now leads to block
    /// <paramref name="target"/>.</summary>
    internal void AddIncoming(int target, int linkIndex)
    {
        ref Block block = ref _blocks[target];
        _links[linkIndex].NextIncoming = block.IncomingLinks;
        _links[linkIndex].Linked = true;
        block.IncomingLinks = linkIndex;
    }

    /// <inheritdoc/>
    public bool CodeWritten(ulong gpa, int length)
    {
        ulong pageGpa = gpa & ~4095UL;
        if (!_byGpa.TryGetValue(pageGpa, out PageBlocks? page))
        {
            return false;
        }

        int first = (int)(gpa & 4095);
        int last = first + length - 1;
        ulong touched = (ulong.MaxValue << (first >> 6)) & (ulong.MaxValue >> (63 - (last >> 6)));
        if ((page.Granules & touched) == 0)
        {
            if (!LosesPatience(page, pageGpa))
            {
                return false;
            }

            first = 0;
            last = 4095;
        }

        bool dropped = false;
        ulong granules = 0;
        int previous = -1;
        int index = page.First;
        while (index >= 0)
        {
            ref Block block = ref _blocks[index];
            bool second = block.Page.Gpa != pageGpa;
            int next = second ? block.NextInSecondPage : block.NextInPage;
            int start = second ? 0 : block.GuestOffset;
            int end = second ? block.GuestLength - (4096 - block.GuestOffset)
                : block.GuestOffset + block.GuestLength;
            bool bothParts = !second && block.SecondGpa == pageGpa;
            bool hit = (start <= last && end > first) || bothParts;
            if (block.Valid && hit)
            {
                Drop(index);
                dropped = true;
            }

            if (block.Valid)
            {
                granules |= GranulesOf(start, Math.Min(end, 4096));
                previous = index;
            }
            else
            {
                Unchain(page, pageGpa, previous, next);
            }

            index = next;
        }

        page.Granules = granules;
        if (granules == 0)
        {
            _byGpa.Remove(pageGpa);
            _memory.UnmarkCode(pageGpa);
        }

        return dropped;
    }

    /// <summary>True if the page has become data: code that has had its day (a kernel's initialisation) must
    /// not make every store to its page slow. Where code and data live side by side, translating again costs
    /// more than the stores, so a page that was given up once gets more patience.</summary>
    private bool LosesPatience(PageBlocks page, ulong gpa)
    {
        if (!_patience.TryGetValue(gpa, out int patience))
        {
            patience = FirstPatience;
        }

        if (++page.Misses <= patience)
        {
            return false;
        }

        _patience[gpa] = Math.Min(patience * 8, 1 << 24);
        return true;
    }

    /// <summary>Makes a block unreachable: no entry point, and every jump to it goes back to its stub. Its
    /// code stays in place, because it may be running right now.</summary>
    internal void Drop(int index)
    {
        ref Block block = ref _blocks[index];
        block.Valid = false;
        Invalidated++;
        if (block.Page.Table[block.GuestOffset] == block.CheckedEntry)
        {
            block.Page.Table[block.GuestOffset] = 0;
        }

        _memory.ForgetReturns();

        // Jump cache entries may still lead here: offset 0 of code memory is the miss.
        _emitter.OverwriteWithJump(block.Start, target: 0);

        for (int link = block.IncomingLinks; link >= 0;)
        {
            ref Link incoming = ref _links[link];
            _emitter.Patch(incoming.Patch, incoming.Stub);
            incoming.Linked = false;
            link = incoming.NextIncoming;
        }

        block.IncomingLinks = -1;
    }

    /// <summary>Forgets everything; code memory from the thunks on is free again.</summary>
    internal void Clear()
    {
        _memory.DropCodeEntries();
        foreach (ulong gpa in _byGpa.Keys)
        {
            _memory.UnmarkCode(gpa);
        }

        _byGpa.Clear();
        _patience.Clear();
        foreach (CodePage page in _pages.Values)
        {
            NativeMemory.Free(page.Table);
        }

        _pages.Clear();
        Array.Clear(_recent);
        _nextStamp = 1;
        Array.Clear(_blocks, 0, BlockCount);
        BlockCount = 0;
        LinkCount = 0;
        MapCount = 0;
    }

    private static ulong GranulesOf(int start, int end)
    {
        Invariant.Check(start >= 0 && end > start && end <= 4096, "block outside its page");
        return (ulong.MaxValue << (start >> 6)) & (ulong.MaxValue >> (63 - ((end - 1) >> 6)));
    }

    private int Watch(ulong gpa, int start, int length, int index)
    {
        if (!_byGpa.TryGetValue(gpa, out PageBlocks? page))
        {
            page = new PageBlocks();
            _byGpa.Add(gpa, page);
            _memory.MarkCode(gpa);
        }

        page.Granules |= GranulesOf(start, start + length);
        int next = page.First;
        page.First = index;
        return next;
    }

    private void Unchain(PageBlocks page, ulong pageGpa, int previous, int next)
    {
        if (previous < 0)
        {
            page.First = next;
        }
        else if (_blocks[previous].Page.Gpa == pageGpa)
        {
            _blocks[previous].NextInPage = next;
        }
        else
        {
            _blocks[previous].NextInSecondPage = next;
        }
    }
}
