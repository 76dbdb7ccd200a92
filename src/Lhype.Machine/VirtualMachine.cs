// The machine as the vCPU and the outside world see it: the ICpuBus every engine calls, the inbox through
// which other threads reach the vCPU's thread, and the ways to end it. Put together by MachineBuilder; the
// devices behind it know neither this class nor the engine.
//
// One thread, the vCPU's, owns the machine and all device state. Only Post, RequestEnd and SetPaused may be
// called from elsewhere; they queue work and wake that thread.

using System;
using System.Collections.Concurrent;
using System.Threading;
using Lhype.Cpu;
using Lhype.Host;
using Lhype.Machine.Bus;
using Lhype.Machine.Devices;
using Lhype.Machine.Paravirt;

namespace Lhype.Machine;

/// <summary>One guest machine: bus, clock, interrupts, life and death.</summary>
public sealed class VirtualMachine : ICpuBus, IInbox
{
    // Below this, going to sleep and waking up take longer than the sleep.
    private const ulong ShortestSleepNs = 5_000;

    private readonly ConcurrentQueue<Action> _inbox = new();
    private readonly ThreadSleeper _sleeper = new();
    private IVcpu? _vcpu;
    private IInterruptSource? _interrupts;
    private LocalApic? _localApic;
    private KvmClock? _kvmClock;
    private int _ended;

    /// <summary>An empty machine around <paramref name="clock"/>; <see cref="Attach"/> completes
    /// it.</summary>
    public VirtualMachine(VirtualClock clock) => Clock = clock;

    /// <summary>Ports and MMIO.</summary>
    public AddressBus Bus { get; } = new();

    /// <summary>Virtual time.</summary>
    public VirtualClock Clock { get; }

    /// <summary>Set once the machine has ended.</summary>
    public MachineExit? Ended { get; private set; }

    /// <summary>True while the user has stopped the guest.</summary>
    public bool Paused { get; private set; }

    /// <summary>Times the guest was idle.</summary>
    public ulong Sleeps { get; private set; }

    /// <inheritdoc/>
    public bool InterruptRequested => _interrupts!.InterruptRequested;

    /// <inheritdoc/>
    public ulong TscHz => Clock.TicksHz;

    /// <summary>Called at every poll, if set, after timers and posted work.</summary>
    public Action? Polled { get; set; }

    /// <summary>Connects what is built after the machine: the vCPU, what interrupts it, the devices that own
    /// MSRs (null on boards without them).</summary>
    public void Attach(IVcpu vcpu, IInterruptSource interrupts, LocalApic? localApic, KvmClock? kvmClock)
    {
        _interrupts = interrupts;
        _localApic = localApic;
        _kvmClock = kvmClock;
        Volatile.Write(ref _vcpu, vcpu);
    }

    /// <inheritdoc/>
    public uint ReadPort(ushort port, int size) => Bus.ReadPort(port, size);

    /// <inheritdoc/>
    public void WritePort(ushort port, int size, uint value) => Bus.WritePort(port, size, value);

    /// <inheritdoc/>
    public ulong ReadMmio(ulong gpa, int size) => Bus.ReadMmio(gpa, size);

    /// <inheritdoc/>
    public void WriteMmio(ulong gpa, int size, ulong value) => Bus.WriteMmio(gpa, size, value);

    /// <inheritdoc/>
    public int AcknowledgeInterrupt() => _interrupts!.Acknowledge();

    /// <inheritdoc/>
    public bool TryReadMsr(uint index, out ulong value)
    {
        value = 0;
        return (_localApic?.TryReadMsr(index, out value) ?? false)
            || (_kvmClock?.TryReadMsr(index, out value) ?? false);
    }

    /// <inheritdoc/>
    public MsrResult WriteMsr(uint index, ulong value)
    {
        MsrResult result = _localApic?.WriteMsr(index, value) ?? MsrResult.NotHandled;
        return result != MsrResult.NotHandled ? result
            : _kvmClock?.WriteMsr(index, value) ?? MsrResult.NotHandled;
    }

    /// <inheritdoc/>
    public void Poll()
    {
        Clock.RunDue();
        while (_inbox.TryDequeue(out Action? work))
        {
            work();
        }

        Polled?.Invoke();
    }

    /// <summary>Sleeps on the vCPU's thread until something is posted or, if
    /// <paramref name="untilDeadline"/>, the next timer is due or an interrupt is already there. May return
    /// early.</summary>
    public void Sleep(bool untilDeadline)
    {
        ulong length = ThreadSleeper.Forever;
        if (untilDeadline)
        {
            ulong deadline = Clock.NextDeadlineNs;
            if (deadline != ulong.MaxValue)
            {
                ulong now = Clock.NowNs;
                length = deadline > now ? deadline - now : 0;
            }

            if (InterruptRequested || length < ShortestSleepNs)
            {
                return;
            }
        }

        // A post between this check and the sleep has already called Wake, and the sleep returns at once.
        if (_inbox.IsEmpty && Ended is null)
        {
            Sleeps++;
            _sleeper.Sleep(length);
        }
    }

    /// <inheritdoc/>
    public void Post(Action work)
    {
        _inbox.Enqueue(work);
        Volatile.Read(ref _vcpu)?.Kick(stop: false);
        _sleeper.Wake();
    }

    /// <summary>From any thread: ends the machine soon with <paramref name="exit"/>, unless it has
    /// ended.</summary>
    public void RequestEnd(MachineExit exit) => Post(() => End(exit));

    /// <summary>From any thread: stops the guest where it is, or lets it go on.</summary>
    public void SetPaused(bool paused) => Post(() =>
    {
        Paused = paused;
        _vcpu?.Kick(stop: true);
    });

    /// <summary>The guest switched the machine off.</summary>
    public void PowerOff() => End(new MachineExit(MachineExitKind.PoweredOff));

    /// <summary>The guest asked for a reset.</summary>
    public void RequestReset() => End(new MachineExit(MachineExitKind.Reset));

    /// <summary>The guest did something its machine cannot survive; <paramref name="reason"/> is a clause
    /// about it.</summary>
    public void Kill(string reason) => End(new MachineExit(MachineExitKind.Crashed, reason));

    /// <summary>Ends the machine, on the vCPU's thread; the first end counts. The engine comes back
    /// soon.</summary>
    public void End(MachineExit exit)
    {
        if (Interlocked.Exchange(ref _ended, 1) == 0)
        {
            Ended = exit;
            _vcpu?.Kick(stop: true);
        }
    }
}
