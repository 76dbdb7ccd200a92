// Looks into a disk image before a guest gets it: a bare file system, or partitions by MBR or GPT, and which
// of them Linux's root may be on. Called by RootArrangement. The guest's kernel reads the same tables again
// and has the last word; this only has to find what it will find, with its numbers.

using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using Lhype.Host;

namespace Lhype.Disks;

/// <summary>One partition.</summary>
/// <param name="Number">The number in its device's name: /dev/vda<b>1</b>.</param>
/// <param name="IsRootType">The table itself says that it is a Linux root.</param>
/// <param name="FileSystem">What is in it; null if not known.</param>
internal sealed record Partition(int Number, bool IsRootType, FileSystem? FileSystem);

/// <summary>What is on a disk.</summary>
/// <param name="FileSystem">The file system that fills the disk, without partitions; null if there is
/// none.</param>
/// <param name="Partitions">The partitions, in the order of the table.</param>
internal sealed record DiskLayout(FileSystem? FileSystem, IReadOnlyList<Partition> Partitions)
{
    private const int SectorBytes = 512;
    private const int MbrEntries = 0x1BE;
    private const int MbrEntryBytes = 16;
    private const byte ProtectiveGpt = 0xEE;
    private const int MaxLogicalPartitions = 60;
    private const int MaxGptEntries = 1024;

    // "Root partition" for 32-bit x86 and x86-64 (UAPI group, Discoverable Partitions Specification).
    private static readonly Guid[] RootTypes =
        [new("44479540-f297-41b2-9af7-d131d5f0458a"), new("4f68bce3-e8cd-4db1-96e7-fbcaf984b709")];

    /// <summary>Reads the layout of the image <paramref name="file"/>; null if the file cannot be read, which
    /// opening the disk will complain about.</summary>
    public static DiskLayout? Load(string file)
    {
        try
        {
            using FileStream image = new(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, 0);
            return Read(new DiskReader(image));
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException
            or NotSupportedException)
        {
            return null;
        }
    }

    /// <summary>Reads the layout of a disk.</summary>
    public static DiskLayout Read(DiskReader disk)
    {
        // A boot sector looks much like an MBR, so the file system is asked first.
        if (FileSystem.Probe(disk) is { } whole)
        {
            return new DiskLayout(whole, []);
        }

        Span<byte> sector = stackalloc byte[SectorBytes];
        if (!disk.TryRead(0, sector) || !HasMbrSignature(sector))
        {
            return new DiskLayout(null, []);
        }

        List<Partition> partitions = [];
        if (sector[MbrEntries + 4] != ProtectiveGpt || !ReadGpt(disk, partitions))
        {
            ReadMbr(disk, sector, partitions);
        }

        return new DiskLayout(null, partitions);
    }

    /// <summary>The partition to take for the root when nobody says: what the table calls a root, else what
    /// was last mounted on <c>/</c>, else the only one with a Linux file system. Null if there is no such
    /// partition, or no telling.</summary>
    public Partition? Root
    {
        get
        {
            Partition? found = null;
            int best = 0;
            bool several = false;
            foreach (Partition partition in Partitions)
            {
                int rank = partition.FileSystem is null ? 0
                    : partition.IsRootType ? 3
                    : partition.FileSystem.LastMountedOnRoot ? 2
                    : 1;
                several = rank > best ? false : several || (rank == best && rank != 0);
                found = rank > best ? partition : found;
                best = Math.Max(best, rank);
            }

            return several ? null : found;
        }
    }

    private static bool HasMbrSignature(ReadOnlySpan<byte> sector) =>
        sector[510] == 0x55 && sector[511] == 0xAA;

    // UEFI 2.10, 5.3: the header in sector 1 says where the entries are.
    private static bool ReadGpt(DiskReader disk, List<Partition> partitions)
    {
        Span<byte> header = stackalloc byte[92];
        if (!disk.TryRead(SectorBytes, header) || !header.StartsWith("EFI PART"u8))
        {
            return false;
        }

        ulong table = BinaryPrimitives.ReadUInt64LittleEndian(header[72..]);
        uint count = Math.Min(BinaryPrimitives.ReadUInt32LittleEndian(header[80..]), MaxGptEntries);
        uint size = BinaryPrimitives.ReadUInt32LittleEndian(header[84..]);
        Span<byte> entry = stackalloc byte[48];
        for (uint index = 0; index < count && size is >= 128 and <= 4096; index++)
        {
            if (table > (ulong)disk.Length / SectorBytes
                || !disk.TryRead((table * SectorBytes) + (index * size), entry))
            {
                break;
            }

            Guid type = new(entry[..16]);
            ulong first = BinaryPrimitives.ReadUInt64LittleEndian(entry[32..]);
            ulong last = BinaryPrimitives.ReadUInt64LittleEndian(entry[40..]);
            if (type != Guid.Empty && first <= last)
            {
                FileSystem? content = ProbePart(disk, first, last - first);
                partitions.Add(new Partition((int)index + 1, Array.IndexOf(RootTypes, type) >= 0, content));
            }
        }

        return true;
    }

    private static void ReadMbr(DiskReader disk, ReadOnlySpan<byte> sector, List<Partition> partitions)
    {
        for (int index = 0; index < 4; index++)
        {
            (byte type, uint start, uint length) = MbrEntry(sector, index);
            if (type == 0 || start == 0 || length == 0)
            {
                continue;
            }

            partitions.Add(new Partition(index + 1, false, ProbePart(disk, start, length - 1)));
            if (IsExtended(type))
            {
                ReadLogical(disk, start, partitions);
            }
        }
    }

    // A chain of boot records, each with one logical partition and a link, numbered from 5.
    private static void ReadLogical(DiskReader disk, uint extended, List<Partition> partitions)
    {
        Span<byte> sector = stackalloc byte[SectorBytes];
        ulong at = extended;
        for (int count = 0; count < MaxLogicalPartitions; count++)
        {
            if (!disk.TryRead(at * SectorBytes, sector) || !HasMbrSignature(sector))
            {
                return;
            }

            (byte type, uint start, uint length) = MbrEntry(sector, 0);
            if (type != 0 && start != 0 && length != 0)
            {
                int logical = 5 + count;
                partitions.Add(new Partition(logical, false, ProbePart(disk, at + start, length - 1)));
            }

            (type, start, _) = MbrEntry(sector, 1);
            if (!IsExtended(type) || start == 0)
            {
                return;
            }

            at = (ulong)extended + start;
        }
    }

    private static bool IsExtended(byte type) => type is 0x05 or 0x0F or 0x85;

    private static (byte Type, uint Start, uint Length) MbrEntry(ReadOnlySpan<byte> sector, int index)
    {
        ReadOnlySpan<byte> entry = sector.Slice(MbrEntries + (index * MbrEntryBytes), MbrEntryBytes);
        return (entry[4], BinaryPrimitives.ReadUInt32LittleEndian(entry[8..]),
            BinaryPrimitives.ReadUInt32LittleEndian(entry[12..]));
    }

    /// <summary>The file system from sector <paramref name="first"/> on, in that sector and
    /// <paramref name="more"/> others.</summary>
    private static FileSystem? ProbePart(DiskReader disk, ulong first, ulong more)
    {
        ulong sectors = (ulong)disk.Length / SectorBytes;
        ulong count = Math.Min(more, sectors) + 1;
        return first < sectors
            ? FileSystem.Probe(disk.Part(first * SectorBytes, count * SectorBytes))
            : null;
    }
}
