// One request as the driver laid it out: a chain of buffers in guest RAM, first those the device reads, then
// those it writes (virtio 1.2, 2.7.4). Virtqueue.TryPop fills a chain that the device made once and uses
// again, so taking a request allocates nothing. Every number here was written by the guest: each is copied
// once, then checked.

using System;
using System.Buffers.Binary;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Virtio;

/// <summary>The buffers of one request, with a read cursor and a write cursor.</summary>
public sealed class DescriptorChain
{
    private const int DescriptorBytes = 16;
    private const int FlagNext = 1, FlagWrite = 2, FlagIndirect = 4;

    private readonly Segment[] _segments;
    private GuestMemory? _memory;
    private int _count;
    private int _readableCount;
    private Cursor _read;
    private Cursor _write;

    /// <summary>Makes an empty chain that can hold <paramref name="capacity"/> buffers; a request with more
    /// is refused.</summary>
    public DescriptorChain(int capacity) => _segments = new Segment[capacity];

    /// <summary>Index of the first descriptor: what the used ring names the request by.</summary>
    public ushort Head { get; private set; }

    /// <summary>Total bytes the device may read.</summary>
    public ulong ReadableBytes { get; private set; }

    /// <summary>Total bytes the device may write.</summary>
    public ulong WritableBytes { get; private set; }

    /// <summary>Copies the next readable bytes and moves past them. Returns how many there were.</summary>
    public int Read(Span<byte> destination)
    {
        int done = 0;
        while (done < destination.Length)
        {
            ReadOnlySpan<byte> piece = NextReadable(destination.Length - done);
            if (piece.IsEmpty)
            {
                break;
            }

            piece.CopyTo(destination[done..]);
            Consumed(piece.Length);
            done += piece.Length;
        }

        return done;
    }

    /// <summary>The next readable bytes in one piece, at most <paramref name="maxBytes"/>; empty at the end.
    /// Use a part of it, then call <see cref="Consumed"/>. The guest may change them at any moment.</summary>
    public ReadOnlySpan<byte> NextReadable(int maxBytes) => Piece(ref _read, _readableCount, maxBytes);

    /// <summary>Moves past the first <paramref name="bytes"/> of the last
    /// <see cref="NextReadable"/>.</summary>
    public void Consumed(int bytes) => _read.Offset += (uint)bytes;

    /// <summary>Where the next bytes go, in one piece of at most <paramref name="maxBytes"/>; empty at the
    /// end. Fill a part of it, then call <see cref="Wrote"/>.</summary>
    public Span<byte> NextWritable(int maxBytes) => Piece(ref _write, _count, maxBytes);

    /// <summary>Says that the first <paramref name="bytes"/> of the last <see cref="NextWritable"/> were
    /// filled.</summary>
    public void Wrote(int bytes)
    {
        if (bytes > 0)
        {
            _memory?.Written(_segments[_write.Segment].Address + _write.Offset, (ulong)bytes);
            _write.Offset += (uint)bytes;
        }
    }

    /// <summary>Writes at the write cursor and moves it. Returns how many bytes found room.</summary>
    public int Write(ReadOnlySpan<byte> source)
    {
        int done = 0;
        while (done < source.Length)
        {
            Span<byte> piece = NextWritable(source.Length - done);
            if (piece.IsEmpty)
            {
                break;
            }

            source.Slice(done, piece.Length).CopyTo(piece);
            Wrote(piece.Length);
            done += piece.Length;
        }

        return done;
    }

    /// <summary>Writes a byte at <paramref name="offset"/> from the first writable one, without moving the
    /// cursor. False if the chain is shorter.</summary>
    public bool WriteAt(uint offset, byte value)
    {
        for (int i = _readableCount; i < _count && _memory != null; i++)
        {
            Segment segment = _segments[i];
            if (offset < segment.Length)
            {
                return _memory.TryWrite(segment.Address + offset, new ReadOnlySpan<byte>(in value));
            }

            offset -= segment.Length;
        }

        return false;
    }

    /// <summary>Writes the very last writable byte, where several devices keep their status, without moving
    /// the cursor. False if the chain has no writable byte.</summary>
    public bool WriteLast(byte value)
    {
        if (_count == _readableCount || _memory == null)
        {
            return false;
        }

        Segment last = _segments[_count - 1];
        return _memory.TryWrite(last.Address + last.Length - 1, new ReadOnlySpan<byte>(in value));
    }

    /// <summary>Walks the descriptors from <paramref name="head"/>. Returns null, or what is wrong with
    /// them.</summary>
    internal string? Load(GuestMemory memory, ulong table, int tableSize, ushort head, bool indirectAllowed)
    {
        Clear(memory, head);
        Span<byte> raw = stackalloc byte[DescriptorBytes];
        bool indirect = false;
        int index = head;

        // Each table allows as many steps as it has entries: one more proves a loop.
        for (int steps = 0; ; steps++)
        {
            if (index >= tableSize)
            {
                return "a descriptor index is outside its table";
            }

            if (steps == tableSize)
            {
                return "a descriptor chain loops";
            }

            if (!memory.TryRead(table + ((ulong)index * DescriptorBytes), raw))
            {
                return "a descriptor table is not in RAM";
            }

            ulong address = BinaryPrimitives.ReadUInt64LittleEndian(raw);
            uint length = BinaryPrimitives.ReadUInt32LittleEndian(raw[8..]);
            int flags = BinaryPrimitives.ReadUInt16LittleEndian(raw[12..]);
            index = BinaryPrimitives.ReadUInt16LittleEndian(raw[14..]);

            if ((flags & FlagIndirect) != 0)
            {
                // 2.7.5.3: once, last, a whole number of entries; the write flag of this descriptor means
                // nothing.
                if (indirect || !indirectAllowed || (flags & FlagNext) != 0)
                {
                    return "an indirect descriptor stands where none may";
                }

                if (length == 0 || length % DescriptorBytes != 0
                    || length / DescriptorBytes > _segments.Length || !memory.Contains(address, length))
                {
                    return "an indirect descriptor table has a bad size or address";
                }

                indirect = true;
                table = address;
                tableSize = (int)(length / DescriptorBytes);
                index = 0;
                steps = -1;
                continue;
            }

            string? wrong = Add(memory, address, length, (flags & FlagWrite) != 0);
            if (wrong != null || (flags & FlagNext) == 0)
            {
                return wrong;
            }
        }
    }

    private void Clear(GuestMemory memory, ushort head)
    {
        _memory = memory;
        Head = head;
        _count = 0;
        _readableCount = 0;
        ReadableBytes = 0;
        WritableBytes = 0;
        _read = default;
        _write = default;
    }

    private string? Add(GuestMemory memory, ulong address, uint length, bool writable)
    {
        if (length == 0 || !memory.Contains(address, length))
        {
            return "a buffer is empty or not in RAM";
        }

        if (_count == _segments.Length)
        {
            return "a descriptor chain is longer than the queue";
        }

        if (writable)
        {
            WritableBytes += length;
        }
        else if (_readableCount != _count)
        {
            return "a readable buffer follows a writable one";
        }
        else
        {
            ReadableBytes += length;
            _readableCount++;
            _write.Segment = _readableCount;
        }

        _segments[_count++] = new Segment(address, length);
        return null;
    }

    private Span<byte> Piece(ref Cursor cursor, int end, int maxBytes)
    {
        if (cursor.Segment < end && cursor.Offset == _segments[cursor.Segment].Length)
        {
            cursor.Segment++;
            cursor.Offset = 0;
        }

        if (cursor.Segment >= end || _memory == null)
        {
            return default;
        }

        Segment segment = _segments[cursor.Segment];
        int length = (int)Math.Min((uint)maxBytes, segment.Length - cursor.Offset);
        ulong address = segment.Address + cursor.Offset;
        return _memory.TryGetSpan(address, length, out Span<byte> piece) ? piece : default;
    }

    private readonly record struct Segment(ulong Address, uint Length);

    private struct Cursor
    {
        internal int Segment;
        internal uint Offset;
    }
}
