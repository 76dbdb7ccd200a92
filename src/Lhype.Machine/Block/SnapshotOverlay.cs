// Disk writes that vanish at the end (--snapshot): they go to a temporary file without a name, at the same
// offsets, and a bitmap says which sectors are there. The disk underneath is never written.

using System;
using Lhype.Host;

namespace Lhype.Machine.Block;

/// <summary>A temporary copy-on-write layer over a disk. Owns the disk underneath.</summary>
public sealed class SnapshotOverlay : IBlockBackend
{
    /// <summary>Sectors per piece of bitmap: 32 MiB of disk for 8 KiB, made when first written to.</summary>
    private const int PieceSectors = 1 << 16;

    private const int WordSectors = 64;

    private readonly IBlockBackend _base;
    private readonly HostFile _file;
    private readonly ulong[]?[] _present;

    private SnapshotOverlay(IBlockBackend under, HostFile file)
    {
        _base = under;
        _file = file;
        long sectors = under.Length / IBlockBackend.SectorBytes;
        _present = new ulong[]?[(sectors + PieceSectors - 1) / PieceSectors];
    }

    /// <inheritdoc/>
    public long Length => _base.Length;

    /// <inheritdoc/>
    public bool ReadOnly => false;

    /// <summary>Puts an overlay over <paramref name="under"/>, with its temporary file in
    /// <paramref name="directory"/>. Throws <see cref="LhypeException"/> if no file can be made
    /// there.</summary>
    public static SnapshotOverlay Over(IBlockBackend under, string directory)
    {
        HostFile file = HostFile.CreateTemporary(directory);
        if (file.SetLength(under.Length) != 0)
        {
            file.Dispose();
            throw new LhypeException(
                $"A temporary file of {under.Length} bytes is too large for {directory}; set TMPDIR.");
        }

        return new SnapshotOverlay(under, file);
    }

    /// <inheritdoc/>
    public bool Read(long offset, Span<byte> destination)
    {
        while (!destination.IsEmpty)
        {
            // One host read for each run of sectors from the same side.
            long sector = offset / IBlockBackend.SectorBytes;
            bool here = IsPresent(sector);
            int bytes = IBlockBackend.SectorBytes;
            while (bytes < destination.Length && IsPresent(++sector) == here)
            {
                bytes += IBlockBackend.SectorBytes;
            }

            Span<byte> run = destination[..bytes];
            if (here ? _file.Read(offset, run) != 0 : !_base.Read(offset, run))
            {
                return false;
            }

            destination = destination[bytes..];
            offset += bytes;
        }

        return true;
    }

    /// <inheritdoc/>
    public bool Write(long offset, ReadOnlySpan<byte> source)
    {
        if (_file.Write(offset, source) != 0)
        {
            return false;
        }

        MarkPresent(offset, source.Length);
        return true;
    }

    /// <inheritdoc/>
    /// <remarks>The data is dropped when the process ends, so there is nothing to make durable.</remarks>
    public bool Flush() => true;

    /// <inheritdoc/>
    /// <remarks>Gives back temporary storage. Sectors only the disk underneath has keep their
    /// content.</remarks>
    public bool Discard(long offset, long length) =>
        _file.PunchHole(offset, length) is 0 or RawFile.NotSupported;

    /// <inheritdoc/>
    public bool WriteZeroes(long offset, long length, bool mayUnmap)
    {
        // What was never written to the temporary file, or was punched out of it, reads as zero there.
        int error = _file.PunchHole(offset, length);
        if (error != 0 && (error != RawFile.NotSupported || !ZeroPresent(offset, length)))
        {
            return false;
        }

        MarkPresent(offset, length);
        return true;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _file.Dispose();
        _base.Dispose();
    }

    private bool ZeroPresent(long offset, long length)
    {
        Span<byte> zeroes = stackalloc byte[IBlockBackend.SectorBytes];
        zeroes.Clear();
        for (long end = offset + length; offset < end; offset += zeroes.Length)
        {
            if (IsPresent(offset / IBlockBackend.SectorBytes) && _file.Write(offset, zeroes) != 0)
            {
                return false;
            }
        }

        return true;
    }

    private bool IsPresent(long sector)
    {
        ulong[]? piece = _present[sector / PieceSectors];
        int bit = (int)(sector % PieceSectors);
        return piece != null && ((piece[bit / WordSectors] >> (bit % WordSectors)) & 1) != 0;
    }

    private void MarkPresent(long offset, long length)
    {
        long sector = offset / IBlockBackend.SectorBytes;
        long end = sector + (length / IBlockBackend.SectorBytes);
        while (sector < end)
        {
            ref ulong[]? piece = ref _present[sector / PieceSectors];
            piece ??= new ulong[PieceSectors / WordSectors];
            int bit = (int)(sector % WordSectors);
            int count = (int)Math.Min(WordSectors - bit, end - sector);
            ulong mask = (ulong.MaxValue >> (WordSectors - count)) << bit;
            piece[(int)(sector % PieceSectors) / WordSectors] |= mask;
            sector += count;
        }
    }
}
