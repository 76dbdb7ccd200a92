// Writes a cpio archive in the "newc" form, the one the kernel's initramfs unpacker reads (Linux
// Documentation/driver-api/early-userspace/buffer-format.rst). Used by Initramfs. Owner is always root and
// the time stamp zero, so that equal contents give equal bytes.

using System;
using System.Collections.Generic;
using System.IO;
using System.Text;
using Lhype.Host;

namespace Lhype.Images;

/// <summary>A cpio archive being written; <see cref="Dispose"/> adds the trailer.</summary>
internal sealed class CpioArchive : IDisposable
{
    private const int DirectoryType = 0x4000;
    private const int CharacterDeviceType = 0x2000;
    private const int RegularType = 0x8000;
    private const int SymlinkType = 0xA000;

    private readonly Stream _output;
    private readonly HashSet<string> _directories = [];
    private long _position;
    private uint _inode;
    private bool _finished;

    /// <summary>Starts an archive on <paramref name="output"/>, which stays open at the end.</summary>
    public CpioArchive(Stream output) => _output = output;

    /// <summary>Adds a directory (mode 0755) and the directories above it; does nothing when it is
    /// there.</summary>
    public void AddDirectory(string path)
    {
        if (_directories.Contains(path))
        {
            return;
        }

        AddParents(path);
        _directories.Add(path);
        AddEntry(path, DirectoryType | 0x1ED, [], 0, 0);
    }

    /// <summary>Adds a regular file, executable or not. Paths are relative: <c>bin/busybox</c>.</summary>
    public void AddFile(string path, ReadOnlySpan<byte> content, bool executable = false)
    {
        AddParents(path);
        AddEntry(path, RegularType | (executable ? 0x1ED : 0x1A4), content, 0, 0);
    }

    /// <summary>Adds a text file with the given lines as they are.</summary>
    public void AddFile(string path, string text, bool executable = false) =>
        AddFile(path, Encoding.UTF8.GetBytes(text), executable);

    /// <summary>Adds a symbolic link.</summary>
    public void AddSymlink(string path, string target)
    {
        AddParents(path);
        AddEntry(path, SymlinkType | 0x1FF, Encoding.UTF8.GetBytes(target), 0, 0);
    }

    /// <summary>Adds a character device, mode 0600.</summary>
    public void AddCharacterDevice(string path, int major, int minor)
    {
        AddParents(path);
        AddEntry(path, CharacterDeviceType | 0x180, [], major, minor);
    }

    /// <summary>Writes the trailer; the archive is complete.</summary>
    public void Dispose()
    {
        if (!_finished)
        {
            _finished = true;
            _inode = 0;
            WriteHeader("TRAILER!!!", 0, 0, 0, 0);
            _output.Flush();
        }
    }

    private void AddParents(string path)
    {
        int slash = path.LastIndexOf('/');
        if (slash > 0)
        {
            AddDirectory(path[..slash]);
        }
    }

    private void AddEntry(string path, int mode, ReadOnlySpan<byte> content, int major, int minor)
    {
        _inode++;
        WriteHeader(path, mode, content.Length, major, minor);
        Write(content);
        Pad();
    }

    /// <summary>Header: 110 ASCII bytes, thirteen 8-digit hexadecimal fields after the magic, then the name
    /// with its zero byte, padded to four bytes.</summary>
    private void WriteHeader(string name, int mode, int length, int major, int minor)
    {
        byte[] nameBytes = Encoding.UTF8.GetBytes(name);
        int links = (mode & 0xF000) == DirectoryType ? 2 : 1;
        string header = "070701" + Hex(_inode) + Hex((uint)mode) + Hex(0) + Hex(0) + Hex((uint)links) + Hex(0)
            + Hex((uint)length) + Hex(0) + Hex(0) + Hex((uint)major) + Hex((uint)minor)
            + Hex((uint)nameBytes.Length + 1) + Hex(0);
        Invariant.Check(header.Length == 110, "a cpio header is 110 bytes");
        Write(Encoding.ASCII.GetBytes(header));
        Write(nameBytes);
        Write([0]);
        Pad();
    }

    private static string Hex(uint value) => value.ToString("X8");

    private void Pad() => Write(stackalloc byte[(int)(-_position & 3)]);

    private void Write(ReadOnlySpan<byte> bytes)
    {
        _output.Write(bytes);
        _position += bytes.Length;
    }
}
