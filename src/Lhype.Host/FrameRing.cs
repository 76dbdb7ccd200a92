// Ethernet frames on their way from one thread to another: a bounded ring in one piece of memory, without
// locks and without an allocation per frame. A full ring refuses frames, as a busy network does. SlirpStack
// has one for each direction between its own thread and the vCPU's.

using System;
using System.Buffers.Binary;
using System.Numerics;
using System.Threading;

namespace Lhype.Host;

/// <summary>A bounded queue of frames from one writing thread to one reading thread.</summary>
public sealed class FrameRing
{
    // A record is a length and the frame, padded to a multiple of 4 and never split by the end of the ring;
    // where it would be, this mark sends the reader back to the start.
    private const int HeaderBytes = 4;
    private const uint Wrap = uint.MaxValue;

    private readonly byte[] _bytes;
    private uint _head;         // written by the writer, counts bytes ever stored (wraps)
    private uint _reserved;     // of the writer: bytes to add to the head
    private uint _tail;         // written by the reader, counts bytes ever taken (wraps)

    /// <summary>A ring of <paramref name="capacity"/> bytes, a power of two.</summary>
    public FrameRing(int capacity)
    {
        Invariant.Check(capacity >= 64 && BitOperations.IsPow2(capacity),
            "the capacity of a frame ring is a power of two");
        _bytes = GC.AllocateUninitializedArray<byte>(capacity, pinned: true);
    }

    /// <summary>Length of the longest frame the ring takes; longer ones are refused.</summary>
    public int MaxFrame => _bytes.Length / 4;

    /// <summary>True if nothing waits. Exact on the reading thread; elsewhere it may be outdated at
    /// once.</summary>
    public bool IsEmpty => Volatile.Read(ref _head) == Volatile.Read(ref _tail);

    /// <summary>On the writing thread: queues a copy of <paramref name="frame"/>. False if there is no
    /// room.</summary>
    public bool TryWrite(ReadOnlySpan<byte> frame)
    {
        if (!TryReserve(frame.Length, out Span<byte> room))
        {
            return false;
        }

        frame.CopyTo(room);
        Publish();
        return true;
    }

    /// <summary>On the writing thread: room for a frame of <paramref name="length"/> bytes, to be filled and
    /// then queued by <see cref="Publish"/>. False if there is none.</summary>
    public bool TryReserve(int length, out Span<byte> room)
    {
        room = default;
        if (length <= 0 || length > MaxFrame)
        {
            return false;
        }

        int start = (int)(_head & (uint)(_bytes.Length - 1));
        int record = HeaderBytes + ((length + 3) & ~3);
        int skipped = record > _bytes.Length - start ? _bytes.Length - start : 0;
        uint free = (uint)_bytes.Length - (_head - Volatile.Read(ref _tail));
        if ((uint)(skipped + record) > free)
        {
            return false;
        }

        if (skipped != 0)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(_bytes.AsSpan(start), Wrap);
            start = 0;
        }

        BinaryPrimitives.WriteUInt32LittleEndian(_bytes.AsSpan(start), (uint)length);
        room = _bytes.AsSpan(start + HeaderBytes, length);
        _reserved = (uint)(skipped + record);
        return true;
    }

    /// <summary>On the writing thread: queues the frame that was reserved last.</summary>
    public void Publish()
    {
        Volatile.Write(ref _head, _head + _reserved);
        _reserved = 0;
    }

    /// <summary>On the reading thread: the oldest frame, which stays good until
    /// <see cref="Consume"/>.</summary>
    public bool TryPeek(out ReadOnlySpan<byte> frame)
    {
        if (_tail == Volatile.Read(ref _head))
        {
            frame = default;
            return false;
        }

        int start = (int)(_tail & (uint)(_bytes.Length - 1));
        uint length = BinaryPrimitives.ReadUInt32LittleEndian(_bytes.AsSpan(start));
        if (length == Wrap)
        {
            // The record at the start of the ring was published together with the mark.
            Volatile.Write(ref _tail, _tail + (uint)(_bytes.Length - start));
            start = 0;
            length = BinaryPrimitives.ReadUInt32LittleEndian(_bytes);
        }

        frame = _bytes.AsSpan(start + HeaderBytes, (int)length);
        return true;
    }

    /// <summary>On the reading thread: drops the frame <see cref="TryPeek"/> showed.</summary>
    public void Consume()
    {
        int start = (int)(_tail & (uint)(_bytes.Length - 1));
        uint length = BinaryPrimitives.ReadUInt32LittleEndian(_bytes.AsSpan(start));
        Volatile.Write(ref _tail, _tail + HeaderBytes + ((length + 3) & ~3u));
    }
}
