// One direction between two ports of a hub: a ring of frames in the shared file, with one writer and one
// reader in different processes. Each side keeps its own position in private memory and only publishes it;
// what the other side publishes is checked, so a scribbled ring loses frames and then works again. A writer
// that dies in the middle of a frame has not moved its position, so nobody ever sees that frame.
//
// A frame is a 16-byte record header (length, FrameHeader) and its bytes, padded to a multiple of 16.

using System;
using System.Buffers.Binary;
using Lhype.Host;

namespace Lhype.Machine.Net;

/// <summary>What came of an access to a ring.</summary>
internal enum RingResult
{
    /// <summary>A frame was written or read.</summary>
    Done,
    /// <summary>No room to write, or nothing to read.</summary>
    Nothing,
    /// <summary>The file is broken.</summary>
    Gone,
}

/// <summary>What both sides share.</summary>
internal abstract class HubRing
{
    /// <summary>Alignment of frames, and bytes of the header before each.</summary>
    protected const int RecordBytes = 16;

    /// <summary>Wraps the ring at <paramref name="start"/>.</summary>
    protected HubRing(SharedFile file, long start)
    {
        File = file;
        Start = start;
    }

    /// <summary>The file.</summary>
    protected SharedFile File { get; }

    /// <summary>Where the ring is in it.</summary>
    protected long Start { get; }

    /// <summary>Bytes a frame takes.</summary>
    protected static uint Size(int frameBytes) =>
        RecordBytes + (((uint)frameBytes + RecordBytes - 1) & ~(uint)(RecordBytes - 1));

    /// <summary>Where the data of a position is.</summary>
    protected long Data(ulong position) =>
        Start + HubLayout.RingHeaderBytes + (long)(position % HubLayout.RingCapacity);

    /// <summary>Bytes from there to the end of the ring.</summary>
    protected static int Run(ulong position) =>
        HubLayout.RingCapacity - (int)(position % HubLayout.RingCapacity);
}

/// <summary>The sender's side of a ring.</summary>
internal sealed class RingWriter : HubRing
{
    private ulong _head;
    private ulong _tail;

    /// <summary>Continues where an earlier owner of the port stopped; <paramref name="exists"/> is false if
    /// the file does not reach as far yet.</summary>
    internal RingWriter(SharedFile file, long start, bool exists) : base(file, start)
    {
        if (exists && file.TryLoad(start + HubLayout.HeadOffset, out ulong head))
        {
            _head = head & ~(ulong)(RecordBytes - 1);
        }

        _tail = _head;
    }

    /// <summary>Appends a frame, if there is room.</summary>
    internal RingResult Write(in FrameHeader header, ReadOnlySpan<byte> frame)
    {
        uint size = Size(frame.Length);
        if (HubLayout.RingCapacity - (_head - _tail) < size)
        {
            if (!File.TryLoad(Start + HubLayout.TailOffset, out ulong tail))
            {
                return RingResult.Gone;
            }

            // Nonsense counts as no news. If it is the receiver's own, it follows a head that somebody
            // scribbled, and finds back only if it hears of the true one.
            if (_head - tail <= HubLayout.RingCapacity)
            {
                _tail = tail;
            }
            else if (!File.TryStore(Start + HubLayout.HeadOffset, _head))
            {
                return RingResult.Gone;
            }

            if (HubLayout.RingCapacity - (_head - _tail) < size)
            {
                return RingResult.Nothing;
            }
        }

        Span<byte> record = stackalloc byte[RecordBytes];
        record.Clear();
        BinaryPrimitives.WriteInt32LittleEndian(record, frame.Length);
        header.Write(record[4..]);
        ulong body = _head + RecordBytes;
        int run = Math.Min(frame.Length, Run(body));
        bool good = File.TryWrite(Data(_head), record)
            && File.TryWrite(Data(body), frame[..run])
            && (run == frame.Length || File.TryWrite(Data(body + (uint)run), frame[run..]));
        _head += size;
        return good && File.TryStore(Start + HubLayout.HeadOffset, _head) ? RingResult.Done : RingResult.Gone;
    }
}

/// <summary>The receiver's side of a ring.</summary>
internal sealed class RingReader : HubRing
{
    private ulong _tail;
    private ulong _head;
    private uint _size;

    /// <summary>Skips what was meant for an earlier owner of the port; <paramref name="exists"/> is false if
    /// the file does not reach as far yet.</summary>
    internal RingReader(SharedFile file, long start, bool exists) : base(file, start)
    {
        if (exists && file.TryLoad(start + HubLayout.HeadOffset, out ulong head))
        {
            Skip(head);
        }
    }

    /// <summary>Copies the next frame into <paramref name="buffer"/>, of
    /// <see cref="INetworkBackend.MaxFrame"/> bytes. The same one until <see cref="Advance"/>.</summary>
    internal RingResult Read(Span<byte> buffer, out FrameHeader header, out int length)
    {
        header = default;
        length = 0;
        if (_head == _tail)
        {
            if (!File.TryLoad(Start + HubLayout.HeadOffset, out ulong head))
            {
                return RingResult.Gone;
            }

            if (head - _tail > HubLayout.RingCapacity || head % RecordBytes != 0)
            {
                return Skip(head);
            }

            _head = head;
            if (_head == _tail)
            {
                return RingResult.Nothing;
            }
        }

        Span<byte> record = stackalloc byte[RecordBytes];
        if (!File.TryRead(Data(_tail), record))
        {
            return RingResult.Gone;
        }

        length = BinaryPrimitives.ReadInt32LittleEndian(record);
        if (length is < INetworkBackend.MinFrame or > INetworkBackend.MaxFrame
            || Size(length) > _head - _tail)
        {
            return Skip(_head);
        }

        header = FrameHeader.Read(record[4..]);
        _size = Size(length);
        ulong body = _tail + RecordBytes;
        int run = Math.Min(length, Run(body));
        bool good = File.TryRead(Data(body), buffer[..run])
            && (run == length || File.TryRead(Data(body + (uint)run), buffer[run..length]));
        return good ? RingResult.Done : RingResult.Gone;
    }

    /// <summary>Moves past the frame that was read. False: the file is broken.</summary>
    internal bool Advance()
    {
        _tail += _size;
        return File.TryStore(Start + HubLayout.TailOffset, _tail);
    }

    /// <summary>Tells the writer again how far this side is. False: the file is broken.</summary>
    internal bool Publish() => File.TryStore(Start + HubLayout.TailOffset, _tail);

    private RingResult Skip(ulong head)
    {
        _tail = _head = head & ~(ulong)(RecordBytes - 1);
        return Publish() ? RingResult.Nothing : RingResult.Gone;
    }
}
