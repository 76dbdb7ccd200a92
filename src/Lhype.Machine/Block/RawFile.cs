// A disk that is a plain file or a host block device, sector after sector. Opened by MachineBuilder for each
// --disk. The file is locked while it is open: one guest that writes, or any number that only read.

using System;
using Lhype.Host;

namespace Lhype.Machine.Block;

/// <summary>A raw disk image. Sizes in bytes.</summary>
public sealed class RawFile : IBlockBackend
{
    /// <summary>errno EOPNOTSUPP: the file system has no such operation.</summary>
    internal const int NotSupported = 95;

    private const int ZeroBytes = 64 << 10;

    private readonly HostFile _file;
    private readonly byte[] _zeroes;

    private RawFile(HostFile file)
    {
        _file = file;
        _zeroes = file.ReadOnly ? [] : new byte[ZeroBytes];
    }

    /// <inheritdoc/>
    public long Length => _file.Length;

    /// <inheritdoc/>
    public bool ReadOnly => _file.ReadOnly;

    /// <summary>Opens and locks a disk image. Throws <see cref="LhypeException"/> if it is missing, in use,
    /// not accessible, or not a whole number of sectors.</summary>
    public static RawFile Open(string path, bool readOnly)
    {
        HostFileLock mode = readOnly ? HostFileLock.Shared : HostFileLock.Exclusive;
        HostFile file = HostFile.Open(path, readOnly, mode);
        long length = file.Length;
        if (length != 0 && length % IBlockBackend.SectorBytes == 0)
        {
            return new RawFile(file);
        }

        file.Dispose();
        throw new LhypeException(length == 0
            ? $"Disk {path} is empty; give it a size first, for example with truncate -s 4G."
            : $"Disk {path} has {length} bytes, which is not a multiple of 512; it is not a raw disk image.");
    }

    /// <inheritdoc/>
    public bool Read(long offset, Span<byte> destination) => _file.Read(offset, destination) == 0;

    /// <inheritdoc/>
    public bool Write(long offset, ReadOnlySpan<byte> source) => _file.Write(offset, source) == 0;

    /// <inheritdoc/>
    public bool Flush() => _file.Flush() == 0;

    /// <inheritdoc/>
    public bool Discard(long offset, long length) => _file.PunchHole(offset, length) is 0 or NotSupported;

    /// <inheritdoc/>
    public bool WriteZeroes(long offset, long length, bool mayUnmap)
    {
        int error = mayUnmap ? _file.PunchHole(offset, length) : _file.ZeroRange(offset, length);
        return error == NotSupported ? WriteZeroBytes(offset, length) : error == 0;
    }

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();

    private bool WriteZeroBytes(long offset, long length)
    {
        for (long end = offset + length; offset < end; offset += ZeroBytes)
        {
            if (!Write(offset, _zeroes.AsSpan(0, (int)Math.Min(end - offset, ZeroBytes))))
            {
                return false;
            }
        }

        return true;
    }
}
