// Finds and decodes the symbol table that a Linux kernel carries for its own use (CONFIG_KALLSYMS): stock
// kernels come without any other. It is found by its shape, in memory or in an unpacked image. Used by
// GuestProfiling.
//
// The table (scripts/kallsyms.c and kernel/kallsyms.c of Linux) is made of these arrays, each aligned to the
// size of a pointer. A name is a length and that many bytes, each of which stands for a piece of text in the
// token table; its first letter is the type.
//
//   up to 6.3:   offsets relative_base num_syms names markers [seqs_of_names] token_table token_index
//   from 6.4:    num_syms names markers token_table token_index offsets relative_base
//   up to 4.5, and without CONFIG_KALLSYMS_BASE_RELATIVE: addresses in place of offsets and relative_base
//
// seqs_of_names (3 bytes for each symbol) came with 6.2 and with later releases of 6.1. Where variables of
// each CPU are numbered from zero (x86-64 up to 6.14), an offset that is not negative is an address of its
// own and all others count down from relative_base - 1.

using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Text;

namespace Lhype.Machine.Profile;

/// <summary>The kallsyms tables of a kernel.</summary>
internal static class Kallsyms
{
    private const int Tokens = 256;
    private const int SymbolsPerMarker = 256;
    private const int MaxNameBytes = 600;
    private const int MaxSymbols = 1 << 20;

    /// <summary>Memory is the guest's: it could hold any number of token tables without names.</summary>
    private const int MaxAttempts = 8;

    private const ulong KernelHalf = 0xFFFF_8000_0000_0000;

    /// <summary>Finds the tables in <paramref name="image"/>, where pointers have <paramref name="bits"/> (32
    /// or 64); null if there are none.</summary>
    internal static SymbolTable? Find(ReadOnlySpan<byte> image, int bits)
    {
        int pointer = bits / 8;
        // Digits stand for themselves in every kernel: the tokens '0' to '9' follow each other.
        ReadOnlySpan<byte> digits =
            "0\u00001\u00002\u00003\u00004\u00005\u00006\u00007\u00008\u00009\u0000"u8;
        int attempts = 0;
        for (int from = 0; from < image.Length && attempts < MaxAttempts;)
        {
            int found = image[from..].IndexOf(digits);
            if (found < 0)
            {
                return null;
            }

            if (FromDigits(image, from + found, pointer, ref attempts) is { } table)
            {
                return table;
            }

            from += found + 1;
        }

        return null;
    }

    private static SymbolTable? FromDigits(
        ReadOnlySpan<byte> image, int zero, int pointer, ref int attempts)
    {
        // The rest of the token table, then its index, which says where the table starts.
        int at = zero;
        for (int token = '0'; token < Tokens; token++)
        {
            int length = image[at..Math.Min(image.Length, at + 256)].IndexOf((byte)0);
            if (length <= 0)
            {
                return null;
            }

            at += length + 1;
        }

        int index = Align(at, pointer);
        if (index + (2 * Tokens) > image.Length)
        {
            return null;
        }

        int tokens = zero - UInt16(image, index + (2 * '0'));
        if (tokens < 0 || UInt16(image, index) != 0 || !IndexMatches(image, tokens, index))
        {
            return null;
        }

        attempts++;
        int count = FindNames(image, tokens, pointer, out int names);
        if (count == 0)
        {
            return null;
        }

        ulong[]? addresses = AddressesBehind(image, index + (2 * Tokens), count, pointer)
            ?? AddressesBefore(image, names - pointer, count, pointer);
        return addresses is null ? null : Decode(image, names, tokens, index, addresses);
    }

    private static bool IndexMatches(ReadOnlySpan<byte> image, int tokens, int index)
    {
        for (int token = 1; token < Tokens; token++)
        {
            int start = tokens + UInt16(image, index + (2 * token));
            if (start >= index || image[start - 1] != 0)
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Returns the number of symbols and where their names start; 0 if they are not there. The
    /// markers stand right before the token table, or before 3 bytes for each symbol that do.</summary>
    private static int FindNames(ReadOnlySpan<byte> image, int tokens, int pointer, out int names)
    {
        names = 0;
        for (int count = 1; count <= MaxSymbols; count++)
        {
            int groups = (count + SymbolsPerMarker - 1) / SymbolsPerMarker;
            int behind = tokens - Align(groups * 4, pointer);
            bool whole = count % SymbolsPerMarker == 0;
            int found = whole && AreMarkers(image, behind, groups)
                ? FindNames(image, behind, groups, exactly: 0, pointer, out names)
                : 0;
            int before = behind - Align(3 * count, pointer);
            if (found == 0 && AreMarkers(image, before, groups))
            {
                found = FindNames(image, before, groups, count, pointer, out names);
            }

            if (found != 0)
            {
                return found;
            }
        }

        return 0;
    }

    /// <summary>Offsets of every 256th name, from 0 up.</summary>
    private static bool AreMarkers(ReadOnlySpan<byte> image, int markers, int groups)
    {
        if (markers < 8 || UInt32(image, markers) != 0)
        {
            return false;
        }

        for (int i = 1; i < groups; i++)
        {
            uint step = UInt32(image, markers + (4 * i)) - UInt32(image, markers + (4 * i) - 4);
            if (step is < SymbolsPerMarker or > SymbolsPerMarker * MaxNameBytes)
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>The names end at the markers; behind the last marker there are at most 256 of them. Their
    /// number stands before them.</summary>
    private static int FindNames(
        ReadOnlySpan<byte> image, int markers, int groups, int exactly, int pointer, out int names)
    {
        int last = (int)UInt32(image, markers + (4 * groups) - 4);
        int latest = Align(markers - last, pointer);
        int earliest = Math.Max(pointer, latest - (SymbolsPerMarker * MaxNameBytes));
        for (names = latest; names >= earliest; names -= pointer)
        {
            uint count = UInt32(image, names - pointer);
            if (count > (groups - 1) * SymbolsPerMarker && count <= groups * SymbolsPerMarker
                && (exactly == 0 || count == exactly)
                && NamesMatch(image, names, (int)count, markers, pointer))
            {
                return (int)count;
            }
        }

        return 0;
    }

    private static bool NamesMatch(
        ReadOnlySpan<byte> image, int names, int count, int markers, int pointer)
    {
        int at = names;
        for (int symbol = 0; symbol < count; symbol++)
        {
            if (symbol % SymbolsPerMarker == 0
                && at - names != UInt32(image, markers + (symbol / SymbolsPerMarker * 4)))
            {
                return false;
            }

            int length = NameLength(image, ref at);
            if (length == 0 || at + length > markers)
            {
                return false;
            }

            at += length;
        }

        return Align(at, pointer) == markers;
    }

    /// <summary>Since 6.1 a length of 128 or more takes two bytes.</summary>
    private static int NameLength(ReadOnlySpan<byte> image, ref int at)
    {
        int length = image[at++];
        return (length & 0x80) == 0 ? length : (length & 0x7F) | (image[at++] << 7);
    }

    private static ulong[]? AddressesBehind(ReadOnlySpan<byte> image, int offsets, int count, int pointer)
    {
        long relativeBase = offsets + Align(4 * count, pointer);
        return relativeBase + pointer <= image.Length
            ? Relative(image, offsets, count, (int)relativeBase, pointer)
            : null;
    }

    private static ulong[]? AddressesBefore(
        ReadOnlySpan<byte> image, int numberOfSymbols, int count, int pointer)
    {
        int relativeBase = numberOfSymbols - pointer;
        int offsets = relativeBase - Align(4 * count, pointer);
        return offsets < 0 ? null
            : Relative(image, offsets, count, relativeBase, pointer)
                ?? Absolute(image, numberOfSymbols - (pointer * count), count, pointer);
    }

    private static ulong[]? Relative(
        ReadOnlySpan<byte> image, int offsets, int count, int relativeBase, int pointer)
    {
        ulong start = Pointer(image, relativeBase, pointer);
        ulong[] addresses = new ulong[count];
        bool fromZero = pointer == 8 && (int)UInt32(image, offsets + (4 * count) - 4) < 0;
        for (int i = 0; i < count; i++)
        {
            uint offset = UInt32(image, offsets + (4 * i));
            addresses[i] = !fromZero ? start + offset
                : (int)offset >= 0 ? offset : start - 1 - (ulong)(long)(int)offset;
        }

        return IsKernel(addresses, pointer) ? addresses : null;
    }

    private static ulong[]? Absolute(ReadOnlySpan<byte> image, int at, int count, int pointer)
    {
        ulong[] addresses = new ulong[count];
        for (int i = 0; i < count && at >= 0; i++)
        {
            addresses[i] = Pointer(image, at + (pointer * i), pointer);
        }

        return IsKernel(addresses, pointer) ? addresses : null;
    }

    /// <summary>True if the addresses rise and the last is in the kernel's half. Of a 64-bit kernel the first
    /// may count from zero.</summary>
    private static bool IsKernel(ulong[] addresses, int pointer)
    {
        for (int i = 1; i < addresses.Length; i++)
        {
            if (addresses[i] < addresses[i - 1])
            {
                return false;
            }
        }

        return pointer == 8 ? addresses[^1] >= KernelHalf
            : addresses[0] >= 0x4000_0000 && addresses[^1] <= uint.MaxValue;
    }

    private static SymbolTable Decode(
        ReadOnlySpan<byte> image, int names, int tokens, int index, ulong[] addresses)
    {
        List<(ulong, string)> symbols = [];
        StringBuilder name = new();
        int at = names;
        foreach (ulong address in addresses)
        {
            int length = NameLength(image, ref at);
            name.Clear();
            for (int end = at + length; at < end; at++)
            {
                int token = tokens + UInt16(image, index + (2 * image[at]));
                for (; image[token] != 0; token++)
                {
                    name.Append((char)image[token]);
                }
            }

            if (name.Length > 1 && SymbolTable.IsCode(name[0]))
            {
                symbols.Add((address, name.ToString(1, name.Length - 1)));
            }
        }

        return new SymbolTable("the kernel's own table (kallsyms)", symbols);
    }

    private static int Align(int offset, int size) => (offset + size - 1) & -size;

    private static int UInt16(ReadOnlySpan<byte> image, int offset) =>
        BinaryPrimitives.ReadUInt16LittleEndian(image[offset..]);

    private static ulong Pointer(ReadOnlySpan<byte> image, int offset, int size) => size == 8
        ? BinaryPrimitives.ReadUInt64LittleEndian(image[offset..])
        : UInt32(image, offset);

    private static uint UInt32(ReadOnlySpan<byte> image, int offset) =>
        BinaryPrimitives.ReadUInt32LittleEndian(image[offset..]);
}
