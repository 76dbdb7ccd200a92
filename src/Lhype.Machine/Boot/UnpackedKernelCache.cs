// Keeps unpacked kernels between runs, because unpacking is the largest single cost of a start. An entry
// carries the packed file it was made from, so a hit is certain without cryptography (whose library costs
// more time to load than the comparison takes), and a checksum of the unpacked bytes, so a damaged or
// half-written entry is just a miss. A cache that cannot be read or written is no error: the kernel is
// unpacked again. Called by KernelImage.

using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using System.Numerics;
using System.Runtime.InteropServices;

namespace Lhype.Machine.Boot;

/// <summary>A directory of unpacked kernels. Safe to share between processes.</summary>
public sealed class UnpackedKernelCache
{
    /// <summary>Total size the directory is kept below, in bytes.</summary>
    public const long DefaultLimitBytes = 1L << 30;

    private const string Suffix = ".kernel";
    private const ulong EntryMagic = 0x3150_4E55_5059_484C;
    private const int HeaderBytes = 24;
    private const int CompareBytes = 64 << 10;

    private readonly string _directory;
    private readonly long _limitBytes;

    /// <summary>Uses <paramref name="directory"/>, which is made when first needed.</summary>
    public UnpackedKernelCache(string directory, long limitBytes = DefaultLimitBytes)
    {
        _directory = directory;
        _limitBytes = limitBytes;
    }

    /// <summary>The user's cache: <c>$XDG_CACHE_HOME/lhype/unpacked</c>, or under ~/.cache; null if neither
    /// is known.</summary>
    public static UnpackedKernelCache? ForUser()
    {
        string? root = Environment.GetEnvironmentVariable("XDG_CACHE_HOME");
        if (string.IsNullOrEmpty(root) || !Path.IsPathRooted(root))
        {
            string? home = Environment.GetEnvironmentVariable("HOME");
            if (string.IsNullOrEmpty(home))
            {
                return null;
            }

            root = Path.Combine(home, ".cache");
        }

        return new UnpackedKernelCache(Path.Combine(root, "lhype", "unpacked"));
    }

    /// <summary>The unpacked form of the kernel file <paramref name="packed"/>, or null.</summary>
    public byte[]? TryGet(ReadOnlySpan<byte> packed)
    {
        string path = PathFor(packed);
        try
        {
            byte[]? unpacked = ReadEntry(path, packed);
            if (unpacked is not null)
            {
                // The write time is the order of last use, by which Trim chooses.
                File.SetLastWriteTimeUtc(path, DateTime.UtcNow);
            }

            return unpacked;
        }
        catch (Exception e) when (IsFileTrouble(e))
        {
            return null;
        }
    }

    /// <summary>Stores <paramref name="unpacked"/> for <paramref name="packed"/>. Does nothing if it
    /// cannot.</summary>
    public void Put(ReadOnlySpan<byte> packed, ReadOnlySpan<byte> unpacked)
    {
        long entryBytes = (long)HeaderBytes + packed.Length + unpacked.Length;
        if (entryBytes > _limitBytes)
        {
            return;
        }

        string path = PathFor(packed);
        string temporary = $"{path}.{Guid.NewGuid():N}.tmp";
        try
        {
            _ = Directory.CreateDirectory(_directory);
            Trim(entryBytes);
            Span<byte> header = stackalloc byte[HeaderBytes];
            BinaryPrimitives.WriteUInt64LittleEndian(header, EntryMagic);
            BinaryPrimitives.WriteInt32LittleEndian(header[8..], packed.Length);
            BinaryPrimitives.WriteInt32LittleEndian(header[12..], unpacked.Length);
            BinaryPrimitives.WriteUInt32LittleEndian(header[16..], Checksum(unpacked));
            using (var file = new FileStream(temporary, FileMode.CreateNew, FileAccess.Write, FileShare.None))
            {
                file.Write(header);
                file.Write(packed);
                file.Write(unpacked);
            }

            File.Move(temporary, path, overwrite: true);
        }
        catch (Exception e) when (IsFileTrouble(e))
        {
            TryDelete(temporary);
        }
    }

    private static byte[]? ReadEntry(string path, ReadOnlySpan<byte> packed)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
        Span<byte> header = stackalloc byte[HeaderBytes];
        file.ReadExactly(header);
        int unpackedLength = BinaryPrimitives.ReadInt32LittleEndian(header[12..]);
        if (BinaryPrimitives.ReadUInt64LittleEndian(header) != EntryMagic
            || BinaryPrimitives.ReadInt32LittleEndian(header[8..]) != packed.Length
            || unpackedLength is <= 0 or > KernelPayload.MaxUnpackedBytes
            || file.Length != (long)HeaderBytes + packed.Length + unpackedLength)
        {
            return null;
        }

        var buffer = new byte[CompareBytes];
        while (!packed.IsEmpty)
        {
            Span<byte> piece = buffer.AsSpan(0, Math.Min(CompareBytes, packed.Length));
            file.ReadExactly(piece);
            if (!packed.StartsWith(piece))
            {
                return null;
            }

            packed = packed[piece.Length..];
        }

        byte[] unpacked = GC.AllocateUninitializedArray<byte>(unpackedLength);
        file.ReadExactly(unpacked);
        return Checksum(unpacked) == BinaryPrimitives.ReadUInt32LittleEndian(header[16..]) ? unpacked : null;
    }

    private string PathFor(ReadOnlySpan<byte> packed) =>
        Path.Combine(_directory, $"{packed.Length:x}-{Checksum(packed):x8}{Suffix}");

    /// <summary>CRC-32C, which the host CPU computes eight bytes at a time.</summary>
    private static uint Checksum(ReadOnlySpan<byte> data)
    {
        uint crc = uint.MaxValue;
        ReadOnlySpan<ulong> words = MemoryMarshal.Cast<byte, ulong>(data);
        foreach (ulong word in words)
        {
            crc = BitOperations.Crc32C(crc, word);
        }

        foreach (byte b in data[(words.Length * sizeof(ulong))..])
        {
            crc = BitOperations.Crc32C(crc, b);
        }

        return ~crc;
    }

    private void Trim(long needed)
    {
        var entries = new List<FileInfo>(new DirectoryInfo(_directory).GetFiles());
        entries.Sort((a, b) => a.LastWriteTimeUtc.CompareTo(b.LastWriteTimeUtc));
        long total = needed;
        foreach (FileInfo entry in entries)
        {
            total += entry.Length;
        }

        foreach (FileInfo entry in entries)
        {
            // Files of killed processes go after a day; entries go oldest first while there is too much.
            bool abandoned = entry.Extension == ".tmp"
                && entry.LastWriteTimeUtc < DateTime.UtcNow.AddDays(-1);
            if (abandoned || (entry.Extension == Suffix && total > _limitBytes))
            {
                total -= entry.Length;
                TryDelete(entry.FullName);
            }
        }
    }

    private static void TryDelete(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception e) when (IsFileTrouble(e))
        {
            // Another process may have taken it; nothing depends on it.
        }
    }

    private static bool IsFileTrouble(Exception e) =>
        e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException;
}
