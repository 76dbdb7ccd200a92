// Reads an ELF executable's loadable segments (System V ABI, chapters 4 and 5). A vmlinux, the ELF inside a
// bzImage and most multiboot kernels come this way. Called by KernelImage and MultibootHeader.

using System;
using System.Collections.Generic;
using Lhype.Host;

namespace Lhype.Machine.Boot;

/// <summary>One piece of a kernel: <paramref name="Data"/> at guest-physical <paramref name="Physical"/>,
/// zeroes up to <paramref name="MemorySize"/> bytes. <paramref name="Virtual"/> is the address it was linked
/// for.</summary>
public readonly record struct KernelSegment(
    ulong Physical, ulong Virtual, ReadOnlyMemory<byte> Data, ulong MemorySize)
{
    /// <summary>First guest-physical address after the segment.</summary>
    public ulong End => Physical + MemorySize;
}

/// <summary>What the loader needs of an ELF file.</summary>
internal sealed class ElfImage
{
    /// <summary>0x7F "ELF", little-endian.</summary>
    public const uint Magic = 0x464C_457F;

    private const ushort Machine386 = 3;
    private const ushort Machine486 = 6;
    private const ushort MachineX8664 = 62;
    private const uint ProgramLoad = 1;
    private const uint ProgramInterpreter = 3;
    private const uint ProgramNote = 4;
    private const int MaxProgramHeaders = 128;
    private const ulong MaxSegmentBytes = 1UL << 30;

    private ElfImage(int bits, ulong entry, List<KernelSegment> segments, ulong? pvhEntry)
    {
        Bits = bits;
        Entry = entry;
        Segments = segments;
        PvhEntry = pvhEntry;
    }

    /// <summary>32 or 64, from the file class.</summary>
    public int Bits { get; }

    /// <summary>e_entry as it stands in the file.</summary>
    public ulong Entry { get; }

    /// <summary>The PT_LOAD segments that occupy memory, in file order.</summary>
    public IReadOnlyList<KernelSegment> Segments { get; }

    /// <summary>The physical address the note XEN_ELFNOTE_PHYS32_ENTRY states; null without one.</summary>
    public ulong? PvhEntry { get; }

    /// <summary>True if <paramref name="bytes"/> start like an ELF file.</summary>
    public static bool Matches(ReadOnlySpan<byte> bytes) =>
        bytes.Length >= 4 && bytes[0] == 0x7F && bytes[1] == 'E' && bytes[2] == 'L' && bytes[3] == 'F';

    /// <summary>Parses <paramref name="bytes"/>; throws LhypeException naming
    /// <paramref name="name"/>.</summary>
    public static ElfImage Parse(ReadOnlyMemory<byte> bytes, string name)
    {
        var reader = new ImageReader(bytes.Span, name);
        int fileClass = reader.Byte(4);
        ushort machine = reader.UInt16(18);
        if (fileClass is not (1 or 2) || reader.Byte(5) != 1
            || machine is not (Machine386 or Machine486 or MachineX8664))
        {
            throw new LhypeException(
                $"The kernel {name} is an ELF file for {MachineName(machine)}; Lhype runs x86 kernels only.");
        }

        ushort type = reader.UInt16(16);
        if (type is not (2 or 3))
        {
            throw new LhypeException(
                $"The kernel {name} is an ELF file of type {type} (object or core), not an executable.");
        }

        bool wide = fileClass == 2;
        ulong entry = wide ? reader.UInt64(24) : reader.UInt32(24);
        List<KernelSegment> segments = ReadSegments(reader, bytes, wide, name, out ulong? pvhEntry);
        if (segments.Count == 0)
        {
            throw new LhypeException(
                $"The kernel {name} is an ELF file without loadable segments, so not a kernel.");
        }

        if (pvhEntry is { } pvh && !segments.Exists(s => pvh >= s.Physical && pvh < s.End))
        {
            throw new LhypeException(
                $"The kernel {name} is damaged: its PVH entry point 0x{pvh:x} lies in none of its segments.");
        }

        return new ElfImage(wide || machine == MachineX8664 ? 64 : 32, entry, segments, pvhEntry);
    }

    /// <summary>The guest-physical address of <see cref="Entry"/>. Linux states a physical entry, other
    /// kernels often the virtual one, which <paramref name="preferVirtual"/> tries first.</summary>
    public ulong PhysicalEntry(bool preferVirtual, string name)
    {
        for (int pass = 0; pass < 2; pass++)
        {
            bool asVirtual = (pass == 0) == preferVirtual;
            foreach (KernelSegment segment in Segments)
            {
                ulong start = asVirtual ? segment.Virtual : segment.Physical;
                if (Entry >= start && Entry - start < segment.MemorySize)
                {
                    return segment.Physical + (Entry - start);
                }
            }
        }

        throw new LhypeException(
            $"The kernel {name} is damaged: its entry point 0x{Entry:x} lies in none of its segments.");
    }

    private static List<KernelSegment> ReadSegments(ImageReader reader, ReadOnlyMemory<byte> bytes, bool wide,
        string name, out ulong? pvhEntry)
    {
        pvhEntry = null;
        ulong table = wide ? reader.UInt64(32) : reader.UInt32(28);
        int entrySize = reader.UInt16(wide ? 54u : 42u);
        int count = reader.UInt16(wide ? 56u : 44u);
        if (count > MaxProgramHeaders || (count != 0 && entrySize != (wide ? 56 : 32))
            || table > (ulong)bytes.Length)
        {
            throw new LhypeException(
                $"The kernel {name} is damaged: its ELF program header table makes no sense.");
        }

        var segments = new List<KernelSegment>();
        for (int i = 0; i < count; i++)
        {
            ulong at = table + ((ulong)i * (ulong)entrySize);
            uint type = reader.UInt32(at);
            if (type == ProgramInterpreter)
            {
                throw new LhypeException(
                    $"The kernel {name} is a program, not a kernel: it asks for a dynamic linker.");
            }

            ulong memorySize = wide ? reader.UInt64(at + 40) : reader.UInt32(at + 20);
            if (type == ProgramNote)
            {
                ulong start = wide ? reader.UInt64(at + 8) : reader.UInt32(at + 4);
                ulong size = wide ? reader.UInt64(at + 32) : reader.UInt32(at + 16);
                pvhEntry ??= PvhNote.Find(reader.Slice(start, size));
            }

            if (type != ProgramLoad || memorySize == 0)
            {
                continue;
            }

            ulong offset = wide ? reader.UInt64(at + 8) : reader.UInt32(at + 4);
            ulong linked = wide ? reader.UInt64(at + 16) : reader.UInt32(at + 8);
            ulong physical = wide ? reader.UInt64(at + 24) : reader.UInt32(at + 12);
            ulong fileSize = wide ? reader.UInt64(at + 32) : reader.UInt32(at + 16);
            if (fileSize > memorySize || memorySize > MaxSegmentBytes
                || physical > ulong.MaxValue - memorySize)
            {
                throw new LhypeException(
                    $"The kernel {name} is damaged: the sizes of ELF segment {i} make no sense.");
            }

            int length = reader.Slice(offset, fileSize).Length;
            ReadOnlyMemory<byte> data = bytes.Slice(length == 0 ? 0 : (int)offset, length);
            segments.Add(new KernelSegment(physical, linked, data, memorySize));
        }

        return segments;
    }

    private static string MachineName(ushort machine) => machine switch
    {
        Machine386 or Machine486 or MachineX8664 => "an x86 of unknown class or byte order",
        2 or 18 or 43 => "SPARC",
        4 => "the 68000",
        8 => "MIPS",
        20 or 21 => "PowerPC",
        22 => "s390",
        40 => "ARM",
        50 => "Itanium",
        183 => "AArch64",
        243 => "RISC-V",
        258 => "LoongArch",
        _ => $"machine number {machine}",
    };
}
