// A small file of ours that says by its lock whether its owner lives: the kernel drops an open-file-
// description lock with the last descriptor, however the process ended, and a child never inherits it because
// the descriptor closes on exec. Used by the directory of running domains.

using System;
using System.Text;
using System.Threading;

namespace Lhype.Host;

/// <summary>An open file with an optional lock on it. Not thread-safe.</summary>
public sealed unsafe class LockFile : IDisposable
{
    private const int RetryMs = 10;
    private const uint OwnerOnly = 0x180;       // 0600

    private readonly string _path;
    private int _fd;

    private LockFile(string path, int fd)
    {
        _path = path;
        _fd = fd;
    }

    /// <summary>Opens <paramref name="path"/>, or makes it if <paramref name="create"/>; null if it is not
    /// there. Throws LhypeException.</summary>
    public static LockFile? Open(string path, bool create)
    {
        int flags = Libc.O_RDWR | Libc.O_CLOEXEC | Libc.O_NOFOLLOW | (create ? Libc.O_CREAT : 0);
        int fd = Libc.open(path, flags, OwnerOnly);
        int errno = fd < 0 ? Libc.Errno : 0;
        return errno switch
        {
            0 => new LockFile(path, fd),
            Libc.ENOENT when !create => null,
            _ => throw new LhypeException($"Cannot open {path}: {Libc.Describe(errno)}."),
        };
    }

    /// <summary>Takes the lock, unless another process has it.</summary>
    public bool TryLock()
    {
        Libc.flock_t whole = new() { l_type = Libc.F_WRLCK, l_whence = Libc.SEEK_SET };
        return Libc.fcntl(_fd, Libc.F_OFD_SETLK, &whole) == 0;
    }

    /// <summary>Takes the lock, waiting up to <paramref name="patience"/>; false if that was not
    /// enough.</summary>
    public bool Lock(TimeSpan patience)
    {
        long end = Environment.TickCount64 + (long)patience.TotalMilliseconds;
        while (!TryLock())
        {
            if (Environment.TickCount64 >= end)
            {
                return false;
            }

            Thread.Sleep(RetryMs);
        }

        return true;
    }

    /// <summary>The text of the file, at most <paramref name="limit"/> bytes of it.</summary>
    public string ReadText(int limit)
    {
        byte[] bytes = new byte[limit];
        int length = 0;
        fixed (byte* start = bytes)
        {
            for (nint count = 1; count > 0 && length < limit; length += (int)Math.Max(count, 0))
            {
                count = Libc.pread(_fd, start + length, (nuint)(limit - length), length);
            }
        }

        return Encoding.UTF8.GetString(bytes, 0, length);
    }

    /// <summary>Replaces the text of the file. Throws LhypeException.</summary>
    public void WriteText(string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        nint written;
        fixed (byte* start = bytes)
        {
            written = Libc.ftruncate(_fd, 0) == 0 ? Libc.pwrite(_fd, start, (nuint)bytes.Length, 0) : -1;
        }

        if (written != bytes.Length)
        {
            throw new LhypeException($"Cannot write {_path}: {Libc.Describe(Libc.Errno)}.");
        }
    }

    /// <summary>Closes the file, which drops the lock.</summary>
    public void Dispose()
    {
        if (_fd >= 0)
        {
            _ = Libc.close(_fd);
            _fd = -1;
        }
    }
}
