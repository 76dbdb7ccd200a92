// The cpio writer against the format's rules, and against the host's own cpio reader where there is one.

using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Text;
using Lhype.Images;
using Xunit;

namespace Lhype.Tests.Images;

public sealed class CpioArchiveTests
{
    [Fact]
    public void Entries_follow_the_newc_layout()
    {
        List<Entry> entries = Read(Build(archive =>
        {
            archive.AddFile("a/b/file", "hello"u8, executable: true);
            archive.AddSymlink("link", "a/b/file");
            archive.AddCharacterDevice("dev/console", 5, 1);
            archive.AddFile("a/empty", "");
        }));

        string[] names = ["a", "a/b", "a/b/file", "link", "dev", "dev/console", "a/empty", "TRAILER!!!"];
        Assert.Equal(names, entries.Select(entry => entry.Name));
        Assert.Equal(0x41ED, entries[0].Mode);
        Assert.Equal(0x81ED, entries[2].Mode);
        Assert.Equal("hello", entries[2].Content);
        Assert.Equal(0xA1FF, entries[3].Mode);
        Assert.Equal("a/b/file", entries[3].Content);
        Assert.Equal(0x2180, entries[5].Mode);
        Assert.Equal((5, 1), (entries[5].Major, entries[5].Minor));
        Assert.Equal(0x81A4, entries[6].Mode);
    }

    [Fact]
    public void Inodes_are_distinct_so_that_nothing_becomes_a_hard_link()
    {
        List<Entry> entries = Read(Build(archive =>
        {
            for (int index = 0; index < 50; index++)
            {
                archive.AddFile($"file{index}", "x");
            }
        }));
        Assert.Equal(50, entries.SkipLast(1).Select(entry => entry.Inode).Distinct().Count());
    }

    [Fact]
    public void Equal_contents_give_equal_bytes()
    {
        static void fill(CpioArchive archive) => archive.AddFile("bin/x", "content", executable: true);
        Assert.Equal(Build(fill), Build(fill));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(4097)]
    public void Contents_of_any_length_are_padded(int length)
    {
        string content = new('z', length);
        List<Entry> entries = Read(Build(archive =>
        {
            archive.AddFile("name", content);
            archive.AddFile("next", "n");
        }));
        Assert.Equal(content, entries[0].Content);
        Assert.Equal("n", entries[1].Content);
    }

    private static byte[] Build(Action<CpioArchive> fill)
    {
        using MemoryStream output = new();
        using (CpioArchive archive = new(output))
        {
            fill(archive);
        }

        return output.ToArray();
    }

    private static List<Entry> Read(byte[] bytes)
    {
        List<Entry> entries = [];
        int position = 0;
        while (position < bytes.Length)
        {
            string header = Encoding.ASCII.GetString(bytes, position, 110);
            Assert.StartsWith("070701", header, StringComparison.Ordinal);
            int nameLength = Field(header, 11);
            int length = Field(header, 6);
            string name = Encoding.UTF8.GetString(bytes, position + 110, nameLength - 1);
            int content = Align(position + 110 + nameLength);
            entries.Add(new Entry(name, Field(header, 0), Field(header, 1),
                Encoding.UTF8.GetString(bytes, content, length), Field(header, 9), Field(header, 10)));
            position = Align(content + length);
        }

        Assert.Equal(bytes.Length, position);
        return entries;
    }

    private static int Align(int position) => (position + 3) & ~3;

    private static int Field(string header, int index) =>
        int.Parse(header.AsSpan(6 + (8 * index), 8), NumberStyles.HexNumber, CultureInfo.InvariantCulture);

    private sealed record Entry(string Name, int Inode, int Mode, string Content, int Major, int Minor);
}
