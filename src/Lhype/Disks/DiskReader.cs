// Reads pieces of a disk image for the parsers of this folder. An image is hostile input: a read that leaves
// the disk is answered with false, never with an exception. Made by DiskLayout.

using System;
using System.IO;

namespace Lhype.Disks;

/// <summary>Checked reads of a disk image, or of a part of one. Offsets and lengths in bytes.</summary>
internal readonly struct DiskReader
{
    private readonly Stream _image;
    private readonly long _start;

    /// <summary>The whole of <paramref name="image"/>, which must be able to seek.</summary>
    public DiskReader(Stream image) : this(image, 0, image.Length)
    {
    }

    private DiskReader(Stream image, long start, long length)
    {
        _image = image;
        _start = start;
        Length = length;
    }

    /// <summary>Bytes that can be read.</summary>
    public long Length { get; }

    /// <summary>A reader of <paramref name="length"/> bytes from <paramref name="start"/>, less if the disk
    /// ends before.</summary>
    public DiskReader Part(ulong start, ulong length)
    {
        ulong from = Math.Min(start, (ulong)Length);
        return new DiskReader(_image, _start + (long)from, (long)Math.Min(length, (ulong)Length - from));
    }

    /// <summary>Fills <paramref name="bytes"/> from <paramref name="offset"/>; false if they are not all
    /// there.</summary>
    public bool TryRead(ulong offset, Span<byte> bytes)
    {
        if (offset > (ulong)Length || (ulong)bytes.Length > (ulong)Length - offset)
        {
            return false;
        }

        _image.Position = _start + (long)offset;
        return _image.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false) == bytes.Length;
    }
}
