// Names for the addresses of a profile: a sorted table of symbols, wherever they come from (the kernel's own
// table in memory, the symbol table of an ELF file, a System.map). Used by GuestProfiling.

using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Text;

namespace Lhype.Machine.Profile;

/// <summary>Symbols of one program by address. Immutable.</summary>
internal sealed class SymbolTable
{
    private const int MaxSymbols = 1 << 21;

    private readonly ulong[] _addresses;
    private readonly string[] _names;

    /// <summary>Sorts <paramref name="symbols"/>; <paramref name="source"/> says where they come
    /// from.</summary>
    internal SymbolTable(string source, List<(ulong Address, string Name)> symbols)
    {
        Source = source;
        _addresses = new ulong[symbols.Count];
        _names = new string[symbols.Count];
        for (int i = 0; i < symbols.Count; i++)
        {
            (_addresses[i], _names[i]) = symbols[i];
        }

        Array.Sort(_addresses, _names);
    }

    /// <summary>Where the symbols come from, for the report.</summary>
    internal string Source { get; }

    /// <summary>Number of symbols.</summary>
    internal int Count => _names.Length;

    /// <summary>The symbol <paramref name="address"/> lies in. False before the first and from the last on,
    /// which marks the end.</summary>
    internal bool TryFind(ulong address, out string name, out ulong offset)
    {
        int at = Array.BinarySearch(_addresses, address);
        at = at < 0 ? ~at - 1 : at;
        if (at < 0 || at >= _names.Length - 1)
        {
            name = "";
            offset = 0;
            return false;
        }

        // Several names for one address: the first one, so that every look-up gives the same.
        while (at > 0 && _addresses[at - 1] == _addresses[at])
        {
            at--;
        }

        name = _names[at];
        offset = address - _addresses[at];
        return true;
    }

    /// <summary>Reads the lines "ADDRESS TYPE NAME" of a System.map; null if there are none.</summary>
    internal static SymbolTable? FromSystemMap(string source, TextReader lines)
    {
        List<(ulong, string)> symbols = [];
        while (lines.ReadLine() is { } line && symbols.Count < MaxSymbols)
        {
            string[] words = line.Split(' ');
            if (words.Length >= 3 && words[1].Length == 1 && IsCode(words[1][0])
                && ulong.TryParse(words[0], NumberStyles.HexNumber, CultureInfo.InvariantCulture,
                    out ulong address))
            {
                symbols.Add((address, words[2]));
            }
        }

        return symbols.Count > 1 ? new SymbolTable(source, symbols) : null;
    }

    /// <summary>Reads the symbol table of a 32-bit ELF file (System V ABI, chapter 4); null if it is not one,
    /// has none or is damaged.</summary>
    internal static SymbolTable? FromElf(string source, ReadOnlySpan<byte> file)
    {
        const int SectionBytes = 40, SymbolBytes = 16;
        const uint SymbolTableSection = 2;
        if (file.Length < 52 || !file.StartsWith("\u007fELF\u0001"u8))
        {
            return null;
        }

        ulong sections = BinaryPrimitives.ReadUInt32LittleEndian(file[32..]);
        int count = BinaryPrimitives.ReadUInt16LittleEndian(file[48..]);
        List<(ulong, string)> symbols = [];
        for (int i = 0; i < count; i++)
        {
            if (Slice(file, sections + ((ulong)i * SectionBytes), SectionBytes) is not { Length: > 0 } header
                || Word(header, 4) != SymbolTableSection)
            {
                continue;
            }

            ReadOnlySpan<byte> strings =
                Slice(file, sections + ((ulong)Word(header, 24) * SectionBytes), SectionBytes);
            strings = strings.IsEmpty ? [] : Slice(file, Word(strings, 16), Word(strings, 20));
            ReadOnlySpan<byte> table = Slice(file, Word(header, 16), Word(header, 20));
            for (; table.Length >= SymbolBytes && symbols.Count < MaxSymbols; table = table[SymbolBytes..])
            {
                // Functions, and the untyped labels of assembly code, in some section.
                string name = Text(strings, Word(table, 0));
                if ((table[12] & 15) is 0 or 2 && BinaryPrimitives.ReadUInt16LittleEndian(table[14..]) != 0
                    && name.Length > 0)
                {
                    symbols.Add((Word(table, 4), name));
                }
            }
        }

        return symbols.Count > 1 ? new SymbolTable(source, symbols) : null;
    }

    /// <summary>True for the letters nm(1) gives to code.</summary>
    internal static bool IsCode(char type) => type is 't' or 'T' or 'w' or 'W';

    private static uint Word(ReadOnlySpan<byte> bytes, int offset) =>
        BinaryPrimitives.ReadUInt32LittleEndian(bytes[offset..]);

    private static ReadOnlySpan<byte> Slice(ReadOnlySpan<byte> file, ulong offset, ulong length) =>
        offset <= (ulong)file.Length && length <= (ulong)file.Length - offset
            ? file.Slice((int)offset, (int)length)
            : [];

    private static string Text(ReadOnlySpan<byte> strings, uint offset)
    {
        if (offset >= strings.Length)
        {
            return "";
        }

        ReadOnlySpan<byte> text = strings[(int)offset..];
        int end = text.IndexOf((byte)0);
        return end < 0 ? "" : Encoding.ASCII.GetString(text[..end]);
    }
}
