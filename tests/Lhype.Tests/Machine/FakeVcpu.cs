// A vCPU without an engine: each Run asks a script what the guest did. For tests of the run loop and the
// machine.

using System;
using System.Runtime.InteropServices;
using System.Threading;
using Lhype.Cpu;

namespace Lhype.Tests.Machine;

internal sealed unsafe class FakeVcpu : IVcpu
{
    private readonly Func<FakeVcpu, VcpuExit> _run;

    internal FakeVcpu(Func<FakeVcpu, VcpuExit> run)
    {
        _run = run;
        State = (CpuState*)NativeMemory.AllocZeroed((nuint)CpuState.SizeBytes);
        State->IdtLimit = 0xFFFF;
    }

    public CpuState* State { get; private set; }

    internal int Runs { get; private set; }

    internal int Kicks;

    public EngineStatistics Statistics => default;

    public ParavirtualCpu AttachParavirtual(IParavirtualHost host) => throw new NotSupportedException();

    internal void EnableInterrupts(bool on) => State->InterruptFlag = on ? EflagsBits.Interrupt : 0;

    internal void SetIdtLimit(uint limit) => State->IdtLimit = limit;

    public VcpuExit Run()
    {
        Runs++;
        return _run(this);
    }

    public void Kick(bool stop) => Interlocked.Increment(ref Kicks);

    public void Reset()
    {
    }

    public void StateChanged()
    {
    }

    public void StartProfile(GuestProfile profile)
    {
    }

    public void InvalidateCode(ulong gpa, ulong length)
    {
    }

    public void Dispose()
    {
        NativeMemory.Free(State);
        State = null;
    }
}
