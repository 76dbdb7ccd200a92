// The kernel of an lguest guest as its loader wants it: where its pieces go, at which address it starts and
// where it was linked for. Dialect A starts at a virtual address behind a magic text, which in a bzImage has
// to be looked for in the packed kernel. Called by LguestBuilder.

using System;
using System.Collections.Generic;
using System.IO;
using System.IO.Compression;
using Lhype.Host;
using Lhype.Machine.Boot;

namespace Lhype.Machine.Paravirt.Lguest;

/// <summary>A kernel ready to be placed.</summary>
/// <param name="Segments">What goes where.</param>
/// <param name="Entry">First instruction: virtual in dialect A, physical in the others.</param>
/// <param name="PageOffset">PAGE_OFFSET: virtual less physical addresses.</param>
/// <param name="ReservedEnd">First address after the memory it needs to start.</param>
internal sealed record LguestKernel(
    IReadOnlyList<KernelSegment> Segments, uint Entry, uint PageOffset, ulong ReservedEnd)
{
    private const uint UsualPageOffset = 0xC000_0000;
    private const int MaxUnpackedBytes = 64 << 20;

    /// <summary>Prepares <paramref name="image"/> for a guest of <paramref name="generation"/>; null: one of
    /// B
    /// to F. Throws LhypeException.</summary>
    internal static LguestKernel From(KernelImage image, LguestGeneration? generation)
    {
        if (image.Bits != 32)
        {
            throw new LhypeException(
                $"The kernel {image.Name} is 64-bit; --machine lhype runs 32-bit guests only.");
        }

        if (generation != LguestGeneration.A)
        {
            KernelSegment first = image.Segments[0];
            uint offset = (uint)(first.Virtual - first.Physical);
            return new LguestKernel(image.Segments, (uint)image.Entry,
                offset == 0 ? UsualPageOffset : offset, image.ReservedEnd);
        }

        return image.Kind == KernelKind.LinuxPacked ? Unpack(image) : OldElf(image);
    }

    private static LguestKernel OldElf(KernelImage image)
    {
        ulong offset = image.Segments[0].Virtual - image.Segments[0].Physical;
        foreach (KernelSegment segment in image.Segments)
        {
            if (segment.Virtual - segment.Physical != offset)
            {
                throw new LhypeException($"The kernel {image.Name} is no lguest kernel of dialect A: its "
                    + "parts are not all linked at one distance from where they are loaded.");
            }
        }

        return LguestDetection.TryFindOldEntry(image, out uint entry)
            ? new LguestKernel(image.Segments, entry, (uint)offset, image.ReservedEnd)
            : throw NoMagic(image);
    }

    /// <summary>A bzImage of 2.6.23 does not say where its packed kernel is: try every gzip header.</summary>
    private static LguestKernel Unpack(KernelImage image)
    {
        ReadOnlyMemory<byte> part = image.Segments[0].Data;
        ReadOnlySpan<byte> magic = [0x1F, 0x8B, 8];
        for (int at = 0; at < part.Length; at++)
        {
            int next = part.Span[at..].IndexOf(magic);
            if (next < 0)
            {
                break;
            }

            at += next;
            byte[] unpacked = Inflate(part[at..]);
            int text = unpacked.AsSpan().IndexOf(LguestDetection.OldMagic);
            if (text >= 0)
            {
                uint offset = GuessPageOffset(unpacked);
                uint start = BzImage.LoadAddress;
                KernelSegment whole = new(start, start + (ulong)offset, unpacked, (ulong)unpacked.Length);
                uint entry = start + offset + (uint)(text + LguestDetection.OldMagic.Length);
                return new LguestKernel([whole], entry, offset, whole.End);
            }
        }

        throw NoMagic(image);
    }

    private static byte[] Inflate(ReadOnlyMemory<byte> packed)
    {
        using MemoryStream source = new(packed.ToArray(), writable: false);
        using MemoryStream result = new();
        try
        {
            using GZipStream gzip = new(source, CompressionMode.Decompress);
            byte[] buffer = new byte[1 << 16];
            int count;
            while (result.Length < MaxUnpackedBytes && (count = gzip.Read(buffer)) > 0)
            {
                result.Write(buffer, 0, count);
            }
        }
        catch (InvalidDataException)
        {
            // Not a gzip header after all, or what follows the packed kernel: keep what came out.
        }

        return result.ToArray();
    }

    /// <summary>A flat image does not say where it is linked. MOV EAX, [address] (A1) names kernel data by
    /// its virtual address: the first top byte seen four times is that of PAGE_OFFSET.</summary>
    private static uint GuessPageOffset(ReadOnlySpan<byte> image)
    {
        Span<int> seen = stackalloc int[256];
        seen.Clear();
        for (int i = 0; i + 4 < image.Length; i++)
        {
            if (image[i] == 0xA1 && ++seen[image[i + 4]] == 4)
            {
                return (uint)image[i + 4] << 24;
            }
        }

        return UsualPageOffset;
    }

    private static LhypeException NoMagic(KernelImage image) => new(
        $"The kernel {image.Name} is no lguest kernel of dialect A: it lacks the text GenuineLguest.");
}
