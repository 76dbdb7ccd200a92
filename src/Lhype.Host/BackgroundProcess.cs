// What a process does to live on without the terminal it was started from: a session of its own, so that no
// hang-up and no Ctrl-C of that terminal reaches it, and standard streams that lead nowhere. Called by the
// child of `lhype run --detach`.

namespace Lhype.Host;

/// <summary>Leaves the caller's session and streams.</summary>
public static class BackgroundProcess
{
    /// <summary>Begins a session without a terminal. The caller is no leader of a process group.</summary>
    public static void BeginSession() => _ = Libc.setsid();

    /// <summary>Points standard input, output and error at /dev/null. Whoever reads the old ones sees their
    /// end.</summary>
    public static void ReleaseStandardStreams()
    {
        int nothing = Libc.open("/dev/null", Libc.O_RDWR | Libc.O_CLOEXEC, 0);
        Invariant.Check(nothing >= 0, "/dev/null cannot be opened");
        for (int fd = 0; fd <= 2; fd++)
        {
            _ = Libc.dup2(nothing, fd);
        }

        if (nothing > 2)
        {
            _ = Libc.close(nothing);
        }
    }
}
