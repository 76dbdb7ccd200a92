// Reads fields of a kernel image at checked offsets. Images are hostile input: an offset past the end is a
// user error told in one sentence, not an index exception. Used by every parser in this folder.

using System;
using System.Buffers.Binary;
using Lhype.Host;

namespace Lhype.Machine.Boot;

/// <summary>Checked little-endian access to an image. All offsets are bytes from its start.</summary>
internal readonly ref struct ImageReader
{
    private readonly ReadOnlySpan<byte> _bytes;
    private readonly string _name;

    /// <summary>Wraps <paramref name="bytes"/>; <paramref name="name"/> is the file as the user gave
    /// it.</summary>
    public ImageReader(ReadOnlySpan<byte> bytes, string name)
    {
        _bytes = bytes;
        _name = name;
    }

    /// <summary>Reads a byte.</summary>
    public byte Byte(ulong offset) => Slice(offset, 1)[0];

    /// <summary>Reads 16 bits.</summary>
    public ushort UInt16(ulong offset) => BinaryPrimitives.ReadUInt16LittleEndian(Slice(offset, 2));

    /// <summary>Reads 32 bits.</summary>
    public uint UInt32(ulong offset) => BinaryPrimitives.ReadUInt32LittleEndian(Slice(offset, 4));

    /// <summary>Reads 64 bits.</summary>
    public ulong UInt64(ulong offset) => BinaryPrimitives.ReadUInt64LittleEndian(Slice(offset, 8));

    /// <summary>The bytes at <paramref name="offset"/>; throws LhypeException if the image ends
    /// before.</summary>
    public ReadOnlySpan<byte> Slice(ulong offset, ulong length)
    {
        if (offset > (ulong)_bytes.Length || length > (ulong)_bytes.Length - offset)
        {
            throw Truncated(_name, (ulong)_bytes.Length);
        }

        return _bytes.Slice((int)offset, (int)length);
    }

    /// <summary>The error for an image that ends too early.</summary>
    public static LhypeException Truncated(string name, ulong length) =>
        new($"The kernel {name} is truncated: it refers to data beyond its {length} bytes; fetch it again.");
}
