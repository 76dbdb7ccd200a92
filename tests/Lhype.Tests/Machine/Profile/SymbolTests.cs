// Symbols for profiles: kernels' own tables written as scripts/kallsyms.c of Linux writes them, ELF symbol
// tables, System.map files, and damaged ones of each.

using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;
using Lhype.Machine.Profile;
using Xunit;

namespace Lhype.Tests.Machine.Profile;

public sealed class SymbolTests
{
    private const uint Base = 0xC100_0000;
    private const ulong LongBase = 0xFFFF_FFFF_8100_0000;

    public enum Layout
    {
        Absolute,
        Relative,
        RelativeWithSequence,
        Behind,
        RelativeFromZero,
    }

    [Theory]
    [InlineData(Layout.Absolute, 700, 32)]
    [InlineData(Layout.Relative, 700, 32)]
    [InlineData(Layout.Relative, 512, 32)]
    [InlineData(Layout.RelativeWithSequence, 700, 32)]
    [InlineData(Layout.Behind, 300, 32)]
    [InlineData(Layout.Behind, 1, 32)]
    [InlineData(Layout.Absolute, 701, 64)]
    [InlineData(Layout.Relative, 700, 64)]
    [InlineData(Layout.Relative, 512, 64)]
    [InlineData(Layout.RelativeWithSequence, 701, 64)]
    [InlineData(Layout.RelativeFromZero, 701, 64)]
    [InlineData(Layout.Behind, 301, 64)]
    public void Every_layout_of_the_kernels_own_table_is_read(Layout layout, int count, int bits)
    {
        ulong start = bits == 64 ? LongBase : Base;
        SymbolTable? table = Kallsyms.Find(KallsymsImage(layout, count, bits), bits);
        if (count == 1)
        {
            // A table with one symbol is below anything a kernel has; it may be refused.
            Assert.True(table is null or { Count: 1 });
            return;
        }

        Assert.NotNull(table);
        for (int i = 0; i < count - 1; i++)
        {
            if (i % 7 != 3)
            {
                Assert.True(table.TryFind(start + (uint)(i * 16) + 5, out string name, out ulong offset));
                Assert.Equal(($"do_{i}_call", 5UL), (name, offset));
            }
        }

        // Data is left out: the code before it goes on.
        Assert.True(table.TryFind(start + (3 * 16), out string before, out ulong distance));
        Assert.Equal(("do_2_call", 16UL), (before, distance));
        Assert.False(table.TryFind(start - 1, out _, out _));
    }

    [Theory]
    [InlineData(32)]
    [InlineData(64)]
    public void Damaged_tables_give_nothing_and_never_throw(int bits)
    {
        Random random = new(5);
        byte[] good = KallsymsImage(Layout.Relative, 700, bits);
        for (int round = 0; round < 400; round++)
        {
            byte[] bad = (byte[])good.Clone();
            for (int i = random.Next(1, 6); i > 0; i--)
            {
                bad[random.Next(bad.Length)] = (byte)random.Next(256);
            }

            _ = Kallsyms.Find(bad, bits);
            _ = Kallsyms.Find(bad.AsSpan(0, random.Next(bad.Length)), bits);
        }
    }

    [Fact]
    public void System_maps_are_read_and_placeholders_refused()
    {
        const string Map = "c1000000 T _text\nc1000010 d data\nc1000020 t start_it\nc1000040 T _etext\n";
        SymbolTable? table = SymbolTable.FromSystemMap("map", new StringReader(Map));
        Assert.NotNull(table);
        Assert.True(table.TryFind(0xC100_0021, out string name, out _));
        Assert.Equal("start_it", name);
        Assert.False(table.TryFind(0xC100_0040, out _, out _));
        const string Placeholder = "ffffffff B The real System.map is in another package\n";
        Assert.Null(SymbolTable.FromSystemMap("map", new StringReader(Placeholder)));
    }

    [Fact]
    public void Elf_symbol_tables_are_read_and_damaged_ones_never_throw()
    {
        byte[] file = ElfWithSymbols([(Base, "first"), (Base + 64, "second"), (Base + 128, "end")]);
        SymbolTable? table = SymbolTable.FromElf("elf", file);
        Assert.NotNull(table);
        Assert.True(table.TryFind(Base + 70, out string name, out ulong offset));
        Assert.Equal(("second", 6UL), (name, offset));

        Random random = new(6);
        for (int round = 0; round < 2000; round++)
        {
            byte[] bad = (byte[])file.Clone();
            bad[random.Next(bad.Length)] = (byte)random.Next(256);
            bad[random.Next(bad.Length)] = (byte)random.Next(256);
            _ = SymbolTable.FromElf("elf", bad);
            _ = SymbolTable.FromElf("elf", bad.AsSpan(0, random.Next(bad.Length)));
        }
    }

    /// <summary>Symbols 16 bytes apart, every seventh of them data, behind and before other bytes.</summary>
    private static byte[] KallsymsImage(Layout layout, int count, int bits)
    {
        List<byte> image = [.. Enumerable.Repeat((byte)0xCC, 104)];
        ulong start = bits == 64 ? LongBase : Base;
        uint[] distances = [.. Enumerable.Range(0, count).Select(i => (uint)(i * 16))];
        string[] tokens = [.. Enumerable.Range(0, 256).Select(i => i switch
        {
            1 => "do_",
            2 => "_call",
            >= '0' and <= 'z' => ((char)i).ToString(),
            _ => "x" + i,
        })];

        void Words(IEnumerable<uint> words)
        {
            foreach (uint word in words)
            {
                image.AddRange(BitConverter.GetBytes(word));
            }
        }

        void Pad() => image.AddRange(new byte[-image.Count & ((bits / 8) - 1)]);

        void Pointer(ulong value) => image.AddRange(BitConverter.GetBytes(value)[..(bits / 8)]);

        void Addresses()
        {
            if (layout == Layout.Absolute)
            {
                Array.ForEach(distances, distance => Pointer(start + distance));
                return;
            }

            Words(layout == Layout.RelativeFromZero ? distances.Select(d => uint.MaxValue - d) : distances);
            Pad();
            Pointer(start);
        }

        if (layout != Layout.Behind)
        {
            Addresses();
        }

        Words([(uint)count]);
        Pad();
        int names = image.Count;
        List<uint> markers = [];
        for (int i = 0; i < count; i++)
        {
            if (i % 256 == 0)
            {
                markers.Add((uint)(image.Count - names));
            }

            byte[] name = [(byte)(i % 7 == 3 ? 'd' : 'T'), 1, .. Encoding.ASCII.GetBytes($"{i}"), 2];
            image.Add((byte)name.Length);
            image.AddRange(name);
        }

        Pad();
        Words(markers);
        Pad();
        if (layout == Layout.RelativeWithSequence)
        {
            image.AddRange(Enumerable.Range(0, 3 * count).Select(i => (byte)(i * 5)));
            Pad();
        }

        List<byte> index = [];
        int table = image.Count;
        foreach (string token in tokens)
        {
            index.AddRange(BitConverter.GetBytes((ushort)(image.Count - table)));
            image.AddRange(Encoding.ASCII.GetBytes(token + "\0"));
        }

        Pad();
        image.AddRange(index);
        if (layout == Layout.Behind)
        {
            Addresses();
        }

        image.AddRange(Enumerable.Repeat((byte)0xCC, 100));
        return [.. image];
    }

    private static byte[] ElfWithSymbols((uint Address, string Name)[] symbols)
    {
        const int SymbolsAt = 64, StringsAt = 512, SectionsAt = 1024;
        byte[] file = new byte[SectionsAt + (3 * 40)];
        void Word(int at, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(at), value);
        "\u007fELF\u0001\u0001\u0001"u8.CopyTo(file);
        Word(32, SectionsAt);
        file[48] = 3;
        int text = StringsAt + 1;
        for (int i = 0; i < symbols.Length; i++)
        {
            int at = SymbolsAt + (i * 16);
            Word(at, (uint)(text - StringsAt));
            Word(at + 4, symbols[i].Address);
            file[at + 12] = 0x12;
            file[at + 14] = 1;
            text += Encoding.ASCII.GetBytes(symbols[i].Name, file.AsSpan(text)) + 1;
        }

        Word(SectionsAt + 40 + 4, 2);
        Word(SectionsAt + 40 + 16, SymbolsAt);
        Word(SectionsAt + 40 + 20, (uint)(symbols.Length * 16));
        Word(SectionsAt + 40 + 24, 2);
        Word(SectionsAt + 80 + 4, 3);
        Word(SectionsAt + 80 + 16, StringsAt);
        Word(SectionsAt + 80 + 20, (uint)(text - StringsAt));
        return file;
    }
}
