// What a disk device needs from the thing that holds its bytes. Implemented by RawFile and SnapshotOverlay;
// called by VirtioBlock. A failed call is a disk error the guest is told of, so it is a value, not an
// exception.

using System;

namespace Lhype.Machine.Block;

/// <summary>The bytes of one disk. Offsets and lengths are in bytes, multiples of 512 and inside the disk:
/// the caller has checked them.</summary>
public interface IBlockBackend : IDisposable
{
    /// <summary>Bytes in a sector, the unit of everything here.</summary>
    const int SectorBytes = 512;

    /// <summary>Size of the disk, a multiple of <see cref="SectorBytes"/>.</summary>
    long Length { get; }

    /// <summary>True if nothing may be written.</summary>
    bool ReadOnly { get; }

    /// <summary>Fills <paramref name="destination"/> from <paramref name="offset"/>. False: the host could
    /// not.</summary>
    bool Read(long offset, Span<byte> destination);

    /// <summary>Writes <paramref name="source"/> at <paramref name="offset"/>. False: the host could
    /// not.</summary>
    bool Write(long offset, ReadOnlySpan<byte> source);

    /// <summary>Makes all earlier writes durable. False: the host could not.</summary>
    bool Flush();

    /// <summary>The guest no longer needs these bytes; they may read as anything until written.</summary>
    bool Discard(long offset, long length);

    /// <summary>Makes these bytes read as zero; with <paramref name="mayUnmap"/> their storage may be given
    /// back.</summary>
    bool WriteZeroes(long offset, long length, bool mayUnmap);
}
