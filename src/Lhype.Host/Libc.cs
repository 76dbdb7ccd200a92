// Every Linux system call and C library function the project uses, one signature each, C names kept.
// Called only from Lhype.Host; the other projects see the typed wrappers built on top (GuestRam, CodeMemory, ...).

using System.Runtime.InteropServices;

namespace Lhype.Host;

internal static unsafe partial class Libc
{
    internal const int PROT_NONE = 0, PROT_READ = 1, PROT_WRITE = 2, PROT_EXEC = 4;
    internal const int MAP_SHARED = 1, MAP_PRIVATE = 2, MAP_FIXED = 0x10, MAP_ANONYMOUS = 0x20, MAP_NORESERVE = 0x4000;
    internal const uint MFD_CLOEXEC = 1;

    [LibraryImport("libc", SetLastError = true)]
    internal static partial nint mmap(nint address, nuint length, int protection, int flags, int fd, long offset);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int munmap(nint address, nuint length);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int memfd_create(string name, uint flags);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int ftruncate(int fd, long length);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int close(int fd);

    internal const int SIGHUP = 1, SIGINT = 2, SIGILL = 4, SIGTRAP = 5, SIGBUS = 7, SIGFPE = 8, SIGSEGV = 11;
    internal const int SA_SIGINFO = 4, SA_ONSTACK = 0x0800_0000, SA_RESTART = 0x1000_0000, SA_NODEFER = 0x4000_0000;
    internal const int SS_DISABLE = 2;

    /// <summary>struct sigaction of the C library (x86-64): the mask is 128 bytes.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct sigaction_t
    {
        internal nint sa_handler;
        internal fixed ulong sa_mask[16];
        internal int sa_flags;
        internal nint sa_restorer;
    }

    [StructLayout(LayoutKind.Sequential)]
    internal struct stack_t
    {
        internal nint ss_sp;
        internal int ss_flags;
        internal nuint ss_size;
    }

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int sigaction(int signal, sigaction_t* action, sigaction_t* old);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int sigaltstack(stack_t* stack, stack_t* old);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int mprotect(nint address, nuint length, int protection);
}
