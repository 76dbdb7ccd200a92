// Dialect A's struct lguest_dma, 100 bytes in guest RAM: used_len, up to 16 addresses, up to 16 lengths (0
// ends the list). It describes what a guest sends, or a buffer it has bound for receiving. Used by DmaBus and
// its devices, which load the same object again and again.

using System;
using System.Buffers.Binary;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Paravirt.Lguest;

/// <summary>The pieces of guest RAM of one DMA structure, checked when loaded.</summary>
internal sealed class DmaList
{
    /// <summary>Bytes of the structure.</summary>
    internal const int StructureBytes = 100;

    /// <summary>The most bytes a list can describe.</summary>
    internal const int MaxBytes = Sections * PageBytes;

    private const int Sections = 16;
    private const int PageBytes = 4096;
    private const int AddressesOffset = 4;
    private const int LengthsOffset = AddressesOffset + (4 * Sections);

    private readonly GuestMemory _memory;
    private readonly uint[] _addresses = new uint[Sections];
    private readonly int[] _lengths = new int[Sections];
    private int _count;

    internal DmaList(GuestMemory memory) => _memory = memory;

    /// <summary>Bytes of all pieces together.</summary>
    internal int TotalBytes { get; private set; }

    /// <summary>Reads the structure at <paramref name="address"/>. Returns null, or what is wrong with
    /// it.</summary>
    internal string? Load(uint address)
    {
        _count = 0;
        TotalBytes = 0;
        Span<byte> raw = stackalloc byte[StructureBytes];
        if (!_memory.TryRead(address, raw))
        {
            return "a DMA structure is not in RAM";
        }

        for (int i = 0; i < Sections; i++)
        {
            int length = BinaryPrimitives.ReadUInt16LittleEndian(raw[(LengthsOffset + (2 * i))..]);
            if (length == 0)
            {
                break;
            }

            uint at = BinaryPrimitives.ReadUInt32LittleEndian(raw[(AddressesOffset + (4 * i))..]);
            if ((at % PageBytes) + length > PageBytes)
            {
                return "a piece of a DMA structure crosses a page";
            }

            if (!_memory.Contains(at, (ulong)length))
            {
                return "a piece of a DMA structure is not in RAM";
            }

            _addresses[i] = at;
            _lengths[i] = length;
            _count = i + 1;
            TotalBytes += length;
        }

        return null;
    }

    /// <summary>The pieces, for a device that takes them as they are.</summary>
    internal int Count => _count;

    /// <summary>Piece <paramref name="index"/> as it is in guest RAM.</summary>
    internal ReadOnlySpan<byte> Piece(int index) =>
        _memory.TryGetSpan(_addresses[index], _lengths[index], out Span<byte> piece) ? piece : default;

    /// <summary>Copies from guest RAM until either side is at its end. Returns the bytes copied.</summary>
    internal int Gather(Span<byte> destination)
    {
        int done = 0;
        for (int i = 0; i < _count && done < destination.Length; i++)
        {
            int length = Math.Min(_lengths[i], destination.Length - done);
            _memory.TryRead(_addresses[i], destination.Slice(done, length));
            done += length;
        }

        return done;
    }

    /// <summary>Copies to guest RAM until either side is at its end. Returns the bytes copied.</summary>
    internal int Scatter(ReadOnlySpan<byte> source)
    {
        int done = 0;
        for (int i = 0; i < _count && done < source.Length; i++)
        {
            int length = Math.Min(_lengths[i], source.Length - done);
            _memory.TryWrite(_addresses[i], source.Slice(done, length));
            done += length;
        }

        return done;
    }
}
