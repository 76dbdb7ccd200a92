// A bounded queue of bytes that allocates nothing after it is made: serial FIFOs and the 8042's output
// buffer.

using System.IO;

namespace Lhype.Machine.Devices;

/// <summary>First in, first out, of at most a fixed number of bytes.</summary>
internal sealed class ByteRing
{
    private readonly byte[] _bytes;
    private int _first;

    public ByteRing(int capacity) => _bytes = new byte[capacity];

    public int Count { get; private set; }

    public bool TryAdd(byte value)
    {
        if (Count == _bytes.Length)
        {
            return false;
        }

        _bytes[(_first + Count) % _bytes.Length] = value;
        Count++;
        return true;
    }

    public bool TryTake(out byte value)
    {
        value = _bytes[_first];
        if (Count == 0)
        {
            return false;
        }

        _first = (_first + 1) % _bytes.Length;
        Count--;
        return true;
    }

    public void Clear() => Count = 0;

    /// <summary>Puts this queue's bytes in front of another's, as far as they fit, and empties this
    /// one.</summary>
    public void ReturnTo(ByteRing source)
    {
        while (Count != 0 && source.Count != source._bytes.Length)
        {
            Count--;
            source._first = (source._first + source._bytes.Length - 1) % source._bytes.Length;
            source._bytes[source._first] = _bytes[(_first + Count) % _bytes.Length];
            source.Count++;
        }

        Count = 0;
    }

    public void Save(BinaryWriter writer)
    {
        writer.Write(Count);
        for (int i = 0; i < Count; i++)
        {
            writer.Write(_bytes[(_first + i) % _bytes.Length]);
        }
    }

    public void Restore(BinaryReader reader)
    {
        int count = reader.ReadInt32();
        if (count < 0 || count > _bytes.Length)
        {
            throw new InvalidDataException("A saved byte queue is longer than the device's.");
        }

        _first = 0;
        Count = count;
        for (int i = 0; i < count; i++)
        {
            _bytes[i] = reader.ReadByte();
        }
    }
}
