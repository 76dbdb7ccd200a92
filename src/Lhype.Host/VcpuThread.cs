// The thread a vCPU lives on. Emitted code runs on it with registers, stack and signal state that differ from
// what ordinary .NET threads have, so it is always a thread of its own: explicit stack size, alternate signal
// stack, and no signals but those of the processor and of the runtime, which other threads of the process
// take instead.

using System;
using System.Threading;

namespace Lhype.Host;

/// <summary>A dedicated thread for one vCPU.</summary>
public sealed unsafe class VcpuThread
{
    /// <summary>Stack size in bytes: room for a call-return stack in emitted code, signal frames of the
    /// largest processor state, and deep C# calls below them.</summary>
    public const int StackBytes = 4 << 20;

    private readonly Thread _thread;

    /// <summary>Prepares a thread that will run <paramref name="body"/>, which must not throw.</summary>
    public VcpuThread(string name, Action body) =>
        _thread = new Thread(() => Run(body), StackBytes) { Name = name, IsBackground = true };

    /// <summary>Starts the thread.</summary>
    public void Start() => _thread.Start();

    /// <summary>Waits until the body has returned; false if it has not after
    /// <paramref name="patience"/>.</summary>
    public bool Join(TimeSpan patience) => _thread.Join(patience);

    private static void Run(Action body)
    {
        // A halted guest sleeps until its next timer; the default slack of 50 us would show as interrupt
        // latency.
        _ = Libc.prctl(Libc.PR_SET_TIMERSLACK, 1);
        BlockOutsideSignals();
        using IDisposable stack = FaultHandler.PrepareThread();
        body();
    }

    // Everything users and terminals send: SIGHUP to SIGQUIT, SIGPIPE, SIGALRM, SIGTERM, SIGCHLD, SIGCONT,
    // SIGTSTP to SIGTTOU, SIGWINCH. The runtime's own real-time signal stays open: it stops this thread for a
    // collection.
    private static void BlockOutsideSignals()
    {
        ReadOnlySpan<int> signals = [1, 2, 3, 13, 14, 15, 17, 18, 20, 21, 22, 28];
        Libc.sigset_t set = default;
        foreach (int signal in signals)
        {
            set.bits[0] |= 1UL << (signal - 1);
        }

        _ = Libc.pthread_sigmask(Libc.SIG_BLOCK, &set, null);
    }
}
