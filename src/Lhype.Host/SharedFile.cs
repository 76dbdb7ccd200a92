// A file that several processes map and use together, none of which trusts the others: they may write
// anything into it, truncate it and die at any moment. Accesses to the mapping go through GuardedAccess and
// say so when the memory is gone; locks on single bytes of the file (open-file-description locks, which the
// kernel drops with the process) tell who is alive; waiting is a futex in the mapping. Used by
// Machine/Net/HubFile.

using System;
using System.IO;

namespace Lhype.Host;

/// <summary>How <see cref="SharedFile.Wait"/> ended.</summary>
public enum SharedWait
{
    /// <summary>Somebody woke it, or the word had changed, or nothing in particular happened.</summary>
    Woken,
    /// <summary>The time is over.</summary>
    TimedOut,
    /// <summary>The memory is gone.</summary>
    Gone,
}

/// <summary>A mapped file shared with hostile processes. Offsets and lengths in bytes. All but Map and
/// Dispose may be called from any thread.</summary>
public sealed unsafe class SharedFile : IDisposable
{
    private readonly GuardedAccess _access;
    private int _fd;
    private byte* _base;
    private nuint _mapped;

    private SharedFile(int fd, string path, GuardedAccess access)
    {
        _fd = fd;
        Path = path;
        _access = access;
    }

    /// <summary>The name it was opened by.</summary>
    public string Path { get; }

    /// <summary>Opens a file for reading and writing, and creates it if it is not there. Throws
    /// LhypeException.</summary>
    public static SharedFile Open(string path)
    {
        if (Directory.Exists(path))
        {
            throw new LhypeException($"{path} is a directory; name a file that guests can share.");
        }

        const uint OwnerOnly = 0x180;
        int fd = Libc.open(path,
            Libc.O_RDWR | Libc.O_CREAT | Libc.O_CLOEXEC | Libc.O_NONBLOCK | Libc.O_NOCTTY, OwnerOnly);
        if (fd < 0)
        {
            throw new LhypeException(
                $"Cannot open {path} to share it between guests: {Libc.Describe(Libc.Errno)}.");
        }

        if (Libc.lseek(fd, 0, Libc.SEEK_END) < 0)
        {
            _ = Libc.close(fd);
            throw new LhypeException($"{path} is not a file that guests can share.");
        }

        try
        {
            return new SharedFile(fd, path, new GuardedAccess());
        }
        catch
        {
            _ = Libc.close(fd);
            throw;
        }
    }

    /// <summary>Size of the file now.</summary>
    public long Length => Libc.lseek(_fd, 0, Libc.SEEK_END);

    /// <summary>Reads from the file, not from the mapping. Returns the bytes read, fewer at the end of the
    /// file or when the host cannot.</summary>
    public int Read(long offset, Span<byte> destination)
    {
        int done = 0;
        while (done < destination.Length)
        {
            nint count;
            fixed (byte* bytes = destination[done..])
            {
                count = Libc.pread(_fd, bytes, (nuint)(destination.Length - done), offset + done);
            }

            if (count <= 0 && !(count < 0 && Libc.Errno == Libc.EINTR))
            {
                break;
            }

            done += (int)Math.Max(count, 0);
        }

        return done;
    }

    /// <summary>Makes the file at least <paramref name="end"/> bytes long, with storage from
    /// <paramref name="start"/> on, and never shortens it. Throws LhypeException.</summary>
    public void Extend(long start, long end)
    {
        int errno = 0;
        while (Libc.fallocate(_fd, 0, start, end - start) != 0)
        {
            errno = Libc.Errno;
            if (errno != Libc.EINTR)
            {
                break;
            }

            errno = 0;
        }

        // File systems without fallocate: a sparse file then.
        if (errno == Libc.EOPNOTSUPP)
        {
            errno = Length >= end || Libc.ftruncate(_fd, end) == 0 ? 0 : Libc.Errno;
        }

        if (errno != 0)
        {
            throw new LhypeException(
                $"{Path} cannot be made {end} bytes long: {Libc.Describe(errno)}; use a file elsewhere.");
        }
    }

    /// <summary>Maps the first <paramref name="length"/> bytes, once. The file may be shorter: what is beyond
    /// its end cannot be accessed before it has grown. Throws LhypeException.</summary>
    public void Map(long length)
    {
        Invariant.Check(_base == null, "a shared file is mapped twice");
        nint map = Libc.mmap(0, (nuint)length, Libc.PROT_READ | Libc.PROT_WRITE,
            Libc.MAP_SHARED | Libc.MAP_NORESERVE, _fd, 0);
        if (map == -1)
        {
            throw new LhypeException($"{Path} cannot be shared in memory: {Libc.Describe(Libc.Errno)}; "
                + "use a file on a local file system.");
        }

        _base = (byte*)map;
        _mapped = (nuint)length;
    }

    /// <summary>Takes the lock of one byte (which need not exist), kept until <see cref="Unlock"/> or
    /// Dispose, or until the process dies. False: another has it, or the host has no such locks.</summary>
    public bool TryLock(long offset) => SetLock(Libc.F_OFD_SETLK, Libc.F_WRLCK, offset, out _);

    /// <summary>Gives the lock of one byte back.</summary>
    public void Unlock(long offset) => SetLock(Libc.F_OFD_SETLK, Libc.F_UNLCK, offset, out _);

    /// <summary>True if somebody else has the lock of one byte.</summary>
    public bool IsLocked(long offset) =>
        !SetLock(Libc.F_OFD_GETLK, Libc.F_WRLCK, offset, out short type) || type != Libc.F_UNLCK;

    /// <summary>Copies out of the mapping. False: the memory is gone.</summary>
    public bool TryRead(long offset, Span<byte> destination)
    {
        byte* source = At(offset, destination.Length);
        fixed (byte* bytes = destination)
        {
            return _access.Copy(bytes, source, destination.Length);
        }
    }

    /// <summary>Copies into the mapping. False: the memory is gone.</summary>
    public bool TryWrite(long offset, ReadOnlySpan<byte> source)
    {
        byte* destination = At(offset, source.Length);
        fixed (byte* bytes = source)
        {
            return _access.Copy(destination, bytes, source.Length);
        }
    }

    /// <summary>Reads an aligned word; later reads come after it. False: the memory is gone.</summary>
    public bool TryLoad(long offset, out ulong value) => _access.Load(At(offset, 8), out value);

    /// <summary>Writes an aligned word; earlier writes come before it. False: the memory is gone.</summary>
    public bool TryStore(long offset, ulong value) => _access.Store(At(offset, 8), value);

    /// <summary>Exchanges an aligned word; a full barrier. False: the memory is gone.</summary>
    public bool TryExchange(long offset, ref ulong value) => _access.Exchange(At(offset, 8), ref value);

    /// <summary>Sets bits of an aligned word; a full barrier. False: the memory is gone.</summary>
    public bool TryOr(long offset, ulong bits) => _access.Or(At(offset, 8), bits);

    /// <summary>Replaces an aligned 32-bit word if it is <paramref name="seen"/>, which receives what it was;
    /// a full barrier. False: the memory is gone.</summary>
    public bool TryCompareExchange(long offset, ref uint seen, uint value) =>
        _access.CompareExchange(At(offset, 4), ref seen, value);

    /// <summary>Sleeps until <see cref="Wake"/> is called for the word, by whichever process, unless the
    /// word's low 32 bits are no longer <paramref name="expected"/>; at most
    /// <paramref name="nanoseconds"/>.</summary>
    public SharedWait Wait(long offset, uint expected, ulong nanoseconds)
    {
        Libc.timespec_t timeout = new()
        {
            tv_sec = (long)(nanoseconds / 1_000_000_000),
            tv_nsec = (long)(nanoseconds % 1_000_000_000),
        };
        int* word = (int*)At(offset, 4);
        if (Libc.shared_futex(Libc.SYS_futex, word, Libc.FUTEX_WAIT, expected, &timeout) == 0)
        {
            return SharedWait.Woken;
        }

        return Libc.Errno switch
        {
            Libc.ETIMEDOUT => SharedWait.TimedOut,
            Libc.EFAULT => SharedWait.Gone,
            _ => SharedWait.Woken,
        };
    }

    /// <summary>Wakes everybody who sleeps on the word at <paramref name="offset"/>.</summary>
    public void Wake(long offset) =>
        _ = Libc.shared_futex(Libc.SYS_futex, (int*)At(offset, 4), Libc.FUTEX_WAKE, int.MaxValue, null);

    /// <summary>Unmaps and closes the file and drops all locks. Nobody may be in another call.</summary>
    public void Dispose()
    {
        if (_fd < 0)
        {
            return;
        }

        if (_base != null)
        {
            _ = Libc.munmap((nint)_base, _mapped);
            _base = null;
        }

        _ = Libc.close(_fd);
        _fd = -1;
        _access.Dispose();
    }

    private byte* At(long offset, int length)
    {
        Invariant.Check(offset >= 0 && (nuint)offset <= _mapped && (nuint)length <= _mapped - (nuint)offset,
            "an access outside a shared file's mapping");
        return _base + offset;
    }

    private bool SetLock(int command, short type, long offset, out short found)
    {
        Libc.flock_t range = new()
        {
            l_type = type,
            l_whence = Libc.SEEK_SET,
            l_start = offset,
            l_len = 1,
        };
        bool good = Libc.fcntl(_fd, command, &range) == 0;
        found = range.l_type;
        return good;
    }
}
