// Libc: files, descriptors and randomness.

using System.Runtime.InteropServices;

namespace Lhype.Host;

internal static unsafe partial class Libc
{
    internal const int O_RDONLY = 0, O_RDWR = 2, O_CREAT = 0x40, O_NOCTTY = 0x100, O_NONBLOCK = 0x800,
        O_CLOEXEC = 0x8_0000, O_TMPFILE = 0x41_0000;
    internal const int SEEK_SET = 0, SEEK_END = 2, F_GETFD = 1, FD_CLOEXEC = 1, F_OFD_GETLK = 36,
        F_OFD_SETLK = 37;
    internal const short F_RDLCK = 0, F_WRLCK = 1, F_UNLCK = 2;
    internal const int EINTR = 4, EIO = 5, EAGAIN = 11, EACCES = 13, EFAULT = 14, EBUSY = 16,
        EINVAL = 22, EROFS = 30, EPIPE = 32, EOPNOTSUPP = 95, ETIMEDOUT = 110;
    internal const int FALLOC_FL_KEEP_SIZE = 1, FALLOC_FL_PUNCH_HOLE = 2, FALLOC_FL_ZERO_RANGE = 0x10;
    internal const short POLLIN = 1, POLLOUT = 4;
    internal const int EFD_CLOEXEC = 0x8_0000;

    [StructLayout(LayoutKind.Sequential)]
    internal struct flock_t
    {
        internal short l_type;
        internal short l_whence;
        internal long l_start;
        internal long l_len;
        internal int l_pid;
    }

    [StructLayout(LayoutKind.Sequential)]
    internal struct pollfd_t
    {
        internal int fd;
        internal short events;
        internal short revents;
    }

    [StructLayout(LayoutKind.Sequential)]
    internal struct iovec_t
    {
        internal byte* iov_base;
        internal nuint iov_len;
    }

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int open(string path, int flags, uint mode);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial long lseek(int fd, long offset, int whence);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int fcntl(int fd, int command, flock_t* range);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial nint read(int fd, byte* buffer, nuint count);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial nint write(int fd, byte* buffer, nuint count);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial nint writev(int fd, iovec_t* parts, int count);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial nint pread(int fd, byte* buffer, nuint count, long offset);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial nint pwrite(int fd, byte* buffer, nuint count, long offset);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int fdatasync(int fd);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int fallocate(int fd, int mode, long offset, long length);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int poll(pollfd_t* fds, nuint count, int timeoutMs);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int eventfd(uint initial, int flags);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial nint getrandom(byte* buffer, nuint length, uint flags);
}
