// What a kernel is told that starts by Xen's PVH boot protocol (Xen public/arch-x86/hvm/start_info.h and
// docs/misc/pvh.pandoc): command line, initial RAM disk, ACPI root pointer and memory map. Called by
// BootLoader for PVH kernels.

using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using Lhype.Host;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Boot;

/// <summary>Builds struct hvm_start_info, version 1, and the two lists it points to.</summary>
internal static class PvhInfo
{
    private const uint Magic = 0x336E_C578;
    private const uint Version = 1;
    private const int InfoBytes = 56;
    private const int MapEntryBytes = 24;
    private const int ModuleBytes = 32;

    /// <summary>Writes the structure to the zero page's place; <paramref name="initrd"/> is (0, 0) when there
    /// is none.</summary>
    public static void Write(IReadOnlyList<MemoryRange> map, GuestMemory memory,
        (ulong Address, ulong Length) initrd, ulong rsdpAddress)
    {
        var tables = new byte[BootLayout.TableBytes];
        var info = new byte[InfoBytes];
        Write32(info, 0, Magic);
        Write32(info, 4, Version);
        if (initrd.Length != 0)
        {
            Write32(info, 12, 1);
            Write64(info, 16, BootLayout.Tables);
            Write64(tables, 0, initrd.Address);
            Write64(tables, 8, initrd.Length);
        }

        Write64(info, 24, BootLayout.CommandLine);
        Write64(info, 32, rsdpAddress);
        Write64(info, 40, BootLayout.Tables + ModuleBytes);
        Write32(info, 48, (uint)map.Count);
        int used = ModuleBytes;
        foreach (MemoryRange range in map)
        {
            Write64(tables, used, range.Start);
            Write64(tables, used + 8, range.Length);
            Write32(tables, used + 16, (uint)range.Kind);
            used += MapEntryBytes;
        }

        Invariant.Check(memory.TryWrite(BootLayout.ZeroPage, info)
            && memory.TryWrite(BootLayout.Tables, tables.AsSpan(0, used)), "low memory is not RAM");
    }

    private static void Write32(byte[] bytes, int offset, uint value) =>
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(offset), value);

    private static void Write64(byte[] bytes, int offset, ulong value) =>
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(offset), value);
}
