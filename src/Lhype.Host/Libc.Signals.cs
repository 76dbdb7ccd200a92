// Libc: signals and signal stacks. Structures are those of the x86-64 C library.

using System.Runtime.InteropServices;

namespace Lhype.Host;

internal static unsafe partial class Libc
{
    internal const int SIGHUP = 1, SIGINT = 2, SIGILL = 4, SIGTRAP = 5, SIGBUS = 7, SIGFPE = 8, SIGSEGV = 11;
    internal const int SIGALRM = 14, SIGTERM = 15, SIGPROF = 27, SIG_BLOCK = 0;
    internal const int SA_SIGINFO = 4, SA_ONSTACK = 0x0800_0000, SA_RESTART = 0x1000_0000,
        SA_NODEFER = 0x4000_0000;
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

    /// <summary>sigset_t of the C library: 1024 bits.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct sigset_t
    {
        internal fixed ulong bits[16];
    }

    [LibraryImport("libc")]
    internal static partial int pthread_sigmask(int how, sigset_t* set, sigset_t* old);
}
