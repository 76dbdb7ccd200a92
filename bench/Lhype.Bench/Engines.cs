// How a guest is started under each engine: the same kernel, initramfs, command line and virtio devices.
// Called by Program.

using System.Collections.Generic;
using Lhype.Machine.Boot;

namespace Lhype.Bench;

/// <summary>What a guest is to be given beside its kernel.</summary>
/// <param name="Programs">What the guest program is to run: classes and names, or "none".</param>
/// <param name="Words">More for the kernel command line.</param>
/// <param name="Disk">A raw disk, or null.</param>
/// <param name="Network">Arguments for the network card by engine; empty: none.</param>
internal sealed record Setup(
    string Programs, string Words = "", string? Disk = null, IReadOnlyList<string>? Network = null);

/// <summary>Command lines of the engines.</summary>
internal static class Engines
{
    /// <summary>The command that runs <paramref name="setup"/> under <paramref name="engine"/>.</summary>
    public static List<string> Command(
        string engine, BenchOptions options, string kernel, string initramfs, Setup setup)
    {
        string words = $"bench={setup.Programs} {setup.Words}".TrimEnd();
        string line = KernelCommandLine.Assemble(KernelKind.Linux, [], words, automatic: true);
        if (engine == "native")
        {
            return [options.GuestProgram, setup.Programs];
        }

        List<string> command = engine == "qemu"
            ?
            [
                options.QemuProgram, "-accel", "tcg", "-m", $"{options.MemoryMib}", "-display", "none",
                "-monitor", "none", "-serial", "stdio", "-no-reboot", "-kernel", kernel,
                "-initrd", initramfs, "-append", line, "-nic", "none",
            ]
            :
            [
                options.LhypeBinary, "run", "--kernel", kernel, "--initrd", initramfs, "--memory",
                $"{options.MemoryMib}", "--quiet", "--no-auto-cmdline", "--append", line,
            ];
        if (engine != "qemu" && options.Cpu is { } cpu)
        {
            command.AddRange(["--cpu", cpu]);
        }

        if (setup.Disk is { } disk)
        {
            command.AddRange(engine == "qemu"
                ? ["-drive", $"file={disk},format=raw,if=virtio"]
                : ["--disk", disk]);
        }

        command.AddRange(setup.Network ?? []);
        return command;
    }

    /// <summary>A card with address translation to the host.</summary>
    public static IReadOnlyList<string> UserNetwork(string engine) => engine == "qemu"
        ? ["-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n"]
        : ["--net", "user"];

    /// <summary>A card on an Ethernet that two guests share: through <paramref name="hub"/> for Lhype,
    /// through a socket at <paramref name="port"/> for QEMU, where the first guest listens.</summary>
    public static IReadOnlyList<string> SharedNetwork(string engine, string hub, int port, bool first) =>
        engine == "qemu"
            ?
            [
                "-netdev", $"socket,id=n,{(first ? "listen" : "connect")}=127.0.0.1:{port}",
                "-device", $"virtio-net-pci,netdev=n,mac=52:54:00:12:34:{(first ? 1 : 2):x2}",
            ]
            : ["--net", $"hub={hub}"];
}
