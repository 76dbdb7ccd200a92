// A directory that belongs to this user alone. Below /tmp anybody may have made a directory of the expected
// name first, to read what we put there or to be asked in our place; so owner and mode are checked on an open
// descriptor before anything in it is trusted. Used for the control sockets of domains.

using System;

namespace Lhype.Host;

/// <summary>Makes and checks directories of mode 0700.</summary>
public static unsafe class PrivateDirectory
{
    private const uint PrivateMode = 0x1C0;     // 0700
    private const uint OthersMode = 0x3F;       // 0077

    /// <summary>The effective user of this process.</summary>
    public static uint UserId => Libc.geteuid();

    /// <summary>True if <paramref name="path"/> is a directory of this user, whatever its mode.</summary>
    public static bool IsOwn(string path)
    {
        int fd = Libc.open(path, Libc.O_RDONLY | Libc.O_DIRECTORY | Libc.O_CLOEXEC, 0);
        if (fd < 0)
        {
            return false;
        }

        Libc.stat_t status;
        bool own = Libc.fstat(fd, &status) == 0 && status.st_uid == UserId;
        _ = Libc.close(fd);
        return own;
    }

    /// <summary>True if <paramref name="path"/> is a directory of this user that nobody else may enter, false
    /// if there is nothing. Throws LhypeException if there is something else.</summary>
    public static bool Exists(string path)
    {
        int fd = Libc.open(path, Libc.O_RDONLY | Libc.O_DIRECTORY | Libc.O_NOFOLLOW | Libc.O_CLOEXEC, 0);
        if (fd < 0)
        {
            int errno = Libc.Errno;
            return errno switch
            {
                Libc.ENOENT => false,
                Libc.ENOTDIR or Libc.ELOOP => throw Refusal(path, "is not a directory"),
                Libc.EACCES => throw Refusal(path, "belongs to another user"),
                _ => throw new LhypeException($"Cannot open {path}: {Libc.Describe(errno)}."),
            };
        }

        Libc.stat_t status;
        int result = Libc.fstat(fd, &status);
        _ = Libc.close(fd);
        if (result != 0 || status.st_uid != UserId)
        {
            throw Refusal(path, "belongs to another user");
        }

        return (status.st_mode & OthersMode) == 0
            ? true
            : throw Refusal(path, "is open to other users");
    }

    /// <summary>Makes the directory if it is not there, and checks it as <see cref="Exists"/> does. Throws
    /// LhypeException.</summary>
    public static void Ensure(string path)
    {
        if (Exists(path))
        {
            return;
        }

        if (Libc.mkdir(path, PrivateMode) != 0 && Libc.Errno != Libc.EEXIST)
        {
            throw new LhypeException(
                $"Cannot make the directory {path}: {Libc.Describe(Libc.Errno)}; set XDG_RUNTIME_DIR.");
        }

        _ = Exists(path);
    }

    private static LhypeException Refusal(string path, string what) =>
        new($"{path} {what}, so guests cannot be controlled through it: "
            + "remove it, or set XDG_RUNTIME_DIR to a directory of your own.");
}
