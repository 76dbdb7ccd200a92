// An Ethernet address. Cards have one, hub ports publish it, --net mac= gives it; without that it follows
// from the domain's ID or name, so that a guest keeps its address across restarts.

using System;
using System.Globalization;

namespace Lhype.Machine.Net;

/// <summary>A 48-bit Ethernet address.</summary>
/// <param name="Bits">The six bytes, the first as the most significant of 48 bits.</param>
public readonly record struct MacAddress(ulong Bits)
{
    /// <summary>Bytes of an address.</summary>
    public const int Bytes = 6;

    /// <summary>Every station.</summary>
    public static MacAddress Broadcast => new(0xFFFF_FFFF_FFFF);

    /// <summary>True for broadcast and multicast.</summary>
    public bool IsGroup => (Bits & 0x0100_0000_0000) != 0;

    /// <summary>True if a card can have it: not a group, not zero.</summary>
    public bool IsStation => !IsGroup && Bits != 0;

    /// <summary>Reads the first six bytes of <paramref name="source"/>.</summary>
    public static MacAddress Read(ReadOnlySpan<byte> source)
    {
        ulong bits = 0;
        for (int i = 0; i < Bytes; i++)
        {
            bits = (bits << 8) | source[i];
        }

        return new MacAddress(bits);
    }

    /// <summary>Writes the six bytes to the start of <paramref name="destination"/>.</summary>
    public void Write(Span<byte> destination)
    {
        for (int i = 0; i < Bytes; i++)
        {
            destination[i] = (byte)(Bits >> (40 - (8 * i)));
        }
    }

    /// <summary>Reads <c>02:00:00:01:00:00</c>; false if <paramref name="text"/> is not the address of a
    /// station.</summary>
    public static bool TryParse(string text, out MacAddress address)
    {
        string[] parts = text.Split(':');
        ulong bits = 0;
        bool good = parts.Length == Bytes;
        foreach (string part in parts)
        {
            good &= part.Length is 1 or 2
                & byte.TryParse(part, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture,
                    out byte value);
            bits = (bits << 8) | value;
        }

        address = new MacAddress(good ? bits : 0);
        return address.IsStation;
    }

    /// <summary>The address of card number <paramref name="card"/> of the domain <paramref name="identity"/>
    /// (its ID or name), locally administered. A number below 65536 shows in it, as it did with lguest:
    /// 02:00:ID:ID:00:card.</summary>
    public static MacAddress ForDomain(string identity, int card)
    {
        if (ushort.TryParse(identity, NumberStyles.None, CultureInfo.InvariantCulture, out ushort number))
        {
            return new MacAddress(0x0200_0000_0000 | ((ulong)number << 16) | (uint)(card & 0xFF));
        }

        // FNV-1a, folded to 32 bits; 0A keeps clear of the numbered ones.
        ulong hash = 0xCBF29CE484222325;
        foreach (char letter in identity)
        {
            hash = (hash ^ letter) * 0x100000001B3;
        }

        return new MacAddress(
            0x0A00_0000_0000 | ((ulong)(uint)(hash ^ (hash >> 32)) << 8) | (uint)(card & 0xFF));
    }

    /// <summary>The usual form, <c>02:00:00:01:00:00</c>.</summary>
    public override string ToString()
    {
        Span<byte> bytes = stackalloc byte[Bytes];
        Write(bytes);
        return string.Create(CultureInfo.InvariantCulture,
            $"{bytes[0]:x2}:{bytes[1]:x2}:{bytes[2]:x2}:{bytes[3]:x2}:{bytes[4]:x2}:{bytes[5]:x2}");
    }
}
