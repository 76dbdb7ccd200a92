// The page tables a guest of dialects A to D starts with. They lie in the guest's own RAM, right below its
// initial RAM disk, and are the guest's to reuse. Called by LguestHost.

using System;
using Lhype.Host;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Paravirt.Lguest;

/// <summary>Page tables made by the host.</summary>
internal static class LguestTables
{
    private const uint PageBytes = 4096;
    private const uint PresentWritableUser = 7;
    private const uint Present = 1;
    /// <summary>Bits that must be clear in a PAE top entry (SDM vol. 3, 4.4.1) and are set in any other table
    /// a kernel writes.</summary>
    private const uint NotInPointer = 0x1E6;

    /// <summary>Bytes that <see cref="Build"/> needs to map <paramref name="memoryTop"/> bytes.</summary>
    internal static uint BytesFor(uint memoryTop, bool extended) => extended
        ? ((memoryTop / (2 << 20)) + 6) * PageBytes
        : ((memoryTop / (4 << 20)) + 2) * PageBytes;

    /// <summary>Maps [0, <paramref name="memoryTop"/>) as <paramref name="paging"/> says, in tables that end
    /// at <paramref name="end"/>. Returns the address of the top table.</summary>
    internal static uint Build(GuestMemory memory, LguestEntryPaging paging, uint memoryTop, uint end,
        uint pageOffset, bool extended)
    {
        uint start = end - BytesFor(memoryTop, extended);
        Invariant.Check(memory.TryGetSpan(start, (int)(end - start), out Span<byte> area),
            "the room for page tables is not RAM");
        area.Clear();
        memory.Written(start, end - start);
        uint top = start;
        uint entryBytes = extended ? 8u : 4u;
        uint pagesPerTable = PageBytes / entryBytes;
        uint tables = start + PageBytes;
        if (extended)
        {
            // Four middle tables cover all 4 GiB.
            for (uint i = 0; i < 4; i++)
            {
                Write(memory, top + (i * 8), tables + (i * PageBytes) + Present);
            }

            tables += 4 * PageBytes;
        }

        uint directory = start + PageBytes;
        for (uint page = 0; page < memoryTop / PageBytes; page++)
        {
            uint table = tables + (page / pagesPerTable * PageBytes);
            Write(memory, table + (page % pagesPerTable * entryBytes),
                (page * PageBytes) | PresentWritableUser);
            if (page % pagesPerTable != 0)
            {
                continue;
            }

            // Both top levels are one array: of 1024 entries, or of 2048 in the four middle tables.
            uint index = page / pagesPerTable;
            uint firstKernel = pageOffset / PageBytes / pagesPerTable;
            uint levels = extended ? directory : top;
            if (paging != LguestEntryPaging.PageOffset)
            {
                Write(memory, levels + (index * entryBytes), table | PresentWritableUser);
            }

            if (paging != LguestEntryPaging.Identity && index + firstKernel < (extended ? 2048u : 1024u))
            {
                Write(memory, levels + ((index + firstKernel) * entryBytes), table | PresentWritableUser);
            }
        }

        return top;
    }

    /// <summary>True if the table at <paramref name="top"/> is a PAE one: four 8-byte entries below 4 GiB
    /// with
    /// nothing but their present bit.</summary>
    internal static bool LooksExtended(GuestMemory memory, uint top)
    {
        if ((top & (PageBytes - 1)) != 0)
        {
            return true;
        }

        bool any = false;
        for (uint i = 0; i < 4; i++)
        {
            if (!memory.TryReadUInt32(top + (i * 8), out uint low)
                || !memory.TryReadUInt32(top + (i * 8) + 4, out uint high)
                || high != 0 || (low != 0 && ((low & Present) == 0 || (low & NotInPointer) != 0)))
            {
                return false;
            }

            any |= low != 0;
        }

        return any;
    }

    private static void Write(GuestMemory memory, uint gpa, uint value) =>
        _ = memory.TryWriteUInt32(gpa, value);
}
