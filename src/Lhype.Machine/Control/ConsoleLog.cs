// The last words of a guest's console, for viewers that attach later or read slowly. The vCPU's thread
// appends and never waits or locks; each viewer's thread reads at its own position, and one that falls too
// far behind loses bytes, never the guest time. One log per console of a domain; it outlives resets.

using System;
using System.Threading;

namespace Lhype.Machine.Control;

/// <summary>A ring of what a console printed, with one writer and any number of readers.</summary>
public sealed class ConsoleLog
{
    /// <summary>Bytes a new reader gets to see of what was printed before.</summary>
    public const int ScrollBackBytes = 64 << 10;

    // Twice what is promised, so that a reader has time to copy before the writer comes round.
    private const int Capacity = 2 * ScrollBackBytes;

    // The writer fills at most this much ahead of the published head.
    private const int MaxPiece = 4096;

    private readonly byte[] _ring = new byte[Capacity];
    private ConsoleReader[] _readers = [];      // replaced as a whole
    private long _head;                         // bytes ever appended

    /// <summary>Number of readers now.</summary>
    public int ReaderCount => Volatile.Read(ref _readers).Length;

    /// <summary>Bytes ever appended.</summary>
    internal long Head => Volatile.Read(ref _head);

    /// <summary>From the vCPU's thread: the guest printed <paramref name="bytes"/>.</summary>
    public void Append(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            int at = (int)(_head % Capacity);
            int count = Math.Min(Math.Min(bytes.Length, MaxPiece), Capacity - at);
            bytes[..count].CopyTo(_ring.AsSpan(at));
            Volatile.Write(ref _head, _head + count);
            bytes = bytes[count..];
        }

        // A full barrier between the store of the head and the look at who rests; readers have its mirror
        // image.
        Interlocked.MemoryBarrier();
        foreach (ConsoleReader reader in Volatile.Read(ref _readers))
        {
            reader.WakeIfResting();
        }
    }

    /// <summary>From any thread: a reader that begins with the scroll-back.</summary>
    public ConsoleReader OpenReader()
    {
        ConsoleReader reader = new(this, Math.Max(0, Head - ScrollBackBytes));
        Change(readers => [.. readers, reader]);
        return reader;
    }

    internal void Remove(ConsoleReader reader) => Change(readers => Array.FindAll(readers, r => r != reader));

    /// <summary>Copies from <paramref name="position"/> on, as much as there is and fits. Returns the count;
    /// -1 if those bytes are gone.</summary>
    internal int Copy(long position, Span<byte> destination)
    {
        int count = (int)Math.Min(Head - position, destination.Length);
        int at = (int)(position % Capacity);
        int first = Math.Min(count, Capacity - at);
        if (count < 0 || count > Capacity)
        {
            return -1;
        }

        _ring.AsSpan(at, first).CopyTo(destination);
        _ring.AsSpan(0, count - first).CopyTo(destination[first..]);

        // Good only if the writer cannot have come round to these bytes meanwhile.
        Interlocked.MemoryBarrier();
        return Head + MaxPiece - position <= Capacity ? count : -1;
    }

    private void Change(Func<ConsoleReader[], ConsoleReader[]> change)
    {
        ConsoleReader[] old;
        do
        {
            old = Volatile.Read(ref _readers);
        }
        while (Interlocked.CompareExchange(ref _readers, change(old), old) != old);
    }
}
