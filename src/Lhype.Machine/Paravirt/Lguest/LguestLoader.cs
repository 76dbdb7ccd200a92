// Puts an lguest guest into memory by lguest's own rules, which are not those of a PC: boot_params at address
// 0, the command line after it, the initial RAM disk at the very top, page tables made by the host below it.
// Called by LguestBuilder.

using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Text;
using Lhype.Host;
using Lhype.Machine.Boot;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Paravirt.Lguest;

/// <summary>Places a kernel and what it is told.</summary>
internal static class LguestLoader
{
    private const uint PageBytes = 4096;
    private const uint CommandLineAddress = 4096;
    private const uint FirstFree = 8192;
    private const int MaxCommandLine = 2047;

    // Offsets in struct boot_params (Linux Documentation/arch/x86/zero-page.rst).
    private const int E820Count = 0x1E8, Version = 0x206, LoaderType = 0x210, LoadFlags = 0x211,
        RamdiskImage = 0x218, RamdiskSize = 0x21C, CommandLinePointer = 0x228, KernelAlignment = 0x230,
        HardwareSubarch = 0x23C, E820Table = 0x2D0;

    private const byte KeepSegments = 0x40;
    private const uint SubarchLguest = 1;

    /// <summary>Places everything below <paramref name="top"/>. Returns the first address after the room for
    /// <paramref name="tableBytes"/> of page tables. Throws LhypeException if it does not fit.</summary>
    internal static uint Load(KernelImage image, LguestKernel kernel, string commandLine,
        IReadOnlyList<InitrdFile> initrds, GuestMemory memory, uint top, uint tableBytes)
    {
        uint initrdBytes = (InitrdBytes(initrds) + PageBytes - 1) & ~(PageBytes - 1);
        ulong needed = (ulong)initrdBytes + tableBytes;
        if (needed > top || kernel.ReservedEnd > top - needed)
        {
            throw new LhypeException($"The kernel {image.Name} and its initrd need "
                + $"{(kernel.ReservedEnd + needed + 0xF_FFFF) >> 20} MiB and the guest has {top >> 20} MiB; "
                + "use a larger --memory.");
        }

        foreach (KernelSegment segment in kernel.Segments)
        {
            bool fits = segment.Physical >= FirstFree
                && memory.TryGetSpan(segment.Physical, (int)segment.MemorySize, out Span<byte> span)
                && segment.Data.Span.TryCopyTo(span);
            if (!fits)
            {
                throw new LhypeException($"The kernel {image.Name} asks to be loaded at "
                    + $"0x{segment.Physical:x}, where a paravirtual guest keeps boot data or has no RAM.");
            }

            memory.Written(segment.Physical, segment.MemorySize);
        }

        uint initrdAt = top - initrdBytes;
        PlaceInitrds(initrds, memory, initrdAt);
        PlaceCommandLine(image, commandLine, memory);
        Write(memory, 0, MakeBootParams(image, top, initrdAt, initrdBytes));
        return initrdAt;
    }

    private static byte[] MakeBootParams(KernelImage image, uint top, uint initrdAt, uint initrdBytes)
    {
        byte[] page = new byte[PageBytes];
        image.SetupHeader.Span.CopyTo(page.AsSpan(BzImage.HeaderOffset));
        page[LoadFlags] |= KeepSegments;
        page[LoaderType] = (byte)(initrdBytes == 0 ? 0 : 0xFF);
        BinaryPrimitives.WriteUInt16LittleEndian(page.AsSpan(Version), 0x207);
        Write32(page, CommandLinePointer, CommandLineAddress);
        Write32(page, RamdiskImage, initrdBytes == 0 ? 0 : initrdAt);
        Write32(page, RamdiskSize, initrdBytes);
        Write32(page, KernelAlignment, 16 << 20);
        Write32(page, HardwareSubarch, SubarchLguest);

        // One range of RAM. Guests take its end for the address of the descriptor page.
        page[E820Count] = 1;
        Write32(page, E820Table + 8, top);
        Write32(page, E820Table + 16, (uint)MemoryKind.Ram);
        return page;
    }

    private static uint InitrdBytes(IReadOnlyList<InitrdFile> files)
    {
        ulong total = 0;
        foreach (InitrdFile file in files)
        {
            total = ((total + 3) & ~3UL) + (ulong)file.Data.Length;
        }

        return total <= int.MaxValue
            ? (uint)total
            : throw new LhypeException("The initrd files together are larger than 2 GiB.");
    }

    private static void PlaceInitrds(IReadOnlyList<InitrdFile> files, GuestMemory memory, uint at)
    {
        foreach (InitrdFile file in files)
        {
            at = (at + 3) & ~3u;
            Write(memory, at, file.Data.Span);
            at += (uint)file.Data.Length;
        }
    }

    private static void PlaceCommandLine(KernelImage image, string commandLine, GuestMemory memory)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(commandLine + '\0');
        int max = Math.Min(MaxCommandLine, image.CommandLineMax);
        if (bytes.Length - 1 > max)
        {
            throw new LhypeException($"The kernel command line has {bytes.Length - 1} bytes and the kernel "
                + $"{image.Name} takes at most {max}; shorten --append.");
        }

        Write(memory, CommandLineAddress, bytes);
    }

    private static void Write(GuestMemory memory, uint gpa, ReadOnlySpan<byte> bytes) =>
        Invariant.Check(memory.TryWrite(gpa, bytes), "boot data was checked to fit and does not");

    private static void Write32(byte[] page, int offset, uint value) =>
        BinaryPrimitives.WriteUInt32LittleEndian(page.AsSpan(offset), value);
}
