// Initial RAM disks: several files become one image, each starting at a multiple of four bytes as the
// kernel's cpio reader expects (Linux Documentation/driver-api/early-userspace/buffer-format.rst), placed as
// high as the kernel can reach without copying. Called by BootLoader.

using System;
using System.Collections.Generic;
using Lhype.Host;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Boot;

/// <summary>One initial RAM disk file held in memory. <paramref name="Name"/> is the path as the user gave
/// it.</summary>
public sealed record InitrdFile(string Name, ReadOnlyMemory<byte> Data)
{
    /// <summary>Largest file accepted, in bytes.</summary>
    public const long MaxFileBytes = 1L << 30;

    /// <summary>Reads <paramref name="path"/>; throws LhypeException.</summary>
    public static InitrdFile Load(string path) =>
        new(path, ImageFile.ReadAll(path, "initrd", MaxFileBytes));
}

/// <summary>Placement of initial RAM disks.</summary>
internal static class Initrd
{
    /// <summary>Where an i386 kernel's directly mapped memory ends: an image above would be copied by the
    /// kernel.</summary>
    private const ulong DirectlyMappedEnd = 896UL << 20;

    private const ulong PageMask = 4095;

    /// <summary>Writes the files one after the other as high as they fit: above the kernel, or with little
    /// memory in the gap below it, and above 4 GiB only if they fit nowhere else and the kernel takes them
    /// there. Returns where and how long; (0, 0) without files. Throws LhypeException if there is no
    /// room.</summary>
    public static (ulong Address, ulong Length) Place(IReadOnlyList<InitrdFile> files, GuestMemory memory,
        KernelImage kernel)
    {
        ulong length = TotalLength(files);
        if (length == 0)
        {
            return (0, 0);
        }

        ulong reach = Math.Min(memory.LowSize, (ulong)kernel.InitrdAddressMax + 1);
        ulong kernelStart = ulong.MaxValue;
        foreach (KernelSegment segment in kernel.Segments)
        {
            kernelStart = Math.Min(kernelStart, segment.Physical);
        }

        // What the kernel must copy is better than what it cannot have.
        ulong mapped = kernel.Bits == 64 ? reach : Math.Min(reach, DirectlyMappedEnd);
        ulong start = HighestFit(length, kernel.ReservedEnd, mapped)
            ?? HighestFit(length, kernel.ReservedEnd, reach)
            ?? HighestFit(length, 0, Math.Min(reach, kernelStart))
            ?? (kernel.ReachesAbove4GiB ? HighestFitAnywhere(length, kernel, memory) : null)
            ?? throw TooLarge(files, length, memory);
        ulong at = start;
        ReadOnlySpan<byte> padding = stackalloc byte[3];
        foreach (InitrdFile file in files)
        {
            if (!memory.TryWrite(at, file.Data.Span))
            {
                throw TooLarge(files, length, memory);
            }

            ulong end = at + (ulong)file.Data.Length;
            at += Padded((ulong)file.Data.Length);
            _ = memory.TryWrite(end, padding[..(int)(at - end)]);
        }

        return (start, length);
    }

    /// <summary>The highest page in [<paramref name="bottom"/>, <paramref name="top"/>) above the first MiB
    /// from which <paramref name="length"/> bytes fit.</summary>
    private static ulong? HighestFit(ulong length, ulong bottom, ulong top)
    {
        bottom = (Math.Max(bottom, BootLayout.ReservedEnd) + PageMask) & ~PageMask;
        top &= ~PageMask;
        return top >= bottom && length <= top - bottom && ((top - length) & ~PageMask) >= bottom
            ? (top - length) & ~PageMask
            : null;
    }

    /// <summary>A kernel that takes RAM disks above 4 GiB takes them anywhere: the limit it states is there
    /// for old boot loaders.</summary>
    private static ulong? HighestFitAnywhere(ulong length, KernelImage kernel, GuestMemory memory) =>
        HighestFit(length, kernel.ReservedEnd, memory.LowSize)
        ?? HighestFit(length, GuestRam.HighStart, GuestRam.HighStart + memory.HighSize);

    private static ulong TotalLength(IReadOnlyList<InitrdFile> files)
    {
        ulong length = 0;
        for (int i = 0; i < files.Count; i++)
        {
            ulong size = (ulong)files[i].Data.Length;
            length += i == files.Count - 1 ? size : Padded(size);
        }

        return length;
    }

    private static ulong Padded(ulong size) => (size + 3) & ~3UL;

    private static LhypeException TooLarge(IReadOnlyList<InitrdFile> files, ulong length, GuestMemory memory)
    {
        string name = files.Count == 1
            ? $"The initrd {files[0].Name}"
            : $"The {files.Count} initrd files together";
        return new LhypeException($"{name} ({(length + 0xF_FFFF) >> 20} MiB) and the kernel do not fit into "
            + $"{memory.Size >> 20} MiB of guest memory; use a larger --memory.");
    }
}
