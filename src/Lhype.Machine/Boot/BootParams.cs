// The Linux zero page, struct boot_params (Linux Documentation/arch/x86/zero-page.rst and boot.rst):
// everything a kernel learns from its loader. Called by BootLoader for Linux kernels.

using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Boot;

/// <summary>Fills a zero page. Offsets are those of struct boot_params.</summary>
internal static class BootParams
{
    /// <summary>Size of the structure.</summary>
    public const int SizeBytes = 4096;

    private const int ExtendedMemoryKib = 0x002;
    private const int AcpiRsdpAddress = 0x070;
    private const int ExtendedRamdiskImage = 0x0C0;
    private const int ExtendedRamdiskSize = 0x0C4;
    private const int AlternativeMemoryKib = 0x1E0;
    private const int E820Count = 0x1E8;
    private const int BootFlag = 0x1FE;
    private const int HeaderMagic = 0x202;
    private const int Version = 0x206;
    private const int LoaderType = 0x210;
    private const int LoadFlags = 0x211;
    private const int RamdiskImage = 0x218;
    private const int RamdiskSize = 0x21C;
    private const int CommandLinePointer = 0x228;
    private const int InitrdAddressMax = 0x22C;
    private const int CommandLineSize = 0x238;
    private const int SetupData = 0x250;
    private const int E820Table = 0x2D0;
    private const int E820EntryBytes = 20;
    private const int E820Max = 128;
    private const byte LoaderUndefined = 0xFF;
    private const byte LoadedHigh = 0x01;
    private const byte KeepSegments = 0x40;
    private const byte CanUseHeap = 0x80;

    /// <summary>Builds the page. <paramref name="setupDataAddress"/> is 0 when there is no setup_data
    /// list.</summary>
    public static byte[] Make(KernelImage kernel, IReadOnlyList<MemoryRange> map, GuestMemory memory,
        (ulong Address, ulong Length) initrd, ulong setupDataAddress, ulong rsdpAddress)
    {
        var page = new byte[SizeBytes];
        WriteHeader(page, kernel);
        ulong aboveOneMib = Math.Max(memory.LowSize, BootLayout.ReservedEnd) - BootLayout.ReservedEnd;
        Write16(page, ExtendedMemoryKib, (ushort)Math.Min(aboveOneMib >> 10, 0xFFFF));
        Write32(page, AlternativeMemoryKib, (uint)(aboveOneMib >> 10));
        Write64(page, AcpiRsdpAddress, rsdpAddress);
        Write32(page, RamdiskImage, (uint)initrd.Address);
        Write32(page, RamdiskSize, (uint)initrd.Length);
        Write32(page, ExtendedRamdiskImage, (uint)(initrd.Address >> 32));
        Write32(page, ExtendedRamdiskSize, (uint)(initrd.Length >> 32));
        Write32(page, CommandLinePointer, BootLayout.CommandLine);
        Write64(page, SetupData, setupDataAddress);

        // screen_info stays zero: no lines and no columns tell the kernel that there is no text screen.
        int count = Math.Min(map.Count, E820Max);
        page[E820Count] = (byte)count;
        for (int i = 0; i < count; i++)
        {
            int at = E820Table + (i * E820EntryBytes);
            Write64(page, at, map[i].Start);
            Write64(page, at + 8, map[i].Length);
            Write32(page, at + 16, (uint)map[i].Kind);
        }

        return page;
    }

    private static void WriteHeader(byte[] page, KernelImage kernel)
    {
        if (kernel.SetupHeader.IsEmpty)
        {
            // A bare vmlinux: state the protocol it was built for as any recent bzImage would.
            Write16(page, BootFlag, 0xAA55);
            "HdrS"u8.CopyTo(page.AsSpan(HeaderMagic));
            Write16(page, Version, 0x020F);
            page[LoadFlags] = LoadedHigh;
            Write32(page, InitrdAddressMax, kernel.InitrdAddressMax);
            Write32(page, CommandLineSize, (uint)kernel.CommandLineMax);
        }
        else
        {
            kernel.SetupHeader.Span.CopyTo(page.AsSpan(BzImage.HeaderOffset));
        }

        page[LoaderType] = LoaderUndefined;
        page[LoadFlags] &= unchecked((byte)~(KeepSegments | CanUseHeap));
    }

    private static void Write16(byte[] page, int offset, ushort value) =>
        BinaryPrimitives.WriteUInt16LittleEndian(page.AsSpan(offset), value);

    private static void Write32(byte[] page, int offset, uint value) =>
        BinaryPrimitives.WriteUInt32LittleEndian(page.AsSpan(offset), value);

    private static void Write64(byte[] page, int offset, ulong value) =>
        BinaryPrimitives.WriteUInt64LittleEndian(page.AsSpan(offset), value);
}
