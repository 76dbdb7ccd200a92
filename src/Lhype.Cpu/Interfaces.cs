// The boundary between an engine and the machine around it. Machine implements ICpuBus; engines implement
// IVcpu. Devices never see either. Everything here is called on the vCPU's own thread unless it says
// otherwise.

using System;

namespace Lhype.Cpu;

/// <summary>What the machine offers a vCPU: ports, MMIO, interrupts, paravirtual registers, time.</summary>
public interface ICpuBus
{
    /// <summary>Reads <paramref name="size"/> (1, 2, 4) bytes from an I/O port. Unclaimed ports give all
    /// ones.</summary>
    uint ReadPort(ushort port, int size);

    /// <summary>Writes <paramref name="size"/> (1, 2, 4) bytes to an I/O port. Unclaimed ports ignore
    /// it.</summary>
    void WritePort(ushort port, int size, uint value);

    /// <summary>Reads <paramref name="size"/> (1, 2, 4, 8) bytes at a guest-physical address that is not
    /// RAM.</summary>
    ulong ReadMmio(ulong gpa, int size);

    /// <summary>Writes <paramref name="size"/> (1, 2, 4, 8) bytes at a guest-physical address that is not
    /// RAM.</summary>
    void WriteMmio(ulong gpa, int size, ulong value);

    /// <summary>True while an interrupt controller asserts INTR towards this vCPU.</summary>
    bool InterruptRequested { get; }

    /// <summary>INTA: the vector to deliver, or -1 if the request has gone.</summary>
    int AcknowledgeInterrupt();

    /// <summary>Reads an MSR the machine owns (APIC base, TSC deadline, KVM paravirtual). False: not one of
    /// them.</summary>
    bool TryReadMsr(uint index, out ulong value);

    /// <summary>Writes an MSR the machine owns. <see cref="MsrResult.GeneralProtection"/>: reserved bits or
    /// bad value.</summary>
    MsrResult WriteMsr(uint index, ulong value);

    /// <summary>Frequency of the guest TSC in Hz.</summary>
    ulong TscHz { get; }

    /// <summary>Runs due timers and posted work. Called about every 10 us of guest time and while
    /// halted.</summary>
    void Poll();
}

/// <summary>Outcome of <see cref="ICpuBus.WriteMsr"/>.</summary>
public enum MsrResult
{
    /// <summary>The machine does not own this MSR.</summary>
    NotHandled,
    /// <summary>Written.</summary>
    Written,
    /// <summary>The value is not allowed: the guest gets #GP(0).</summary>
    GeneralProtection,
}

/// <summary>Why <see cref="IVcpu.Run"/> came back.</summary>
public enum VcpuExit
{
    /// <summary>The guest executed HLT and no interrupt is deliverable: sleep until the next event, then run
    /// again.</summary>
    Halt,
    /// <summary><see cref="IVcpu.Kick"/> was called.</summary>
    Kick,
    /// <summary>Triple fault: the machine resets or ends (SDM vol. 3, 6.15, interrupt 8).</summary>
    Shutdown,
    /// <summary>A debug stop asked for by the machine was reached.</summary>
    Debug,
}

/// <summary>One virtual CPU of an engine. Not thread-safe except <see cref="Kick"/>.</summary>
public unsafe interface IVcpu : IDisposable
{
    /// <summary>The architectural state; valid to read and write while <see cref="Run"/> is not
    /// running.</summary>
    CpuState* State { get; }

    /// <summary>Runs guest code until there is a reason to come back. Never throws for anything a guest
    /// does.</summary>
    VcpuExit Run();

    /// <summary>From any thread: makes <see cref="Run"/> poll the bus, and return <see cref="VcpuExit.Kick"/>
    /// if <paramref name="stop"/>.</summary>
    void Kick(bool stop);

    /// <summary>Puts the CPU into its state after RESET (SDM vol. 3, 9.1.1).</summary>
    void Reset();

    /// <summary>Call after writing segment registers, control registers or EFLAGS through
    /// <see cref="State"/>.</summary>
    void StateChanged();

    /// <summary>Drops translations of guest-physical [<paramref name="gpa"/>, +<paramref name="length"/>),
    /// which a device wrote.</summary>
    void InvalidateCode(ulong gpa, ulong length);

    /// <summary>Call before the first <see cref="Run"/>: collects into <paramref name="profile"/> from then
    /// on. Throws LhypeException if the host cannot.</summary>
    void StartProfile(GuestProfile profile);

    /// <summary>Makes the CPU one of a paravirtual guest, once, before it runs: its kernel stays at CPL 1 and
    /// reaches <paramref name="host"/> by hypercalls. Returns what the host then controls.</summary>
    ParavirtualCpu AttachParavirtual(IParavirtualHost host);

    /// <summary>Counters for <c>--stats</c>.</summary>
    EngineStatistics Statistics { get; }
}

/// <summary>Counters an engine keeps; all totals since creation.</summary>
public struct EngineStatistics
{
    /// <summary>Guest instructions executed.</summary>
    public ulong Instructions;
    /// <summary>Blocks translated.</summary>
    public ulong BlocksTranslated;
    /// <summary>Guest instructions translated.</summary>
    public ulong InstructionsTranslated;
    /// <summary>Host bytes emitted.</summary>
    public ulong HostBytes;
    /// <summary>Time spent translating, nanoseconds.</summary>
    public ulong TranslationNs;
    /// <summary>Data TLB misses handled in C#.</summary>
    public ulong TlbMisses;
    /// <summary>Data TLB misses handled by emitted code.</summary>
    public ulong TlbWalks;
    /// <summary>System instructions executed by emitted code.</summary>
    public ulong SystemThunks;
    /// <summary>TLB flushes, complete or non-global.</summary>
    public ulong TlbFlushes;
    /// <summary>Blocks dropped because the guest wrote their bytes.</summary>
    public ulong BlocksInvalidated;
    /// <summary>Times the whole translation cache was emptied.</summary>
    public ulong CacheFlushes;
    /// <summary>Exits for instructions executed in C#.</summary>
    public ulong TrapExits;
    /// <summary>Exits that linked a direct jump.</summary>
    public ulong LinkExits;
    /// <summary>Exits for indirect jumps not found by emitted code.</summary>
    public ulong IndirectExits;
    /// <summary>Exits because the instruction budget ran out.</summary>
    public ulong PollExits;
    /// <summary>Exceptions delivered to the guest.</summary>
    public ulong Faults;
    /// <summary>External interrupts delivered.</summary>
    public ulong Interrupts;
    /// <summary>Memory operands that went through the bounce buffer (MMIO, page crossing, code
    /// pages).</summary>
    public ulong BouncedAccesses;
    /// <summary>Host signals taken by emitted code.</summary>
    public ulong HostSignals;
}

/// <summary>A way to run guest code: the translator, later /dev/kvm.</summary>
public interface IEngine
{
    /// <summary>Name for the start line and <c>--engine</c>.</summary>
    string Name { get; }

    /// <summary>Makes a vCPU in its RESET state. Throws LhypeException if the host lacks something.</summary>
    IVcpu CreateVcpu(Lhype.Host.GuestRam ram, ICpuBus bus, Architecture.CpuModel model);
}
