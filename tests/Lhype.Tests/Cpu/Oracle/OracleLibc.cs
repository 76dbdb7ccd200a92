// The C library calls the native oracle needs, with the kernel's structure layouts for x86-64.
// Kept apart from Lhype.Host so that the oracle shares no code with what it checks.

using System.Runtime.InteropServices;

namespace Lhype.Tests.Cpu.Oracle;

/// <summary>glibc's struct sigaction.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct SignalAction
{
    internal nint Handler;
    internal fixed ulong Mask[16];
    internal int Flags;
    internal nint Restorer;
}

internal static unsafe partial class OracleLibc
{
    internal const int PROT_NONE = 0, PROT_READ = 1, PROT_WRITE = 2, PROT_EXEC = 4;
    internal const int MAP_SHARED = 1, MAP_PRIVATE = 2, MAP_ANONYMOUS = 0x20, MAP_POPULATE = 0x8000;
    internal const int MAP_FIXED_NOREPLACE = 0x100000;
    internal const int SIGILL = 4, SIGTRAP = 5, SIGBUS = 7, SIGFPE = 8, SIGSEGV = 11;
    internal const int SA_SIGINFO = 4, SA_ONSTACK = 0x0800_0000, SA_NODEFER = 0x4000_0000;
    internal const ulong AT_HWCAP2 = 26;
    internal const ulong HWCAP2_FSGSBASE = 2;

    [LibraryImport("libc", SetLastError = true)]
    internal static partial nint mmap(nint address, nuint length, int protection, int flags, int fd,
        long offset);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int memfd_create(string name, uint flags);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int ftruncate(int fd, long length);

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int sigaction(int signal, SignalAction* action, SignalAction* old);

    [LibraryImport("libc")]
    internal static partial ulong getauxval(ulong type);
}
