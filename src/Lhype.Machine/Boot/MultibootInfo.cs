// What a multiboot 1 kernel is told (Multiboot Specification 0.6.96, section 3.3): memory, command line,
// modules, memory map and the loader's name. Called by BootLoader for multiboot kernels.

using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Text;
using Lhype.Host;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Boot;

/// <summary>Builds the multiboot information structure and places modules.</summary>
internal static class MultibootInfo
{
    /// <summary>What EAX holds when the kernel starts.</summary>
    public const uint BootloaderMagic = 0x2BAD_B002;

    private const uint HasMemory = 1 << 0;
    private const uint HasCommandLine = 1 << 2;
    private const uint HasModules = 1 << 3;
    private const uint HasMap = 1 << 6;
    private const uint HasLoaderName = 1 << 9;
    private const int InfoBytes = 116;
    private const int MapEntryBytes = 24;
    private const int ModuleEntryBytes = 16;
    private const ulong PageMask = 4095;

    /// <summary>Writes everything into guest memory; the structure itself goes to the zero page's place.
    /// Throws LhypeException if the modules or their names do not fit.</summary>
    public static void Write(KernelImage kernel, IReadOnlyList<MemoryRange> map, GuestMemory memory,
        IReadOnlyList<InitrdFile> modules)
    {
        var tables = new byte[BootLayout.TableBytes];
        var info = new byte[InfoBytes];
        int used = 0;
        uint flags = HasMemory | HasCommandLine | HasMap | HasLoaderName;
        ulong upper = memory.LowSize > BootLayout.ReservedEnd ? memory.LowSize - BootLayout.ReservedEnd : 0;
        Write32(info, 4, BootLayout.ReservedStart >> 10);
        Write32(info, 8, (uint)(upper >> 10));
        Write32(info, 16, BootLayout.CommandLine);
        Write32(info, 44, (uint)(map.Count * MapEntryBytes));
        Write32(info, 48, BootLayout.Tables);
        foreach (MemoryRange range in map)
        {
            // The size field does not count itself.
            Write32(tables, used, MapEntryBytes - 4);
            BinaryPrimitives.WriteUInt64LittleEndian(tables.AsSpan(used + 4), range.Start);
            BinaryPrimitives.WriteUInt64LittleEndian(tables.AsSpan(used + 12), range.Length);
            Write32(tables, used + 20, (uint)range.Kind);
            used += MapEntryBytes;
        }

        Write32(info, 64, AddText(tables, ref used, "lhype"));
        if (modules.Count > 0)
        {
            flags |= HasModules;
            Write32(info, 20, (uint)modules.Count);
            Write32(info, 24, PlaceModules(kernel, memory, modules, tables, ref used));
        }

        Write32(info, 0, flags);
        Invariant.Check(memory.TryWrite(BootLayout.ZeroPage, info)
            && memory.TryWrite(BootLayout.Tables, tables.AsSpan(0, used)), "low memory is not RAM");
    }

    private static uint PlaceModules(KernelImage kernel, GuestMemory memory,
        IReadOnlyList<InitrdFile> modules, byte[] tables, ref int used)
    {
        used = (used + 3) & ~3;
        int list = used;
        used += modules.Count * ModuleEntryBytes;
        if (used > tables.Length)
        {
            throw TooManyModules(modules.Count);
        }

        ulong at = (Math.Max(kernel.ReservedEnd, BootLayout.ReservedEnd) + PageMask) & ~PageMask;
        for (int i = 0; i < modules.Count; i++)
        {
            ReadOnlySpan<byte> data = modules[i].Data.Span;
            if (!memory.TryWrite(at, data))
            {
                throw new LhypeException(
                    $"The module {modules[i].Name} does not fit into {memory.Size >> 20} MiB "
                    + "of guest memory behind the kernel; use a larger --memory.");
            }

            int entry = list + (i * ModuleEntryBytes);
            Write32(tables, entry, (uint)at);
            Write32(tables, entry + 4, (uint)(at + (ulong)data.Length));
            Write32(tables, entry + 8, AddText(tables, ref used, modules[i].Name));
            at = (at + (ulong)data.Length + PageMask) & ~PageMask;
        }

        return BootLayout.Tables + (uint)list;
    }

    private static uint AddText(byte[] tables, ref int used, string text)
    {
        int bytes = Encoding.UTF8.GetByteCount(text);
        if (bytes + 1 > tables.Length - used)
        {
            throw new LhypeException(
                "The names of the multiboot modules are too long together; use shorter paths.");
        }

        uint address = BootLayout.Tables + (uint)used;
        _ = Encoding.UTF8.GetBytes(text, tables.AsSpan(used));
        used += bytes + 1;
        return address;
    }

    private static LhypeException TooManyModules(int count) =>
        new($"{count} multiboot modules are more than Lhype's boot tables hold; use fewer --initrd options.");

    private static void Write32(byte[] bytes, int offset, uint value) =>
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(offset), value);
}
