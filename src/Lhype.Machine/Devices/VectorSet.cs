// A set of interrupt vectors: the local APIC's 256-bit IRR, ISR and TMR. A struct of four words, so that
// finding the highest member is a handful of instructions and nothing is allocated.

using System.IO;
using System.Numerics;

namespace Lhype.Machine.Devices;

/// <summary>A set of vectors 0-255.</summary>
internal struct VectorSet
{
    private ulong _bits0;
    private ulong _bits1;
    private ulong _bits2;
    private ulong _bits3;

    /// <summary>The highest vector in the set, -1 if it is empty.</summary>
    public readonly int Highest()
    {
        if ((_bits2 | _bits3) != 0)
        {
            return _bits3 != 0 ? 255 - BitOperations.LeadingZeroCount(_bits3)
                : 191 - BitOperations.LeadingZeroCount(_bits2);
        }

        return _bits1 != 0 ? 127 - BitOperations.LeadingZeroCount(_bits1)
            : 63 - BitOperations.LeadingZeroCount(_bits0);
    }

    public readonly bool Contains(int vector) => (Quarter(vector >> 6) >> (vector & 63) & 1) != 0;

    public void Set(int vector) => Put(vector >> 6, Quarter(vector >> 6) | (1ul << (vector & 63)));

    public void Clear(int vector) => Put(vector >> 6, Quarter(vector >> 6) & ~(1ul << (vector & 63)));

    /// <summary>Vectors 32n to 32n+31 as the guest reads them.</summary>
    public readonly uint Word(int index) => (uint)(Quarter(index >> 1) >> ((index & 1) * 32));

    public readonly void Save(BinaryWriter writer)
    {
        for (int i = 0; i < 4; i++)
        {
            writer.Write(Quarter(i));
        }
    }

    public void Restore(BinaryReader reader)
    {
        for (int i = 0; i < 4; i++)
        {
            Put(i, reader.ReadUInt64());
        }
    }

    private readonly ulong Quarter(int index) => index switch
    {
        0 => _bits0,
        1 => _bits1,
        2 => _bits2,
        _ => _bits3,
    };

    private void Put(int index, ulong value)
    {
        switch (index)
        {
            case 0:
                _bits0 = value;
                break;
            case 1:
                _bits1 = value;
                break;
            case 2:
                _bits2 = value;
                break;
            default:
                _bits3 = value;
                break;
        }
    }
}
