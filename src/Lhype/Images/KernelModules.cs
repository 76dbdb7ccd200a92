// The loadable modules of a kernel, in its unpacked package or installed: which module needs which, in what
// order to load them, and what devices they answer to. Debian ships no modules.dep (depmod writes it at
// installation), so this reads the source depmod reads as well: the .modinfo section of each module (Linux
// include/linux/module.h, MODULE_INFO). Used by Initramfs.

using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using System.Text;
using Lhype.Host;

namespace Lhype.Images;

/// <summary>One module, ready to be put in an initramfs.</summary>
/// <param name="Name">Its name, with underscores.</param>
/// <param name="Path">Path below the version directory, without <c>.xz</c>.</param>
/// <param name="Content">The ELF file, unpacked.</param>
/// <param name="Depends">Names of the modules that must be loaded before.</param>
/// <param name="Aliases">Patterns of device and feature names that ask for this module.</param>
internal sealed record KernelModule(
    string Name, string Path, byte[] Content, IReadOnlyList<string> Depends, IReadOnlyList<string> Aliases);

/// <summary>The modules below one <c>lib/modules/VERSION</c> directory.</summary>
internal sealed class KernelModules
{
    private readonly string _directory;
    private readonly Dictionary<string, string> _pathByName = [];
    private readonly HashSet<string> _builtIn = [];

    /// <summary>The kernel's release, as <c>uname -r</c> prints it.</summary>
    public string Release => Path.GetFileName(_directory);

    /// <summary>Lists the modules below <paramref name="directory"/>; reads none yet.</summary>
    public KernelModules(string directory)
    {
        _directory = directory;
        foreach (string file in Directory.EnumerateFiles(directory, "*.ko*", SearchOption.AllDirectories))
        {
            string path = Path.GetRelativePath(directory, file);
            if (path.EndsWith(".ko", StringComparison.Ordinal)
                || path.EndsWith(".ko.xz", StringComparison.Ordinal))
            {
                _pathByName[NameOf(path)] = path;
            }
        }

        string builtIn = Path.Combine(directory, "modules.builtin");
        foreach (string line in File.Exists(builtIn) ? File.ReadAllLines(builtIn) : [])
        {
            _builtIn.Add(NameOf(line));
        }
    }

    /// <summary>True if the kernel has <paramref name="name"/>, as a module or built in.</summary>
    public bool Has(string name) => _pathByName.ContainsKey(name) || _builtIn.Contains(name);

    /// <summary>The modules named and all they depend on, each after those it needs. Names built into the
    /// kernel are left out. Throws <see cref="LhypeException"/> for a module the kernel has in neither
    /// form.</summary>
    public IReadOnlyList<KernelModule> Closure(IEnumerable<string> names)
    {
        List<KernelModule> ordered = [];
        HashSet<string> seen = [];
        foreach (string name in names)
        {
            Visit(name.Replace('-', '_'), seen, ordered);
        }

        return ordered;
    }

    private void Visit(string name, HashSet<string> seen, List<KernelModule> ordered)
    {
        if (!seen.Add(name) || _builtIn.Contains(name))
        {
            return;
        }

        if (!_pathByName.TryGetValue(name, out string? path))
        {
            throw new LhypeException(
                $"The kernel in {_directory} has no module {name}, which its guests need.");
        }

        KernelModule module = Read(name, path);
        foreach (string needed in module.Depends)
        {
            Visit(needed, seen, ordered);
        }

        ordered.Add(module);
    }

    private KernelModule Read(string name, string path)
    {
        byte[] content = path.EndsWith(".xz", StringComparison.Ordinal)
            ? Unpack(path)
            : File.ReadAllBytes(Path.Combine(_directory, path));
        path = path.EndsWith(".xz", StringComparison.Ordinal) ? path[..^3] : path;
        List<string> depends = [];
        List<string> aliases = [];
        foreach (string entry in ModuleInfo(content).Split('\0', StringSplitOptions.RemoveEmptyEntries))
        {
            int equals = entry.IndexOf('=');
            string value = entry[(equals + 1)..];
            switch (equals < 0 ? "" : entry[..equals])
            {
                case "depends":
                    string[] needed = value.Split(',', StringSplitOptions.RemoveEmptyEntries);
                    depends.AddRange(Array.ConvertAll(needed, item => item.Replace('-', '_')));
                    break;
                case "alias":
                    aliases.Add(value);
                    break;
            }
        }

        return new KernelModule(name, path, content, depends, aliases);
    }

    private byte[] Unpack(string path)
    {
        // xz replaces its file, and an installed module is not ours to replace.
        string directory = Directory.CreateTempSubdirectory("lhype-").FullName;
        try
        {
            string copy = Path.Combine(directory, "module.ko.xz");
            File.Copy(Path.Combine(_directory, path), copy);
            HostProgramResult unpacked = HostProgram.Run("xz", ["-d", copy]);
            return unpacked.ExitCode == 0
                ? File.ReadAllBytes(copy[..^3])
                : throw new LhypeException(
                    $"The kernel module {path} cannot be unpacked: {unpacked.Reason}.");
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    /// <summary>The .modinfo section of an ELF object, 32- or 64-bit, little-endian; empty when there is
    /// none.</summary>
    internal static string ModuleInfo(ReadOnlySpan<byte> elf)
    {
        if (elf.Length < 64 || !elf.StartsWith("\x7F"u8) || !elf[1..].StartsWith("ELF"u8))
        {
            return "";
        }

        bool wide = elf[4] == 2;
        ulong table = wide
            ? BinaryPrimitives.ReadUInt64LittleEndian(elf[0x28..])
            : BinaryPrimitives.ReadUInt32LittleEndian(elf[0x20..]);
        int fields = wide ? 0x3A : 0x2E;
        int entrySize = BinaryPrimitives.ReadUInt16LittleEndian(elf[fields..]);
        int count = BinaryPrimitives.ReadUInt16LittleEndian(elf[(fields + 2)..]);
        int namesIndex = BinaryPrimitives.ReadUInt16LittleEndian(elf[(fields + 4)..]);

        ReadOnlySpan<byte> names = Section(elf, table, entrySize, namesIndex, wide, out _);
        for (int index = 0; index < count; index++)
        {
            ReadOnlySpan<byte> section = Section(elf, table, entrySize, index, wide, out uint name);
            if (name < names.Length && names[(int)name..].StartsWith(".modinfo\0"u8))
            {
                return Encoding.UTF8.GetString(section);
            }
        }

        return "";
    }

    /// <summary>Section <paramref name="index"/>'s bytes and name offset; empty when the header lies
    /// outside.</summary>
    private static ReadOnlySpan<byte> Section(
        ReadOnlySpan<byte> elf, ulong table, int entrySize, int index, bool wide, out uint name)
    {
        name = uint.MaxValue;
        ulong header = table + ((ulong)index * (ulong)entrySize);
        if (entrySize < (wide ? 64 : 40) || header > (ulong)elf.Length
            || (ulong)elf.Length - header < (ulong)entrySize)
        {
            return [];
        }

        ReadOnlySpan<byte> entry = elf[(int)header..];
        name = BinaryPrimitives.ReadUInt32LittleEndian(entry);
        ulong offset = wide
            ? BinaryPrimitives.ReadUInt64LittleEndian(entry[0x18..])
            : BinaryPrimitives.ReadUInt32LittleEndian(entry[0x10..]);
        ulong size = wide
            ? BinaryPrimitives.ReadUInt64LittleEndian(entry[0x20..])
            : BinaryPrimitives.ReadUInt32LittleEndian(entry[0x14..]);
        bool inside = offset <= (ulong)elf.Length && size <= (ulong)elf.Length - offset;
        return inside ? elf.Slice((int)offset, (int)size) : [];
    }

    private static string NameOf(string path)
    {
        string file = Path.GetFileName(path);
        int dot = file.IndexOf(".ko", StringComparison.Ordinal);
        return (dot < 0 ? file : file[..dot]).Replace('-', '_');
    }
}
