// MSI-X (PCI Local Bus 3.0, 6.8.2): the table of messages and the pending bits, in a BAR of their own. The
// transport fires vectors; a masked one stays pending until the guest unmasks it.

using System.IO;
using Lhype.Machine.Bus;
using Lhype.Machine.Pci;

namespace Lhype.Machine.Virtio;

/// <summary>An MSI-X table of up to 64 vectors with its pending bit array.</summary>
internal sealed class MsixTable : IMmioDevice, ISaveable
{
    /// <summary>Length of the BAR that holds table and pending bits.</summary>
    internal const uint BarLength = 0x1000;

    /// <summary>Where the pending bits begin in the BAR.</summary>
    internal const uint PendingOffset = 0x800;

    private const int WordsPerEntry = 4;
    private const uint Masked = 1;

    private readonly IPciInterrupts _interrupts;
    private readonly uint[] _words;
    private ulong _pending;

    internal MsixTable(int vectors, IPciInterrupts interrupts)
    {
        _interrupts = interrupts;
        Vectors = vectors;
        _words = new uint[vectors * WordsPerEntry];
        Reset();
    }

    /// <summary>Number of vectors.</summary>
    internal int Vectors { get; }

    /// <summary>MSI-X Enable of the capability's message control.</summary>
    internal bool Enabled { get; private set; }

    /// <summary>Function Mask of the capability's message control.</summary>
    internal bool FunctionMasked { get; private set; }

    /// <summary>Sends a vector's message, or remembers it while masked. Unknown vectors send
    /// nothing.</summary>
    internal void Fire(int vector)
    {
        if (vector >= Vectors || !Enabled)
        {
            return;
        }

        int entry = vector * WordsPerEntry;
        if (FunctionMasked || (_words[entry + 3] & Masked) != 0)
        {
            _pending |= 1UL << vector;
            return;
        }

        // A message outside the interrupt range would be a plain store to memory (SDM vol. 3, 11.11.1), which
        // no driver wants from a device; it is dropped.
        if (_words[entry + 1] == 0 && _words[entry] >> 20 == 0xFEE)
        {
            _interrupts.SendMessage(_words[entry], _words[entry + 2]);
        }
    }

    /// <summary>The guest wrote message control.</summary>
    internal void SetControl(bool enabled, bool functionMasked)
    {
        Enabled = enabled;
        FunctionMasked = functionMasked;
        FirePending();
    }

    internal void Reset()
    {
        Enabled = FunctionMasked = false;
        _pending = 0;
        for (int i = 0; i < _words.Length; i++)
        {
            _words[i] = i % WordsPerEntry == 3 ? Masked : 0;
        }
    }

    /// <inheritdoc/>
    public ulong ReadMmio(ulong offset, int size)
    {
        ulong value = ReadWord(offset & ~3UL) | ((ulong)ReadWord((offset & ~3UL) + 4) << 32);
        value >>= (int)(offset & 3) * 8;
        return size == 8 ? value : value & (ulong.MaxValue >> (64 - (8 * size)));
    }

    /// <inheritdoc/>
    public void WriteMmio(ulong offset, int size, ulong value)
    {
        // Only whole, aligned words are defined.
        if ((offset & 3) != 0 || size < 4)
        {
            return;
        }

        WriteWord(offset, (uint)value);
        if (size == 8)
        {
            WriteWord(offset + 4, (uint)(value >> 32));
        }

        FirePending();
    }

    /// <inheritdoc/>
    public void Save(BinaryWriter writer)
    {
        foreach (uint word in _words)
        {
            writer.Write(word);
        }

        writer.Write(_pending);
        writer.Write(Enabled);
        writer.Write(FunctionMasked);
    }

    /// <inheritdoc/>
    public void Restore(BinaryReader reader)
    {
        for (int i = 0; i < _words.Length; i++)
        {
            _words[i] = reader.ReadUInt32();
        }

        _pending = reader.ReadUInt64() & ((1UL << Vectors) - 1);
        Enabled = reader.ReadBoolean();
        FunctionMasked = reader.ReadBoolean();
    }

    private uint ReadWord(ulong offset)
    {
        ulong index = offset / 4;
        return index < (ulong)_words.Length ? _words[index]
            : offset == PendingOffset ? (uint)_pending
            : offset == PendingOffset + 4 ? (uint)(_pending >> 32)
            : 0;
    }

    private void WriteWord(ulong offset, uint value)
    {
        ulong index = offset / 4;
        if (index < (ulong)_words.Length)
        {
            _words[index] = (index % WordsPerEntry) switch
            {
                0 => value & ~3U,
                3 => value & Masked,
                _ => value,
            };
        }
    }

    private void FirePending()
    {
        for (int vector = 0; _pending != 0 && Enabled && !FunctionMasked && vector < Vectors; vector++)
        {
            if (((_pending >> vector) & 1) != 0 && (_words[(vector * WordsPerEntry) + 3] & Masked) == 0)
            {
                _pending &= ~(1UL << vector);
                Fire(vector);
            }
        }
    }
}
