// A file of the host as storage: positional reads and writes, flush, discard, and a lock, so that two guests
// never write one disk image. Used by Machine/Block; all failures while the guest runs are returned as errno
// values for the device to report, only opening throws.

using System;
using System.IO;

namespace Lhype.Host;

/// <summary>How <see cref="HostFile.Open"/> shares the file with other processes.</summary>
public enum HostFileLock
{
    /// <summary>No lock.</summary>
    None,
    /// <summary>Others may read too, nobody may write.</summary>
    Shared,
    /// <summary>Nobody else.</summary>
    Exclusive,
}

/// <summary>An open file or block device. Offsets and lengths in bytes. Thread-safe.</summary>
public sealed unsafe class HostFile : IDisposable
{
    private int _fd;

    private HostFile(int fd, string path, bool readOnly, long length)
    {
        _fd = fd;
        Path = path;
        ReadOnly = readOnly;
        Length = length;
    }

    /// <summary>The name it was opened by.</summary>
    public string Path { get; }

    /// <summary>True if it was opened for reading only.</summary>
    public bool ReadOnly { get; }

    /// <summary>Size when opened.</summary>
    public long Length { get; private set; }

    /// <summary>Opens an existing file or block device. The lock is an open-file-description lock on all of
    /// it (kept until Dispose, dropped by the kernel if the process dies). Throws LhypeException.</summary>
    public static HostFile Open(string path, bool readOnly, HostFileLock mode)
    {
        if (Directory.Exists(path))
        {
            throw new LhypeException($"{path} is a directory, not a disk image.");
        }

        int access = readOnly ? Libc.O_RDONLY : Libc.O_RDWR;
        int fd = Libc.open(path, access | Libc.O_CLOEXEC | Libc.O_NONBLOCK, 0);
        if (fd < 0)
        {
            int errno = Libc.Errno;
            bool writeRefused = !readOnly && errno is Libc.EACCES or Libc.EROFS;
            string advice = writeRefused ? "; add ,ro to open it for reading only" : "";
            throw new LhypeException($"Cannot open {path}: {Libc.Describe(errno)}{advice}.");
        }

        long length = Libc.lseek(fd, 0, Libc.SEEK_END);
        if (length < 0)
        {
            _ = Libc.close(fd);
            throw new LhypeException($"{path} is neither a file nor a block device.");
        }

        Libc.flock_t whole = new()
        {
            l_type = mode == HostFileLock.Exclusive ? Libc.F_WRLCK : Libc.F_RDLCK,
            l_whence = Libc.SEEK_SET,
        };
        if (mode != HostFileLock.None && Libc.fcntl(fd, Libc.F_OFD_SETLK, &whole) != 0
            && Libc.Errno is Libc.EAGAIN or Libc.EACCES)
        {
            _ = Libc.close(fd);
            throw new LhypeException(
                $"{path} is in use by another process; stop the guest that uses it, or use ,ro in both.");
        }

        return new HostFile(fd, path, readOnly, length);
    }

    /// <summary>An anonymous file in <paramref name="directory"/> that vanishes with its descriptor, for
    /// overlays. Throws LhypeException.</summary>
    public static HostFile CreateTemporary(string directory)
    {
        int fd = Libc.open(directory, Libc.O_RDWR | Libc.O_TMPFILE | Libc.O_CLOEXEC, 0x180);
        if (fd < 0)
        {
            throw new LhypeException(
                $"Cannot create a temporary file in {directory}: {Libc.Describe(Libc.Errno)}; set TMPDIR.");
        }

        return new HostFile(fd, directory, readOnly: false, 0);
    }

    /// <summary>Fills <paramref name="destination"/>; bytes beyond the end of the file read as zero. Returns
    /// 0 or errno.</summary>
    public int Read(long offset, Span<byte> destination)
    {
        while (!destination.IsEmpty)
        {
            nint count;
            fixed (byte* bytes = destination)
            {
                count = Libc.pread(_fd, bytes, (nuint)destination.Length, offset);
            }

            if (count < 0 && Libc.Errno != Libc.EINTR)
            {
                return Libc.Errno;
            }

            if (count == 0)
            {
                destination.Clear();
                return 0;
            }

            count = Math.Max(count, 0);
            destination = destination[(int)count..];
            offset += count;
        }

        return 0;
    }

    /// <summary>Writes all of <paramref name="source"/>. Returns 0 or errno.</summary>
    public int Write(long offset, ReadOnlySpan<byte> source)
    {
        while (!source.IsEmpty)
        {
            nint count;
            fixed (byte* bytes = source)
            {
                count = Libc.pwrite(_fd, bytes, (nuint)source.Length, offset);
            }

            if (count < 0 && Libc.Errno != Libc.EINTR)
            {
                return Libc.Errno;
            }

            count = Math.Max(count, 0);
            source = source[(int)count..];
            offset += count;
        }

        return 0;
    }

    /// <summary>Waits until written data is on stable storage. Returns 0 or errno.</summary>
    public int Flush() => Libc.fdatasync(_fd) == 0 ? 0 : Libc.Errno;

    /// <summary>Gives the storage of a range back; it reads as zero afterwards. Returns 0 or errno
    /// (EOPNOTSUPP where the file system cannot).</summary>
    public int PunchHole(long offset, long length) =>
        Allocate(Libc.FALLOC_FL_PUNCH_HOLE | Libc.FALLOC_FL_KEEP_SIZE, offset, length);

    /// <summary>Makes a range read as zero, keeping its storage. Returns 0 or errno (EOPNOTSUPP as
    /// above).</summary>
    public int ZeroRange(long offset, long length) =>
        Allocate(Libc.FALLOC_FL_ZERO_RANGE | Libc.FALLOC_FL_KEEP_SIZE, offset, length);

    /// <summary>Changes the file's size. Returns 0 or errno.</summary>
    public int SetLength(long length)
    {
        if (Libc.ftruncate(_fd, length) != 0)
        {
            return Libc.Errno;
        }

        Length = length;
        return 0;
    }

    /// <summary>Closes the file and drops the lock.</summary>
    public void Dispose()
    {
        if (_fd >= 0)
        {
            _ = Libc.close(_fd);
            _fd = -1;
        }
    }

    private int Allocate(int mode, long offset, long length)
    {
        while (Libc.fallocate(_fd, mode, offset, length) != 0)
        {
            if (Libc.Errno != Libc.EINTR)
            {
                return Libc.Errno;
            }
        }

        return 0;
    }
}
