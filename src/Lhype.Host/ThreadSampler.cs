// How a profile finds out where a thread is without asking it: every so often, and only while the thread uses
// CPU time, it gets SIGPROF, whose handler copies the registers and a block of memory (the vCPU's state) into
// a slot. As in FaultHandler no managed code may run in a signal frame, so the handler is emitted machine
// code; the thread itself empties the slot when it is back in C#. Used by the engine for `--profile`, and
// only then installed.
//
// SAFETY: the slot and the handler's code are never freed, because a signal may still be under way; a profile
// costs two pages once. One sampler at a time: dispositions belong to the process.

using System;
using System.Threading;

namespace Lhype.Host;

/// <summary>General registers by their place in the signal frame (sys/ucontext.h).</summary>
public enum HostRegister
{
    /// <summary>R12.</summary>
    R12 = 4,
    /// <summary>R13.</summary>
    R13 = 5,
    /// <summary>RBP.</summary>
    Rbp = 10,
    /// <summary>RIP.</summary>
    Rip = 16,
}

/// <summary>Samples the thread that calls <see cref="Start"/>.</summary>
public sealed unsafe class ThreadSampler : IDisposable
{
    private const int PageBytes = 4096;

    // Layout of the slot: state word, CPU time, registers, copied block.
    private const int CpuNsOffset = 8;
    private const int RegistersOffset = 16;
    private const int RegisterCount = 23;
    private const int BlockOffset = 256;
    private const int Free = 0, Requested = 1, Taken = 2;

    private readonly byte* _slot;
    private readonly TimeSpan _interval;
    private readonly CodeMemory _code = new(PageBytes);
    private Thread? _thread;
    private volatile bool _stop;
    private int _threadId;
    private int _clock;

    /// <summary>Prepares samples that hold the first <paramref name="blockBytes"/> (a multiple of 8, at most
    /// 3840) of <paramref name="block"/>, at most one every <paramref name="interval"/> of the thread's CPU
    /// time. Throws LhypeException.</summary>
    public ThreadSampler(void* block, int blockBytes, TimeSpan interval)
    {
        Invariant.Check((blockBytes & 7) == 0 && blockBytes <= PageBytes - BlockOffset, "sample too large");
        nint slot = Libc.mmap(0, PageBytes, Libc.PROT_READ | Libc.PROT_WRITE,
            Libc.MAP_PRIVATE | Libc.MAP_ANONYMOUS, -1, 0);
        if (slot == -1)
        {
            throw new LhypeException("The host has no memory for a profile (mmap failed).");
        }

        _slot = (byte*)slot;
        _interval = interval;
        Emit(slot, (nint)block, blockBytes).CopyTo(new Span<byte>(_code.Writable, PageBytes));
    }

    /// <summary>True if a sample waits in the slot.</summary>
    public bool HasSample => Volatile.Read(ref *(int*)_slot) == Taken;

    /// <summary>CPU time in ns the thread has used since the sample before.</summary>
    public long CpuNs => *(long*)(_slot + CpuNsOffset);

    /// <summary>The copy of the block.</summary>
    public void* Block => _slot + BlockOffset;

    /// <summary>A register of the sample.</summary>
    public ulong this[HostRegister register] => ((ulong*)(_slot + RegistersOffset))[(int)register];

    /// <summary>Makes room for the next sample.</summary>
    public void Release() => Volatile.Write(ref *(int*)_slot, Free);

    /// <summary>Begins to sample the calling thread. Throws LhypeException.</summary>
    public void Start()
    {
        Libc.sigaction_t action = new()
        {
            sa_handler = (nint)_code.Executable,
            sa_flags = Libc.SA_SIGINFO | Libc.SA_ONSTACK | Libc.SA_RESTART,
        };
        _threadId = Libc.gettid();
        if (Libc.pthread_getcpuclockid(Libc.pthread_self(), out _clock) != 0
            || Libc.sigaction(Libc.SIGPROF, &action, null) != 0)
        {
            throw new LhypeException("The host refuses to profile a thread (no CPU clock or no SIGPROF).");
        }

        _thread = new Thread(Run) { Name = "profile", IsBackground = true };
        _thread.Start();
    }

    /// <summary>Ends sampling.</summary>
    public void Dispose()
    {
        _stop = true;
        _thread?.Join();
    }

    // Asks for a sample when the thread has used CPU time since the last one. A thread that waits gets none,
    // and one that had to wait for a CPU gets one that weighs what it really used.
    private void Run()
    {
        int process = Environment.ProcessId;
        long last = CpuTimeNs();
        long intervalNs = (long)_interval.TotalNanoseconds;
        while (!_stop)
        {
            Thread.Sleep(_interval);
            long now = CpuTimeNs();
            if (now - last >= intervalNs / 2 && Volatile.Read(ref *(int*)_slot) == Free)
            {
                *(long*)(_slot + CpuNsOffset) = now - last;
                last = now;
                Volatile.Write(ref *(int*)_slot, Requested);
                _ = Libc.tgkill(process, _threadId, Libc.SIGPROF);
            }
        }
    }

    private long CpuTimeNs()
    {
        Libc.timespec_t time;
        return Libc.clock_gettime(_clock, &time) == 0 ? (time.tv_sec * 1_000_000_000) + time.tv_nsec : 0;
    }

    // The handler: rdx = ucontext, whose general registers start at 40.
    private static byte[] Emit(nint slot, nint block, int blockBytes) =>
        new StubWriter()
            .Imm64([0x49, 0xB8], slot)                              // mov  r8, slot
            .Bytes(0x41, 0x83, 0x38, Requested)                     // cmp  dword [r8], Requested
            .Jump([0x0F, 0x85], "out")                              // jne  out
            .Bytes(0x48, 0x8D, 0x72, 40)                            // lea  rsi, [rdx+40]
            .Bytes(0x49, 0x8D, 0x78, RegistersOffset)               // lea  rdi, [r8+RegistersOffset]
            .Bytes(0xB9, RegisterCount, 0, 0, 0)                    // mov  ecx, RegisterCount
            .Bytes(0xF3, 0x48, 0xA5)                                // rep  movsq
            .Imm64([0x48, 0xBE], block)                             // mov  rsi, block
            .Bytes(0x49, 0x8D, 0xB8, 0, BlockOffset >> 8, 0, 0)     // lea  rdi, [r8+BlockOffset]
            .Bytes(0xB9, (byte)(blockBytes / 8), (byte)(blockBytes / 8 >> 8), 0, 0) // mov ecx, words
            .Bytes(0xF3, 0x48, 0xA5)                                // rep  movsq
            .Bytes(0x41, 0xC7, 0x00, Taken, 0, 0, 0)                // mov  dword [r8], Taken
            .Label("out")
            .Bytes(0xC3)                                            // ret
            .Finish();
}
