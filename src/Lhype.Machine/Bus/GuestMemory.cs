// How devices reach guest RAM: by guest-physical address and length, always bounds-checked, never by pointer.
// Writes tell the engine, so that code a device overwrites (a disk read into a page that held code) is
// translated again.

using System;
using System.Buffers.Binary;
using Lhype.Host;

namespace Lhype.Machine.Bus;

/// <summary>Bounds-checked access to guest RAM for devices and loaders. All addresses are
/// guest-physical.</summary>
public sealed class GuestMemory
{
    private readonly GuestRam _ram;
    private readonly Action<ulong, ulong> _written;

    /// <summary>Wraps <paramref name="ram"/>; <paramref name="written"/> is called with (gpa, length) after
    /// every write, on the thread that wrote.</summary>
    public GuestMemory(GuestRam ram, Action<ulong, ulong> written)
    {
        _ram = ram;
        _written = written;
    }

    /// <summary>RAM size in bytes.</summary>
    public ulong Size => _ram.Size;

    /// <summary>RAM below the PCI hole in bytes.</summary>
    public ulong LowSize => _ram.LowSize;

    /// <summary>RAM from 4 GiB up in bytes.</summary>
    public ulong HighSize => _ram.HighSize;

    /// <summary>True if the whole range is RAM.</summary>
    public bool Contains(ulong gpa, ulong length) => _ram.Contains(gpa, length);

    /// <summary>Copies RAM into <paramref name="destination"/>; false (nothing copied) if any byte is not
    /// RAM.</summary>
    public bool TryRead(ulong gpa, Span<byte> destination)
    {
        if (!_ram.TryGetSpan(gpa, destination.Length, out Span<byte> source))
        {
            return false;
        }

        source.CopyTo(destination);
        return true;
    }

    /// <summary>Copies <paramref name="source"/> into RAM; false (nothing written) if any byte is not
    /// RAM.</summary>
    public bool TryWrite(ulong gpa, ReadOnlySpan<byte> source)
    {
        if (!_ram.TryGetSpan(gpa, source.Length, out Span<byte> destination))
        {
            return false;
        }

        source.CopyTo(destination);
        _written(gpa, (ulong)source.Length);
        return true;
    }

    /// <summary>A window on RAM that a host read (file to guest) fills directly; call <see cref="Written"/>
    /// after.</summary>
    public bool TryGetSpan(ulong gpa, int length, out Span<byte> span) =>
        _ram.TryGetSpan(gpa, length, out span);

    /// <summary>Reports a write made through <see cref="TryGetSpan"/>.</summary>
    public void Written(ulong gpa, ulong length) => _written(gpa, length);

    /// <summary>Reads a little-endian 16-bit value.</summary>
    public bool TryReadUInt16(ulong gpa, out ushort value)
    {
        bool ok = _ram.TryGetSpan(gpa, 2, out Span<byte> span);
        value = ok ? BinaryPrimitives.ReadUInt16LittleEndian(span) : (ushort)0;
        return ok;
    }

    /// <summary>Reads a little-endian 32-bit value.</summary>
    public bool TryReadUInt32(ulong gpa, out uint value)
    {
        bool ok = _ram.TryGetSpan(gpa, 4, out Span<byte> span);
        value = ok ? BinaryPrimitives.ReadUInt32LittleEndian(span) : 0;
        return ok;
    }

    /// <summary>Reads a little-endian 64-bit value.</summary>
    public bool TryReadUInt64(ulong gpa, out ulong value)
    {
        bool ok = _ram.TryGetSpan(gpa, 8, out Span<byte> span);
        value = ok ? BinaryPrimitives.ReadUInt64LittleEndian(span) : 0;
        return ok;
    }

    /// <summary>Writes a little-endian 16-bit value.</summary>
    public bool TryWriteUInt16(ulong gpa, ushort value)
    {
        Span<byte> bytes = stackalloc byte[2];
        BinaryPrimitives.WriteUInt16LittleEndian(bytes, value);
        return TryWrite(gpa, bytes);
    }

    /// <summary>Writes a little-endian 32-bit value.</summary>
    public bool TryWriteUInt32(ulong gpa, uint value)
    {
        Span<byte> bytes = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        return TryWrite(gpa, bytes);
    }

    /// <summary>Writes a little-endian 64-bit value.</summary>
    public bool TryWriteUInt64(ulong gpa, ulong value)
    {
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        return TryWrite(gpa, bytes);
    }
}
