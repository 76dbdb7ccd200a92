// Why this file exists: translated guest code may fault (a division by zero, an unmasked FPU exception, a
// misaligned SSE operand), and Linux reports that by a signal. No managed code may ever run in a signal
// frame, so the handler is emitted machine code: if the faulting instruction lies in a registered range of
// translated code it notes the facts in the vCPU's state block and resumes at an exit stub; otherwise it
// passes the signal on to the handler that was there before, the .NET runtime's, which turns it into
// NullReferenceException and friends as ever.
//
// Signal dispositions belong to the process, not to a machine: this file therefore holds the one piece of
// static mutable state in the project. It is written under a lock at set-up and read by the emitted handler.
//
// SAFETY: the data page and the code page live as long as the process, because a signal may arrive at any
// time. A slot becomes visible to the handler by its length, which is written last on registration and first
// on removal.
//
// Called by the translator (Register) and by every thread that runs a vCPU (PrepareThread).

using System;
using System.Runtime.InteropServices;
using System.Threading;

namespace Lhype.Host;

/// <summary>Where the handler stores the facts of a fault: byte offsets from the address in R15.</summary>
/// <param name="HostPc">Receives the address of the faulting host instruction (8 bytes).</param>
/// <param name="Trap">Receives the host's exception vector (4 bytes).</param>
/// <param name="FaultAddress">Receives the host's CR2, meaningful for vector 14 (8 bytes).</param>
/// <param name="Error">Receives the exception's error code (4 bytes).</param>
public readonly record struct FaultSlots(int HostPc, int Trap, int FaultAddress, int Error);

/// <summary>Catches the processor exceptions of emitted code, for the whole process.</summary>
public static unsafe class FaultHandler
{
    private const int MaxRanges = 64;
    private const int AlternateStackBytes = 128 * 1024;
    private const int PageBytes = 4096;

    // Layout of the data page the emitted code reads.
    private const int SelfOffset = 0;           // start and length of the handler itself
    private const int DefaultActionOffset = 16; // a struct kernel_sigaction of zeros: SIG_DFL
    private const int OldActionsOffset = 64;    // per signal number: handler, flags
    private const int TableOffset = 1024;       // the ranges

    private static readonly Lock Gate = new();
    private static byte* _data;
    private static CodeMemory? _code;

    [StructLayout(LayoutKind.Sequential)]
    private struct Range
    {
        internal nint Start;
        internal nuint Length;
        internal nint Resume;
        internal int HostPc;
        internal int Trap;
        internal int FaultAddress;
        internal int Error;
    }

    /// <summary>Routes faults of the instructions in [<paramref name="codeStart"/>,
    /// +<paramref name="length"/>) to <paramref name="resumeAddress"/>, with all registers as they were at
    /// the fault; R15 must hold the address <paramref name="slots"/> are relative to. Dispose to forget the
    /// range, when no thread can be in it. Throws LhypeException when the host refuses signal
    /// handlers.</summary>
    public static IDisposable Register(byte* codeStart, nuint length, byte* resumeAddress, FaultSlots slots)
    {
        lock (Gate)
        {
            Install();
            for (int i = 0; i < MaxRanges; i++)
            {
                Range* range = (Range*)(_data + TableOffset) + i;
                if (range->Length == 0)
                {
                    range->Start = (nint)codeStart;
                    range->Resume = (nint)resumeAddress;
                    range->HostPc = slots.HostPc;
                    range->Trap = slots.Trap;
                    range->FaultAddress = slots.FaultAddress;
                    range->Error = slots.Error;
                    Volatile.Write(ref range->Length, length);
                    return new Registration(i);
                }
            }
        }

        throw new LhypeException($"More than {MaxRanges} virtual CPUs in one process are not supported.");
    }

    /// <summary>Gives the calling thread an alternate signal stack large enough for any processor state. The
    /// runtime's own is 16 KiB or missing, and the kernel alone wants 12 KiB where AMX exists. Calling it
    /// again does nothing. Dispose on the same thread before it ends; that brings back the previous
    /// stack.</summary>
    public static IDisposable PrepareThread()
    {
        Libc.stack_t current;
        if (Libc.sigaltstack(null, &current) == 0 && (current.ss_flags & Libc.SS_DISABLE) == 0
            && current.ss_size >= AlternateStackBytes)
        {
            return new AlternateStack(0, default);
        }

        nint map = Libc.mmap(0, AlternateStackBytes + PageBytes, Libc.PROT_READ | Libc.PROT_WRITE,
            Libc.MAP_PRIVATE | Libc.MAP_ANONYMOUS, -1, 0);
        if (map == -1 || Libc.mprotect(map, PageBytes, Libc.PROT_NONE) != 0)
        {
            throw new LhypeException("The host has no memory for a signal stack (mmap failed).");
        }

        Libc.stack_t own = new() { ss_sp = map + PageBytes, ss_size = AlternateStackBytes };
        Libc.stack_t previous;
        if (Libc.sigaltstack(&own, &previous) != 0)
        {
            throw new LhypeException("The host refuses an alternate signal stack (sigaltstack failed).");
        }

        return new AlternateStack(map, previous);
    }

    private static void Install()
    {
        if (_code != null)
        {
            return;
        }

        nint data = Libc.mmap(0, PageBytes, Libc.PROT_READ | Libc.PROT_WRITE,
            Libc.MAP_PRIVATE | Libc.MAP_ANONYMOUS, -1, 0);
        if (data == -1)
        {
            throw new LhypeException("The host has no memory for the fault handler (mmap failed).");
        }

        _data = (byte*)data;
        byte[] handler = Emit(data);
        CodeMemory code = new(PageBytes);
        handler.CopyTo(new Span<byte>(code.Writable, PageBytes));
        *(nint*)(_data + SelfOffset) = (nint)code.Executable;
        *(nint*)(_data + SelfOffset + 8) = handler.Length;

        ReadOnlySpan<int> signals = [Libc.SIGSEGV, Libc.SIGBUS, Libc.SIGFPE, Libc.SIGILL, Libc.SIGTRAP];
        foreach (int signal in signals)
        {
            // The old handler must be known before the new one can be entered.
            Libc.sigaction_t old;
            bool known = Libc.sigaction(signal, null, &old) == 0;
            nint* slot = (nint*)(_data + OldActionsOffset + (16 * signal));
            slot[0] = old.sa_handler;
            slot[1] = old.sa_flags;
            Libc.sigaction_t action = new()
            {
                sa_handler = (nint)code.Executable,
                sa_flags = Libc.SA_SIGINFO | Libc.SA_ONSTACK | Libc.SA_NODEFER | Libc.SA_RESTART,
            };
            if (!known || Libc.sigaction(signal, &action, null) != 0)
            {
                throw new LhypeException(
                    $"The host refuses a handler for signal {signal} (sigaction failed).");
            }
        }

        _code = code;
    }

    // The handler: rdi = signal, rsi = siginfo, rdx = ucontext. In the ucontext, uc_stack is at 16 (sp,
    // flags, size) and the general registers start at 40 in the order of sys/ucontext.h.
    private static byte[] Emit(nint data)
    {
        StubWriter code = new();

        // A fault in this handler itself (the interrupted stack is unusable) cannot be handled: die of it.
        code.Bytes(0x48, 0x8B, 0x82, 0xA8, 0, 0, 0)         // mov  rax, [rdx+REG_RIP]
            .Imm64([0x49, 0xB8], data)                      // mov  r8, data
            .Bytes(0x49, 0x89, 0xC1)                        // mov  r9, rax
            .Bytes(0x4D, 0x2B, 0x08)                        // sub  r9, [r8]
            .Bytes(0x4D, 0x3B, 0x48, 0x08)                  // cmp  r9, [r8+8]
            .Jump([0x0F, 0x82], "default");                 // jb   default

        // si_code <= 0: sent by kill(2) or the like, not an exception.
        code.Bytes(0x8B, 0x4E, 0x08)                        // mov  ecx, [rsi+8]
            .Bytes(0x85, 0xC9)                              // test ecx, ecx
            .Jump([0x0F, 0x8E], "chain")                    // jle  chain
            .Imm64([0x49, 0xB8], data + TableOffset)        // mov  r8, table
            .Bytes(0xB9, MaxRanges, 0, 0, 0)                // mov  ecx, MaxRanges
            .Label("scan")
            .Bytes(0x49, 0x89, 0xC1)                        // mov  r9, rax
            .Bytes(0x4D, 0x2B, 0x08)                        // sub  r9, [r8+Start]
            .Bytes(0x4D, 0x3B, 0x48, 0x08)                  // cmp  r9, [r8+Length]
            .Jump([0x0F, 0x82], "found")                    // jb   found
            .Bytes(0x49, 0x83, 0xC0, (byte)sizeof(Range))   // add  r8, sizeof(Range)
            .Bytes(0xFF, 0xC9)                              // dec  ecx
            .Jump([0x0F, 0x85], "scan");                    // jnz  scan
        EmitChain(code, data);
        EmitDefault(code, data);
        EmitFound(code);
        return code.Finish();
    }

    // Not ours: enter the previous handler as the kernel would have. Handlers with and without SA_SIGINFO
    // take the signal number in the same register, so one jump serves both. A handler installed without
    // SA_ONSTACK expects the interrupted stack (CoreCLR's for SIGFPE does its whole exception dispatch
    // there), so if the kernel moved to an alternate stack for our sake, move back for the call.
    private static void EmitChain(StubWriter code, nint data) =>
        code.Label("chain")
            .Imm64([0x49, 0xB8], data + OldActionsOffset)   // mov  r8, old actions
            .Bytes(0x89, 0xF8)                              // mov  eax, edi
            .Bytes(0xC1, 0xE0, 0x04)                        // shl  eax, 4
            .Bytes(0x49, 0x01, 0xC0)                        // add  r8, rax
            .Bytes(0x49, 0x8B, 0x00)                        // mov  rax, [r8]
            .Bytes(0x48, 0x83, 0xF8, 0x01)                  // cmp  rax, SIG_IGN
            .Jump([0x0F, 0x86], "default")                  // jbe  default
            .Bytes(0x41, 0xF7, 0x40, 0x08, 0, 0, 0, 0x08)   // test dword [r8+8], SA_ONSTACK
            .Jump([0x0F, 0x85], "tail")                     // jnz  tail
            .Bytes(0x49, 0x89, 0xE1)                        // mov  r9, rsp
            .Bytes(0x4C, 0x2B, 0x4A, 0x10)                  // sub  r9, [rdx+ss_sp]
            .Bytes(0x4C, 0x3B, 0x4A, 0x20)                  // cmp  r9, [rdx+ss_size]
            .Jump([0x0F, 0x83], "tail")                     // jae  tail: no alternate stack in use
            .Bytes(0x4C, 0x8B, 0x8A, 0xA0, 0, 0, 0)         // mov  r9, [rdx+REG_RSP]
            .Bytes(0x4C, 0x2B, 0x4A, 0x10)                  // sub  r9, [rdx+ss_sp]
            .Bytes(0x4C, 0x3B, 0x4A, 0x20)                  // cmp  r9, [rdx+ss_size]
            .Jump([0x0F, 0x82], "tail")                     // jb   tail: it was in use before the signal
            .Bytes(0x55)                                    // push rbp
            .Bytes(0x48, 0x89, 0xE5)                        // mov  rbp, rsp
            .Bytes(0x48, 0x8B, 0xA2, 0xA0, 0, 0, 0)         // mov  rsp, [rdx+REG_RSP]
            .Bytes(0x48, 0x83, 0xC4, 0x80)                  // add  rsp, -128 (the red zone)
            .Bytes(0x48, 0x83, 0xE4, 0xF0)                  // and  rsp, -16
            .Bytes(0xFF, 0xD0)                              // call rax
            .Bytes(0x48, 0x89, 0xEC)                        // mov  rsp, rbp
            .Bytes(0x5D, 0xC3)                              // pop  rbp; ret
            .Label("tail")
            .Bytes(0xFF, 0xE0);                             // jmp  rax

    // Nobody wants it: restore the default action and return, so that the instruction faults again and the
    // process ends with the right signal.
    private static void EmitDefault(StubWriter code, nint data) =>
        code.Label("default")
            .Imm64([0x48, 0xBE], data + DefaultActionOffset) // mov rsi, action
            .Bytes(0x31, 0xD2)                              // xor  edx, edx
            .Bytes(0x41, 0xBA, 0x08, 0, 0, 0)               // mov  r10d, 8 (bytes of the kernel's sigset)
            .Bytes(0xB8, 0x0D, 0, 0, 0)                     // mov  eax, SYS_rt_sigaction
            .Bytes(0x0F, 0x05)                              // syscall
            .Bytes(0xC3);                                   // ret

    private static void EmitFound(StubWriter code) =>
        code.Label("found")
            .Bytes(0x4C, 0x8B, 0x4A, 0x60)                  // mov  r9, [rdx+REG_R15]
            .Bytes(0x49, 0x63, 0x48, 0x18)                  // movsxd rcx, [r8+HostPc]
            .Bytes(0x49, 0x89, 0x04, 0x09)                  // mov  [r9+rcx], rax
            .Bytes(0x49, 0x63, 0x48, 0x1C)                  // movsxd rcx, [r8+Trap]
            .Bytes(0x48, 0x8B, 0x82, 0xC8, 0, 0, 0)         // mov  rax, [rdx+REG_TRAPNO]
            .Bytes(0x41, 0x89, 0x04, 0x09)                  // mov  [r9+rcx], eax
            .Bytes(0x49, 0x63, 0x48, 0x20)                  // movsxd rcx, [r8+FaultAddress]
            .Bytes(0x48, 0x8B, 0x82, 0xD8, 0, 0, 0)         // mov  rax, [rdx+REG_CR2]
            .Bytes(0x49, 0x89, 0x04, 0x09)                  // mov  [r9+rcx], rax
            .Bytes(0x49, 0x63, 0x48, 0x24)                  // movsxd rcx, [r8+Error]
            .Bytes(0x48, 0x8B, 0x82, 0xC0, 0, 0, 0)         // mov  rax, [rdx+REG_ERR]
            .Bytes(0x41, 0x89, 0x04, 0x09)                  // mov  [r9+rcx], eax
            .Bytes(0x49, 0x8B, 0x40, 0x10)                  // mov  rax, [r8+Resume]
            .Bytes(0x48, 0x89, 0x82, 0xA8, 0, 0, 0)         // mov  [rdx+REG_RIP], rax
            .Bytes(0xC3);                                   // ret

    private sealed class Registration(int index) : IDisposable
    {
        private int _index = index;

        public void Dispose()
        {
            int slot = Interlocked.Exchange(ref _index, -1);
            if (slot >= 0)
            {
                lock (Gate)
                {
                    Volatile.Write(ref ((Range*)(_data + TableOffset) + slot)->Length, 0);
                }
            }
        }
    }

    private sealed class AlternateStack(nint map, Libc.stack_t previous) : IDisposable
    {
        private nint _map = map;

        public void Dispose()
        {
            if (_map != 0)
            {
                Libc.stack_t back = previous;
                _ = Libc.sigaltstack(&back, null);
                _ = Libc.munmap(_map, AlternateStackBytes + PageBytes);
                _map = 0;
            }
        }
    }
}
