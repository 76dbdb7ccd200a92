// The ELF note by which a kernel says where it can be started by Xen's PVH boot protocol (Xen
// public/elfnote.h). Linux, FreeBSD and small kernels for hypervisors carry it. Called by ElfImage for each
// note segment.

using System;
using System.Buffers.Binary;

namespace Lhype.Machine.Boot;

/// <summary>XEN_ELFNOTE_PHYS32_ENTRY.</summary>
internal static class PvhNote
{
    private const int HeaderBytes = 12;
    private const uint Phys32Entry = 18;

    /// <summary>Longest note segment that is looked through, in bytes; a kernel's has a few
    /// hundred.</summary>
    private const int MaxBytes = 1 << 16;

    /// <summary>The entry point in the notes <paramref name="notes"/>; null if none is there. Damaged notes
    /// end the search: they describe nothing that a kernel needs.</summary>
    public static ulong? Find(ReadOnlySpan<byte> notes)
    {
        if (notes.Length > MaxBytes)
        {
            return null;
        }

        // Name and descriptor are padded to four bytes in both classes of ELF files, whatever the
        // specification says of eight (System V ABI, chapter 5; Linux include/linux/elfnote.h).
        while (notes.Length >= HeaderBytes)
        {
            uint nameSize = BinaryPrimitives.ReadUInt32LittleEndian(notes);
            uint size = BinaryPrimitives.ReadUInt32LittleEndian(notes[4..]);
            uint type = BinaryPrimitives.ReadUInt32LittleEndian(notes[8..]);
            notes = notes[HeaderBytes..];
            if (nameSize > (uint)notes.Length)
            {
                return null;
            }

            ReadOnlySpan<byte> name = notes[..(int)nameSize];
            notes = notes[Math.Min(Padded(nameSize), notes.Length)..];
            if (size > (uint)notes.Length)
            {
                return null;
            }

            if (type == Phys32Entry && name.SequenceEqual("Xen\0"u8) && size is 4 or 8)
            {
                return size == 8
                    ? BinaryPrimitives.ReadUInt64LittleEndian(notes)
                    : BinaryPrimitives.ReadUInt32LittleEndian(notes);
            }

            notes = notes[Math.Min(Padded(size), notes.Length)..];
        }

        return null;
    }

    private static int Padded(uint size) => (int)((size + 3) & ~3u);
}
