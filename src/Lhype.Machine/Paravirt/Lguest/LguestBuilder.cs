// The whole board of a paravirtual guest: RAM, a CPU whose kernel stays at CPL 1, a clock, and the devices
// of the dialect. There is no PC around it. Called by MachineBuilder for --machine lhype and for kernels
// that say they are made for it.

using System;
using System.Collections.Generic;
using Lhype.Cpu;
using Lhype.Cpu.Architecture;
using Lhype.Cpu.Translator;
using Lhype.Host;
using Lhype.Machine.Block;
using Lhype.Machine.Boot;
using Lhype.Machine.Bus;
using Lhype.Machine.Devices;

namespace Lhype.Machine.Paravirt.Lguest;

/// <summary>What MachineBuilder has opened for the machine, whatever its board.</summary>
internal sealed record LguestParts(MachineConfig Config, CpuModel Model, KernelImage Kernel,
    IReadOnlyList<InitrdFile> Initrds, IReadOnlyList<IBlockBackend> Disks, GuestConsole Console,
    Action<string> Report);

/// <summary>Builds the machines of paravirtual guests.</summary>
internal static class LguestBuilder
{
    /// <summary>Most RAM of a guest, in bytes: devices follow it below 3 GiB.</summary>
    private const ulong MaxMemoryBytes = GuestRam.HoleStart - (64UL << 20);

    /// <summary>The kernel command line of such a guest: see MachineBuilder.</summary>
    internal static string CommandLineFor(MachineConfig config, KernelKind kind)
    {
        List<string> extra = [];
        if (config.Disks.Count != 0)
        {
            string first = config.LguestAbi == LguestGeneration.A ? "/dev/lgba" : "/dev/vda";
            extra.Add("root=" + (config.Root ?? first));
            extra.Add(config.Disks[0].ReadOnly ? "ro" : "rw");
        }

        return KernelCommandLine.Assemble(
            kind, extra, config.Append, config.AutoCommandLine, paravirtual: true);
    }

    /// <summary>Builds the machine, at its kernel's first instruction; what must be freed goes to
    /// <paramref name="owned"/>. Throws LhypeException.</summary>
    internal static BuiltMachine Assemble(LguestParts parts, List<IDisposable> owned)
    {
        MachineConfig config = parts.Config;
        if (config.MemoryBytes > MaxMemoryBytes)
        {
            throw new LhypeException(
                $"--memory: a paravirtual guest can have at most {MaxMemoryBytes >> 20} MiB.");
        }

        LguestDevices.Check(config);
        LguestGeneration? generation = config.LguestAbi;
        bool extended = config.LguestPae;
        if (generation is null
            && LguestDetection.TryFromImage(parts.Kernel, out LguestGeneration stated, out extended))
        {
            generation = stated;
        }

        LguestKernel kernel = LguestKernel.From(parts.Kernel, generation);
        string commandLine = CommandLineFor(config with { LguestAbi = generation }, parts.Kernel.Kind);

        // RAM goes on behind its top with the pages of devices. There is no hole for a video card in it.
        uint top = (uint)config.MemoryBytes;
        HostClock hostClock = new();
        owned.Add(hostClock);
        VirtualMachine machine = new(new VirtualClock(new HostClockSource(hostClock)));
        GuestRam ram = new(top + (LguestBoard.DevicePages * 4096UL), videoHole: false);
        owned.Add(ram);
        IEngine engine = new TranslatorEngine();
        IVcpu vcpu = engine.CreateVcpu(ram, machine, parts.Model);
        owned.Add(vcpu);
        GuestMemory memory = new(ram, vcpu.InvalidateCode);
        uint tablesEnd = LguestLoader.Load(parts.Kernel, kernel, commandLine, parts.Initrds, memory, top,
            LguestTables.BytesFor(top, extended));

        // The host of the guest, which makes the devices when it knows the dialect.
        List<NetworkConnection> networks = NetworkCards.Open(
            config, new NetworkHost(machine, machine.Clock, parts.Report), owned);
        LguestHost host = null!;
        ILguestDevices MakeDevices(LguestDialect dialect) => LguestDevices.Create(new LguestBoard
        {
            Config = config,
            Dialect = dialect,
            Machine = machine,
            Memory = memory,
            MemoryTop = top,
            Console = parts.Console,
            Disks = parts.Disks,
            Networks = networks,
            Entropy = new HostEntropySource(),
            RaiseInterrupt = irq => host.RaiseInterrupt(irq),
        });
        LguestSetup setup = new()
        {
            Dialect = generation is { } known ? LguestDialect.Of(known) : null,
            Extended = extended,
            MemoryTop = top,
            TablesEnd = tablesEnd,
            PageOffset = kernel.PageOffset,
            Release = LguestDetection.FindRelease(parts.Kernel),
            GuestId = LguestDevices.GuestIdOf(config),
        };
        host = new LguestHost(machine, memory, parts.Console, setup, MakeDevices);
        machine.Attach(vcpu, host, localApic: null, kvmClock: null);
        if (config.DebugExit)
        {
            void Exit(int status) => machine.End(new MachineExit(MachineExitKind.DebugExit, Value: status));
            new DebugExit(Exit).Attach(machine.Bus);
        }

        vcpu.Reset();
        VcpuRegisters.SetTscOffset(vcpu, 0 - hostClock.TicksAtStart);
        host.Attach(vcpu.AttachParavirtual(host), kernel.Entry);

        BuiltMachine built = new()
        {
            Machine = machine,
            Vcpu = vcpu,
            EngineName = engine.Name,
            KernelName = $"{parts.Kernel.Description}, paravirtual"
                + (generation is { } dialect ? $" (dialect {dialect})" : ""),
            CommandLine = commandLine,
            Details = host.DescribeCalls,
        };
        built.Own(owned);
        return built;
    }
}

/// <summary>What lies behind the RAM of a guest of dialects A to E, up to 4 GiB: nothing. A page table entry
/// that leads there ends the guest.</summary>
internal sealed class LguestBeyondRam : IMmioDevice
{
    private readonly ulong _start;
    private readonly Action<string> _kill;

    internal LguestBeyondRam(ulong start, Action<string> kill)
    {
        _start = start;
        _kill = kill;
    }

    /// <inheritdoc/>
    public ulong ReadMmio(ulong offset, int size)
    {
        Refuse(offset);
        return ulong.MaxValue >> (64 - (8 * size));
    }

    /// <inheritdoc/>
    public void WriteMmio(ulong offset, int size, ulong value) => Refuse(offset);

    private void Refuse(ulong offset) =>
        _kill($"bad page table entry: physical address {_start + offset:x8} is not memory of the guest");
}
