// The run loop with a scripted CPU: halts sleep and wake, triple faults are told from resets, ends are final.

using System;
using System.Threading;
using Lhype.Cpu;
using Lhype.Host;
using Lhype.Machine;
using Lhype.Machine.Bus;
using Lhype.Machine.Devices;
using Lhype.Machine.Paravirt;
using Xunit;

namespace Lhype.Tests.Machine;

public sealed class VcpuLoopTests : IDisposable
{
    private readonly HostClock _hostClock = new();
    private readonly VirtualClock _clock;
    private readonly GuestRam _ram = new(1 << 20);
    private readonly VirtualMachine _machine;

    public VcpuLoopTests()
    {
        _clock = new VirtualClock(new HostClockSource(_hostClock));
        _machine = new VirtualMachine(_clock);
    }

    public void Dispose()
    {
        _ram.Dispose();
        _hostClock.Dispose();
    }

    [Fact]
    public void HaltSleepsUntilATimerAndTheGuestGoesOn()
    {
        bool fired = false;
        ClockTimer timer = _clock.CreateTimer(() => fired = true);
        timer.Arm(_clock.NowNs + 2_000_000);
        MachineExit exit = Run(cpu =>
        {
            cpu.EnableInterrupts(true);
            if (fired)
            {
                _machine.PowerOff();
                return VcpuExit.Kick;
            }

            return VcpuExit.Halt;
        });
        Assert.Equal(MachineExitKind.PoweredOff, exit.Kind);
        Assert.Equal(0, exit.Status);
        Assert.True(_machine.Sleeps >= 1);
    }

    [Fact]
    public void PostWakesAHaltWithoutTimers()
    {
        Thread? poster = null;
        MachineExit exit = Run(cpu =>
        {
            cpu.EnableInterrupts(true);
            poster ??= StartPosting(() => _machine.RequestEnd(new MachineExit(MachineExitKind.Stopped)));
            return VcpuExit.Halt;
        });
        poster!.Join();
        Assert.Equal(MachineExitKind.Stopped, exit.Kind);
    }

    [Fact]
    public void HaltWithInterruptsOffIsTheEnd()
    {
        MachineExit exit = Run(cpu =>
        {
            cpu.EnableInterrupts(false);
            return VcpuExit.Halt;
        });
        Assert.Equal(3, exit.Status);
        Assert.Contains("interrupts disabled", exit.Reason, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0u, MachineExitKind.Reset)]
    [InlineData(0x7FFu, MachineExitKind.Crashed)]
    public void TripleFaultWithAnEmptyIdtIsAReset(uint idtLimit, MachineExitKind kind)
    {
        MachineExit exit = Run(cpu =>
        {
            cpu.SetIdtLimit(idtLimit);
            return VcpuExit.Shutdown;
        });
        Assert.Equal(kind, exit.Kind);
    }

    [Fact]
    public void FirstEndCounts()
    {
        MachineExit exit = Run(_ =>
        {
            _machine.End(new MachineExit(MachineExitKind.DebugExit, Value: 11));
            _machine.Kill("too late");
            return VcpuExit.Kick;
        });
        Assert.Equal(11, exit.Status);
    }

    [Fact]
    public void PausedGuestDoesNotRunUntilResumed()
    {
        Thread? poster = null;
        FakeVcpu? vcpu = null;
        int runsWhilePaused = -1;
        MachineExit exit = Run(cpu =>
        {
            vcpu = cpu;
            if (poster is null)
            {
                _machine.SetPaused(true);
                int runs = cpu.Runs;
                poster = StartPosting(() => _machine.Post(() =>
                {
                    runsWhilePaused = vcpu!.Runs - runs;
                    _machine.SetPaused(false);
                }));
                return VcpuExit.Kick;
            }

            _machine.PowerOff();
            return VcpuExit.Kick;
        });
        poster!.Join();
        Assert.Equal(0, runsWhilePaused);
        Assert.Equal(MachineExitKind.PoweredOff, exit.Kind);
    }

    private static Thread StartPosting(Action post)
    {
        Thread thread = new(() => post());
        thread.Start();
        return thread;
    }

    private MachineExit Run(Func<FakeVcpu, VcpuExit> script)
    {
        using FakeVcpu vcpu = new(script);
        LocalApic localApic = new(_clock, 0);
        InterruptRouter router = new(new Pic8259(), localApic);
        _machine.Attach(vcpu, router, localApic, new KvmClock(_clock, new GuestMemory(_ram, (_, _) => { })));
        return new VcpuLoop(_machine, vcpu).Run();
    }
}
