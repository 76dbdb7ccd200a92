// The multiboot 1 header (Multiboot Specification 0.6.96, section 3.1): how GNU Mach and most teaching
// kernels ask to be loaded. Called by KernelImage; MultibootInfo makes what the kernel is told.

using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using Lhype.Host;

namespace Lhype.Machine.Boot;

/// <summary>A multiboot 1 header found in a kernel.</summary>
internal sealed class MultibootHeader
{
    private const uint Magic = 0x1BAD_B002;
    private const int SearchBytes = 8192;
    private const uint FlagAddresses = 1u << 16;
    private const uint KnownRequirements = 0x7;

    private MultibootHeader(int offset, uint flags)
    {
        Offset = offset;
        Flags = flags;
    }

    /// <summary>Where in the file the header lies.</summary>
    public int Offset { get; }

    /// <summary>Bit 0: modules page-aligned; bit 1: memory map wanted; bit 2: video mode wanted; bit 16:
    /// addresses in the header.</summary>
    public uint Flags { get; }

    /// <summary>Finds the header: 4-byte aligned, within the first 8 KiB, checksum right. Null:
    /// none.</summary>
    public static MultibootHeader? Find(ReadOnlySpan<byte> bytes)
    {
        for (int offset = 0; offset <= Math.Min(SearchBytes, bytes.Length) - 12; offset += 4)
        {
            if (BinaryPrimitives.ReadUInt32LittleEndian(bytes[offset..]) == Magic)
            {
                uint flags = BinaryPrimitives.ReadUInt32LittleEndian(bytes[(offset + 4)..]);
                uint checksum = BinaryPrimitives.ReadUInt32LittleEndian(bytes[(offset + 8)..]);
                if (unchecked(Magic + flags + checksum) == 0)
                {
                    return new MultibootHeader(offset, flags);
                }
            }
        }

        return null;
    }

    /// <summary>The segments and the physical entry point. Throws LhypeException naming
    /// <paramref name="name"/>.</summary>
    public (IReadOnlyList<KernelSegment> Segments, ulong Entry) Resolve(
        ReadOnlyMemory<byte> bytes, string name)
    {
        if ((Flags & 0xFFFF & ~KnownRequirements) != 0)
        {
            throw new LhypeException(
                $"The multiboot kernel {name} requires features (flags 0x{Flags:x}) unknown to multiboot 1.");
        }

        if ((Flags & FlagAddresses) != 0)
        {
            return ResolveAddresses(bytes, name);
        }

        if (!ElfImage.Matches(bytes.Span))
        {
            throw new LhypeException(
                $"The multiboot kernel {name} is no ELF file and states no load addresses in its header.");
        }

        ElfImage elf = ElfImage.Parse(bytes, name);
        return elf.Bits == 32
            ? (elf.Segments, elf.PhysicalEntry(preferVirtual: true, name))
            : throw new LhypeException(
                $"The multiboot kernel {name} is a 64-bit ELF file; multiboot 1 starts 32-bit code.");
    }

    private (IReadOnlyList<KernelSegment> Segments, ulong Entry) ResolveAddresses(
        ReadOnlyMemory<byte> bytes, string name)
    {
        var reader = new ImageReader(bytes.Span, name);
        ulong at = (ulong)Offset;
        uint header = reader.UInt32(at + 12);
        uint load = reader.UInt32(at + 16);
        uint loadEnd = reader.UInt32(at + 20);
        uint bssEnd = reader.UInt32(at + 24);
        uint entry = reader.UInt32(at + 28);
        if (load > header || header - load > (uint)Offset)
        {
            throw Damaged(name);
        }

        int fileStart = Offset - (int)(header - load);
        uint fileSize = loadEnd == 0 ? (uint)(bytes.Length - fileStart) : unchecked(loadEnd - load);
        if (loadEnd != 0 && loadEnd < load)
        {
            throw Damaged(name);
        }

        _ = reader.Slice((ulong)fileStart, fileSize);
        ulong end = Math.Max((ulong)load + fileSize, bssEnd);
        if (entry < load || entry >= end)
        {
            throw Damaged(name);
        }

        var segment = new KernelSegment(load, load, bytes.Slice(fileStart, (int)fileSize), end - load);
        return ([segment], entry);
    }

    private static LhypeException Damaged(string name) =>
        new($"The multiboot kernel {name} is damaged: the load addresses in its header make no sense.");
}
