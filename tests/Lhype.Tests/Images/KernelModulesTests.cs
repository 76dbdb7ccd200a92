// Module dependencies read from modules themselves: made-up ELF files with a .modinfo section, good and
// damaged.

using System;
using System.Buffers.Binary;
using System.IO;
using System.Linq;
using System.Text;
using Lhype.Host;
using Lhype.Images;
using Xunit;

namespace Lhype.Tests.Images;

public sealed class KernelModulesTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("lhype-test-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public void Closure_lists_what_is_needed_first()
    {
        Add("kernel/fs/ext4.ko", "depends=jbd2,mbcache\0alias=fs-ext4\0");
        Add("kernel/fs/jbd2.ko", "depends=\0");
        Add("kernel/fs/mbcache.ko", "depends=crc-16\0");
        Add("kernel/lib/crc-16.ko", "depends=\0");
        Add("kernel/other.ko", "depends=ext4\0");
        var closure = new KernelModules(_directory).Closure(["ext4", "jbd2"]);
        Assert.Equal(["jbd2", "crc_16", "mbcache", "ext4"], closure.Select(module => module.Name));
        Assert.Equal(["fs-ext4"], closure[3].Aliases);
        Assert.Equal("kernel/lib/crc-16.ko", closure[1].Path);
    }

    [Fact]
    public void Built_in_modules_are_left_out_and_missing_ones_named()
    {
        Add("kernel/a.ko", "depends=b\0");
        File.WriteAllText(Path.Combine(_directory, "modules.builtin"), "kernel/lib/b.ko\n");
        KernelModules modules = new(_directory);
        Assert.Equal(["a"], modules.Closure(["a", "b"]).Select(module => module.Name));
        LhypeException error = Assert.Throws<LhypeException>(() => modules.Closure(["c"]));
        Assert.Contains(" c,", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Circles_end()
    {
        Add("a.ko", "depends=b\0");
        Add("b.ko", "depends=a\0");
        Assert.Equal(2, new KernelModules(_directory).Closure(["a"]).Count);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Modinfo_is_read_from_both_classes(bool wide) =>
        Assert.Equal("depends=x\0", KernelModules.ModuleInfo(Elf("depends=x\0", wide)));

    [Fact]
    public void Damaged_files_never_throw()
    {
        byte[] good = Elf("depends=x\0", wide: true);
        for (int length = 0; length < good.Length; length++)
        {
            _ = KernelModules.ModuleInfo(good.AsSpan(0, length));
        }

        for (int position = 0; position < good.Length; position++)
        {
            byte[] damaged = [.. good];
            damaged[position] = 0xFF;
            _ = KernelModules.ModuleInfo(damaged);
        }
    }

    private void Add(string path, string info)
    {
        string file = Path.Combine(_directory, path);
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        File.WriteAllBytes(file, Elf(info, wide: false));
    }

    /// <summary>An ELF object with a section name table and a .modinfo section.</summary>
    private static byte[] Elf(string info, bool wide)
    {
        int headerSize = wide ? 64 : 52;
        int entrySize = wide ? 64 : 40;
        byte[] names = Encoding.ASCII.GetBytes("\0.shstrtab\0.modinfo\0");
        byte[] content = Encoding.ASCII.GetBytes(info);
        byte[] elf = new byte[headerSize + (3 * entrySize) + names.Length + content.Length];
        "\x7F"u8.CopyTo(elf);
        "ELF"u8.CopyTo(elf.AsSpan(1));
        elf[4] = (byte)(wide ? 2 : 1);
        Word(elf, wide ? 0x28 : 0x20, (uint)headerSize);
        int fields = wide ? 0x3A : 0x2E;
        elf[fields] = (byte)entrySize;
        elf[fields + 2] = 3;
        elf[fields + 4] = 1;

        int namesAt = headerSize + (3 * entrySize);
        int contentAt = namesAt + names.Length;
        Section(elf, headerSize + entrySize, 1, namesAt, names.Length, wide);
        Section(elf, headerSize + (2 * entrySize), 11, contentAt, content.Length, wide);
        names.CopyTo(elf, namesAt);
        content.CopyTo(elf, contentAt);
        return elf;
    }

    private static void Section(byte[] elf, int at, uint name, int offset, int size, bool wide)
    {
        Word(elf, at, name);
        Word(elf, at + (wide ? 0x18 : 0x10), (uint)offset);
        Word(elf, at + (wide ? 0x20 : 0x14), (uint)size);
    }

    private static void Word(byte[] elf, int at, uint value) =>
        BinaryPrimitives.WriteUInt32LittleEndian(elf.AsSpan(at), value);
}
