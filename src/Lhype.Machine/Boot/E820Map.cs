// The memory map a kernel is given (ACPI 6.5 section 15, INT 15h E820h): RAM as GuestRam lays it out, the
// hole below 1 MiB, and what the board has set aside. Called by BootParams and MultibootInfo.

using System;
using System.Collections.Generic;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Boot;

/// <summary>Kinds of memory in an E820 map.</summary>
public enum MemoryKind
{
    /// <summary>Free for the kernel.</summary>
    Ram = 1,
    /// <summary>Never to be used.</summary>
    Reserved = 2,
    /// <summary>ACPI tables, free once they are read.</summary>
    AcpiReclaimable = 3,
    /// <summary>ACPI memory that must be kept.</summary>
    AcpiNonVolatile = 4,
}

/// <summary>A range of guest-physical memory, in bytes.</summary>
public readonly record struct MemoryRange(ulong Start, ulong Length, MemoryKind Kind)
{
    /// <summary>First address after the range.</summary>
    public ulong End => Start + Length;
}

/// <summary>Makes the E820 map of a machine.</summary>
public static class E820Map
{
    /// <summary>The map, sorted and without overlaps: RAM of <paramref name="memory"/> minus the hole at 640
    /// KiB to 1 MiB and minus <paramref name="setAside"/>, whose ranges appear with their own
    /// kind.</summary>
    public static IReadOnlyList<MemoryRange> Make(GuestMemory memory, IReadOnlyList<MemoryRange> setAside)
    {
        const ulong reservedLength = BootLayout.ReservedEnd - BootLayout.ReservedStart;
        var map = new List<MemoryRange>
        {
            new(0, Math.Min(memory.LowSize, BootLayout.ReservedStart), MemoryKind.Ram),
            new(BootLayout.ReservedStart, reservedLength, MemoryKind.Reserved),
        };
        if (memory.LowSize > BootLayout.ReservedEnd)
        {
            ulong length = memory.LowSize - BootLayout.ReservedEnd;
            map.Add(new MemoryRange(BootLayout.ReservedEnd, length, MemoryKind.Ram));
        }

        if (memory.HighSize > 0)
        {
            map.Add(new MemoryRange(Lhype.Host.GuestRam.HighStart, memory.HighSize, MemoryKind.Ram));
        }

        foreach (MemoryRange range in setAside)
        {
            map = Carve(map, range);
        }

        map.Sort((a, b) => a.Start.CompareTo(b.Start));
        return map;
    }

    private static List<MemoryRange> Carve(List<MemoryRange> map, MemoryRange hole)
    {
        var result = new List<MemoryRange>();
        foreach (MemoryRange range in map)
        {
            if (range.End <= hole.Start || range.Start >= hole.End)
            {
                result.Add(range);
                continue;
            }

            if (range.Start < hole.Start)
            {
                result.Add(range with { Length = hole.Start - range.Start });
            }

            if (range.End > hole.End)
            {
                result.Add(range with { Start = hole.End, Length = range.End - hole.End });
            }
        }

        result.Add(hole);
        return result;
    }
}
