// The whole board, top to bottom: read this file to know what a guest finds and how the parts are joined.
// Called by the command line with a settled configuration; gives back a machine that stands at its kernel's
// first instruction. Everything that can fail because of the user or the host fails here, with one sentence.

using System;
using System.Collections.Generic;
using System.IO;
using Lhype.Cpu;
using Lhype.Cpu.Architecture;
using Lhype.Cpu.Mmu;
using Lhype.Cpu.Translator;
using Lhype.Host;
using Lhype.Machine.Block;
using Lhype.Machine.Boot;
using Lhype.Machine.Bus;
using Lhype.Machine.Devices;
using Lhype.Machine.Devices.Acpi;
using Lhype.Machine.Paravirt;
using Lhype.Machine.Paravirt.Lguest;
using Lhype.Machine.Pci;
using Lhype.Machine.Profile;
using Lhype.Machine.Virtio;

namespace Lhype.Machine;

/// <summary>Builds machines.</summary>
public static class MachineBuilder
{
    private const ulong PageBytes = 4096;
    private const ulong MaxMemoryBytes =
        (1UL << PageWalk.PhysicalAddressBits) - (GuestRam.HighStart - GuestRam.HoleStart);
    private const double MaxTimeoutSeconds = 1_000_000;
    private const ulong SmallMachineBytes = 64 << 20;

    /// <summary>Builds the machine <paramref name="config"/> describes, with <paramref name="console"/> as
    /// its console. With a virtio console, <paramref name="serial"/> (or nothing) is at the serial port.
    /// <paramref name="report"/> is told, from any thread, what goes wrong on the host while the machine
    /// runs, a sentence each time. Throws LhypeException; nothing is left behind then.</summary>
    public static BuiltMachine Build(MachineConfig config, GuestConsole console, GuestConsole? serial = null,
        Action<string>? report = null)
    {
        Check(config);
        List<IDisposable> owned = [];
        try
        {
            return Assemble(config, console, serial, report ?? (_ => { }), owned);
        }
        catch
        {
            for (int i = owned.Count - 1; i >= 0; i--)
            {
                owned[i].Dispose();
            }

            throw;
        }
    }

    /// <summary>The kernel command line of the machine <paramref name="config"/> describes, for a kernel of
    /// <paramref name="kind"/>: what the board needs, then the user's words.</summary>
    public static string CommandLineFor(MachineConfig config, KernelKind kind)
    {
        if (config.Machine == BoardKind.Lhype)
        {
            return LguestBuilder.CommandLineFor(config, kind);
        }

        List<string> extra = [];
        if (config.HasVirtioConsole)
        {
            extra.Add("console=hvc0");
        }

        if (config.MemoryBytes < SmallMachineBytes)
        {
            // The files of ftrace take 6 MiB (Linux kernel/trace/trace.c), more than a small guest has left.
            extra.Add("initcall_blacklist=tracer_init_tracefs");
        }

        if (config.Disks.Count != 0)
        {
            extra.Add("root=" + (config.Root ?? "/dev/vda"));
            extra.Add(config.Disks[0].ReadOnly ? "ro" : "rw");
        }

        return KernelCommandLine.Assemble(kind, extra, config.Append, config.AutoCommandLine);
    }

    /// <summary>The board of <paramref name="config"/>: the user's choice, else the paravirtual one for a
    /// kernel that is certainly made for it, else a PC.</summary>
    public static BoardKind BoardFor(MachineConfig config, KernelImage kernel) => config.Machine
        ?? (LguestDetection.IsCertain(kernel) ? BoardKind.Lhype : BoardKind.Pc);

    /// <summary>Throws LhypeException if <paramref name="config"/> asks for what no machine of this version
    /// can be.</summary>
    public static void Check(MachineConfig config)
    {
        if (config.Cpus != 1)
        {
            throw new LhypeException(
                $"--cpus {config.Cpus}: this version runs guests with one CPU; leave --cpus out.");
        }

        if (config.Engine == EngineKind.Kvm)
        {
            throw new LhypeException(
                "--engine kvm: this version has the translator only; use --engine translator.");
        }

        if (config.Console is not (MachineConfig.Stdio or MachineConfig.Socket or MachineConfig.NotConnected))
        {
            throw new LhypeException($"--console {config.Console}: it is one of stdio, socket, none.");
        }

        if (!(config.TimeoutSeconds >= 0 && config.TimeoutSeconds <= MaxTimeoutSeconds))
        {
            throw new LhypeException($"--timeout: it must be 0 to {MaxTimeoutSeconds} seconds.");
        }

        if (config.MemoryBytes == 0 || config.MemoryBytes % PageBytes != 0)
        {
            throw new LhypeException(
                $"--memory: {config.MemoryBytes} bytes is not a positive multiple of 4096.");
        }

        if (config.MemoryBytes > MaxMemoryBytes)
        {
            throw new LhypeException($"--memory: {config.MemoryBytes >> 30} GiB are more than a guest can "
                + $"address; use at most {MaxMemoryBytes >> 30}G.");
        }

        int cards = config.Disks.Count + config.Networks.Count;
        if (cards >= PciHostBridge.SlotCount - 3)
        {
            throw new LhypeException(
                $"--disk and --net: {cards} devices are more than the PCI bus has slots for.");
        }
    }

    private static BuiltMachine Assemble(
        MachineConfig config, GuestConsole console, GuestConsole? serial, Action<string> report,
        List<IDisposable> owned)
    {
        // The user's files first: most mistakes are there, and they are cheap to find.
        CpuModel model = CpuModel.Find(config.Cpu);
        KernelImage kernel = KernelImage.Load(config.Kernel, UnpackedKernelCache.ForUser());
        CheckBits(kernel, model);
        List<InitrdFile> initrds = [];
        foreach (string file in config.Initrds)
        {
            initrds.Add(InitrdFile.Load(file));
        }

        List<IBlockBackend> disks = OpenDisks(config, owned);
        if (BoardFor(config, kernel) == BoardKind.Lhype)
        {
            return LguestBuilder.Assemble(
                new LguestParts(config with { Machine = BoardKind.Lhype }, model, kernel, initrds, disks,
                    console, report), owned);
        }

        // Time, memory and the CPU. The engine is told of every write a device makes, because it may hit
        // code.
        HostClock hostClock = Own(owned, new HostClock());
        VirtualMachine machine = new(new VirtualClock(new HostClockSource(hostClock)));
        GuestRam ram = Own(owned, new GuestRam(RamBytes(config.MemoryBytes)));
        IEngine engine = new TranslatorEngine();
        IVcpu vcpu = Own(owned, engine.CreateVcpu(ram, machine, model));
        GuestMemory memory = new(ram, vcpu.InvalidateCode);
        HostEntropySource entropy = new();

        // Interrupt controllers, and the two devices that own MSRs.
        LocalApic localApic = new(machine.Clock, 0);
        Pic8259 pic = new();
        InterruptRouter router = new(pic, localApic);
        KvmClock kvmClock = new(machine.Clock, memory);
        machine.Attach(vcpu, router, localApic, kvmClock);
        pic.Attach(machine.Bus);
        localApic.Attach(machine.Bus);
        router.IoApic.Attach(machine.Bus);

        AcpiPm power = AddChips(config, console, serial, machine, router, memory);
        NetworkHost host = new(machine, machine.Clock, report);
        List<VirtioNet> cards = NetworkCards.Make(config, memory, host, owned);
        AddPci(config, console, machine, router, memory, entropy, disks, cards);

        // What firmware would leave in memory, the kernel, and the CPU at its entry.
        AcpiTables.Place(memory, config.Cpus);
        string commandLine = CommandLineFor(config, kernel.Kind);
        BootInputs inputs = new()
        {
            CommandLine = commandLine,
            Initrds = initrds,
            AcpiRsdpAddress = AcpiTables.RsdpAddress,
            Entropy = entropy,
        };
        Start(vcpu, BootLoader.Load(kernel, inputs, memory), hostClock);

        BuiltMachine built = new()
        {
            Machine = machine,
            Vcpu = vcpu,
            EngineName = engine.Name,
            KernelName = kernel.Description,
            CommandLine = commandLine,
            Profiling = config.Profile is null ? null : new GuestProfiling(vcpu, memory, kernel),
            PowerButton = power,
        };
        built.Own(owned);
        return built;
    }

    private static void CheckBits(KernelImage kernel, CpuModel model)
    {
        if (kernel.Bits == 64 && !model.HasLongMode)
        {
            throw new LhypeException($"The kernel {kernel.Name} is 64-bit and the CPU model {model.Name} "
                + "runs 32-bit kernels only; use an i386 kernel such as linux-image-686.");
        }
    }

    // The chips of a PC at their usual ports.
    private static AcpiPm AddChips(MachineConfig config, GuestConsole console, GuestConsole? serialConsole,
        VirtualMachine machine, InterruptRouter router, GuestMemory memory)
    {
        VirtualClock clock = machine.Clock;
        AddressBus bus = machine.Bus;

        new Pit8254(clock, router.CreateLine(MemoryMap.PitIrq)).Attach(bus);
        IrqLine rtcIrq = router.CreateLine(MemoryMap.RtcIrq);
        new Rtc146818(clock, rtcIrq, memory.LowSize, memory.HighSize).Attach(bus);
        new I8042(router.CreateLine(MemoryMap.KeyboardIrq), machine.RequestReset).Attach(bus);
        IrqLine sci = router.CreateLine(MemoryMap.AcpiIrq);
        AcpiPm power = new(clock, sci, machine.PowerOff, machine.RequestReset);
        power.Attach(bus);

        // The serial port is the console, unless there is a virtio console.
        GuestConsole? port = config.HasVirtioConsole ? serialConsole : console;
        Uart16550 serial = new(clock, router.CreateLine(MemoryMap.Com1Irq), value => port?.Print(value));
        serial.Attach(bus, MemoryMap.Com1Port);
        port?.Connect(machine, serial.Receive);
        serial.RoomAvailable = port is null ? null : port.Feed;

        if (config.DebugExit)
        {
            void Exit(int status) => machine.End(new MachineExit(MachineExitKind.DebugExit, Value: status));
            new DebugExit(Exit).Attach(bus);
        }

        return power;
    }

    // The PCI bus: disks from slot 1 in the order given, network cards, then console and entropy source.
    private static void AddPci(MachineConfig config, GuestConsole console, VirtualMachine machine,
        InterruptRouter router, GuestMemory memory, IEntropy entropy, List<IBlockBackend> disks,
        List<VirtioNet> cards)
    {
        List<VirtioDevice> devices = [];
        for (int i = 0; i < disks.Count; i++)
        {
            devices.Add(new VirtioBlock(memory, machine, disks[i], config.Disks[i].Id ?? $"disk{i}"));
        }

        devices.AddRange(cards);
        if (config.HasVirtioConsole)
        {
            VirtioConsole virtio = new(memory, machine, console.Print);
            console.Connect(machine, value => virtio.Receive([value]) == 1, virtio.Resize);
            virtio.RoomAvailable = console.Feed;
            devices.Add(virtio);
        }

        devices.Add(new VirtioRng(memory, machine, entropy));

        PciHostBridge bridge = new(router);
        bridge.Attach(machine.Bus);
        for (int i = 0; i < devices.Count; i++)
        {
            int slot = i + 1;
            bridge.Plug(slot, new VirtioPciTransport(devices[i], machine.Bus, bridge.InterruptsOf(slot),
                (uint)MemoryMap.PciMmioStart + ((uint)i * VirtioPciTransport.WindowBytes),
                (byte)MemoryMap.PciIrq(slot)));
        }

        bridge.AssignResources();
    }

    // Small machines lose nothing to the hole for video and ROM: as the chipsets of their time did, the board
    // moves the RAM behind it to the top. Linux insists on RAM under all of its image, which for Debian's
    // i386 kernels ends a few pages above 32 MiB.
    private static ulong RamBytes(ulong wanted) =>
        wanted < SmallMachineBytes ? wanted + (BootLayout.ReservedEnd - BootLayout.ReservedStart) : wanted;

    private static void Start(IVcpu vcpu, BootState state, HostClock clock)
    {
        const int Eax = 0, Ebx = 3, Esp = 4, Esi = 6;
        vcpu.Reset();
        VcpuRegisters.SetTscOffset(vcpu, 0 - clock.TicksAtStart);
        VcpuRegisters.SetGpr(vcpu, Eax, state.Eax);
        VcpuRegisters.SetGpr(vcpu, Ebx, state.Ebx);
        VcpuRegisters.SetGpr(vcpu, Esp, state.Esp);
        VcpuRegisters.SetGpr(vcpu, Esi, state.Esi);
        Load(vcpu, SegmentRegister.Cs, state.Code);
        ReadOnlySpan<SegmentRegister> data =
        [
            SegmentRegister.Ds, SegmentRegister.Es, SegmentRegister.Fs, SegmentRegister.Gs,
            SegmentRegister.Ss,
        ];
        foreach (SegmentRegister register in data)
        {
            Load(vcpu, register, state.Data);
        }

        VcpuRegisters.SetPaging(vcpu, state.Cr3, state.Cr4, state.Efer);
        VcpuRegisters.SetProtectedMode(vcpu, state.Eip, state.Cr0, state.GdtBase, state.GdtLimit);
    }

    private static void Load(IVcpu vcpu, SegmentRegister register, in BootSegment segment) =>
        VcpuRegisters.SetSegment(vcpu, register, segment.Selector, segment.Base, segment.Limit,
            segment.Attributes);

    private static List<IBlockBackend> OpenDisks(MachineConfig config, List<IDisposable> owned)
    {
        List<IBlockBackend> disks = [];
        foreach (DiskConfig disk in config.Disks)
        {
            // With --snapshot the image itself is only read, so several guests may use it at once.
            IBlockBackend backend = Own(owned, RawFile.Open(disk.File, disk.ReadOnly || config.Snapshot));
            if (config.Snapshot && !disk.ReadOnly)
            {
                backend = Own(owned, SnapshotOverlay.Over(backend, Path.GetTempPath()));
            }

            disks.Add(backend);
        }

        return disks;
    }

    private static T Own<T>(List<IDisposable> owned, T thing)
        where T : IDisposable
    {
        owned.Add(thing);
        return thing;
    }
}
