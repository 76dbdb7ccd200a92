// The settled configuration of one machine: everything the options of `lhype run` say, after names were
// looked up and defaults filled in. Filled by the command line (or read back from --config), printed by
// --dry-run, and the only thing MachineBuilder takes decisions from. Optional settings have setters, not init
// accessors: generated JSON code would set an init-only property that the file leaves out to null instead of
// leaving its default.

using System;
using System.Collections.Generic;
using System.Text.Json;
using System.Text.Json.Serialization;
using Lhype.Host;
using Lhype.Machine.Paravirt.Lguest;

namespace Lhype.Machine;

/// <summary>The board to build (<c>--machine</c>).</summary>
public enum BoardKind
{
    /// <summary>A PC: PIC, PIT, RTC, APICs, ACPI, PCI.</summary>
    Pc,
    /// <summary>The hypercall machine of the Lhype guest interface.</summary>
    Lhype,
}

/// <summary>The engine to run the guest with (<c>--engine</c>).</summary>
public enum EngineKind
{
    /// <summary>The best one this host offers.</summary>
    Auto,
    /// <summary>Same-ISA binary translation.</summary>
    Translator,
    /// <summary>Hardware virtualisation through /dev/kvm.</summary>
    Kvm,
}

/// <summary>What a network card is connected to (<c>--net</c>).</summary>
public enum NetworkKind
{
    /// <summary>Nothing: no card.</summary>
    None,
    /// <summary>Address translation in user space.</summary>
    User,
    /// <summary>A hub shared by all guests that name the same file.</summary>
    Hub,
    /// <summary>A tap interface of the host.</summary>
    Tap,
}

/// <summary>One <c>--disk</c>.</summary>
public sealed record DiskConfig
{
    /// <summary>The raw image file.</summary>
    public required string File { get; init; }

    /// <summary>The guest may not write.</summary>
    public bool ReadOnly { get; set; }

    /// <summary>What the guest sees as the disk's serial number (virtio-blk device ID, at most 20
    /// bytes).</summary>
    public string? Id { get; set; }
}

/// <summary>One <c>--net</c>.</summary>
public sealed record NetworkConfig
{
    /// <summary>What the card is connected to.</summary>
    public NetworkKind Kind { get; set; }

    /// <summary>The hub file, or the name of the tap interface; null: a tap interface of any name.</summary>
    public string? Target { get; set; }

    /// <summary>The IPv4 address that the host's end of a tap interface gets; null: as it is.</summary>
    public string? HostAddress { get; set; }

    /// <summary>The host's bridge that a tap interface becomes a port of; null: as it is.</summary>
    public string? Bridge { get; set; }

    /// <summary>The card's Ethernet address; null: it follows from the domain's ID or name.</summary>
    public string? Mac { get; set; }

    /// <summary>The file to which all frames are written, in pcap form; null: none.</summary>
    public string? Pcap { get; set; }

    /// <summary>Forwarded ports of <c>user</c>, each as written:
    /// <c>tcp:HOSTADDRESS:PORT-GUESTADDRESS:PORT</c>.</summary>
    public IReadOnlyList<string> HostForwards { get; set; } = [];
}

/// <summary>The settled configuration of one machine.</summary>
public sealed record MachineConfig
{
    /// <summary>Value of <see cref="Serial"/> and <see cref="Console"/>: the tool's own terminal.</summary>
    public const string Stdio = "stdio";

    /// <summary>Value of <see cref="Serial"/> and <see cref="Console"/>: not connected.</summary>
    public const string NotConnected = "none";

    /// <summary>Value of <see cref="Serial"/> and <see cref="Console"/>: nothing but the domain's control
    /// socket, for <c>lhype console</c>.</summary>
    public const string Socket = "socket";

    /// <summary>Memory when <c>--memory</c> is not given, in bytes.</summary>
    public const ulong DefaultMemoryBytes = 256UL << 20;

    /// <summary>Domain name.</summary>
    public string Name { get; set; } = "";

    /// <summary>True if the name was not chosen by the user: a running domain of the same name makes it get a
    /// number, instead of being an error.</summary>
    public bool AutoName { get; set; }

    /// <summary>Domain ID of <c>lhype add</c>; null: only the name tells domains apart.</summary>
    public string? Id { get; set; }

    /// <summary>Kernel file; its type is found from its content.</summary>
    public required string Kernel { get; init; }

    /// <summary>Initial ram disks, given to the guest as one, in this order.</summary>
    public IReadOnlyList<string> Initrds { get; set; } = [];

    /// <summary>The user's kernel arguments (<c>--append</c> and those after <c>--</c>).</summary>
    public string Append { get; set; } = "";

    /// <summary>False with <c>--no-auto-cmdline</c>: the guest gets <see cref="Append"/> and nothing
    /// else.</summary>
    public bool AutoCommandLine { get; set; } = true;

    /// <summary>Guest RAM in bytes, a multiple of 4096.</summary>
    public ulong MemoryBytes { get; set; } = DefaultMemoryBytes;

    /// <summary>Number of virtual CPUs.</summary>
    public int Cpus { get; set; } = 1;

    /// <summary>Disks in the order the guest sees them.</summary>
    public IReadOnlyList<DiskConfig> Disks { get; set; } = [];

    /// <summary>What <c>root=</c> the tool arranges when there are disks; null: the whole first
    /// disk.</summary>
    public string? Root { get; set; }

    /// <summary>Disk writes go to a temporary overlay that is dropped at the end.</summary>
    public bool Snapshot { get; set; }

    /// <summary>Network cards.</summary>
    public IReadOnlyList<NetworkConfig> Networks { get; set; } = [];

    /// <summary>Name of the CPU model the guest's CPUID shows.</summary>
    public string Cpu { get; set; } = "base";

    /// <summary>The board; null: found from the kernel.</summary>
    public BoardKind? Machine { get; set; }

    /// <summary>The dialect a paravirtual guest speaks (<c>--lguest-abi</c>); null: found from the
    /// guest.</summary>
    public LguestGeneration? LguestAbi { get; set; }

    /// <summary>The kernel of a paravirtual guest of dialect D was built for PAE.</summary>
    public bool LguestPae { get; set; }

    /// <summary>The engine.</summary>
    public EngineKind Engine { get; set; }

    /// <summary>Where the first serial port goes: <see cref="Stdio"/>, <see cref="Socket"/>,
    /// <see cref="NotConnected"/> or a file to write.</summary>
    public string Serial { get; set; } = Stdio;

    /// <summary>Where the virtio console goes: <see cref="Stdio"/>, <see cref="Socket"/> or
    /// <see cref="NotConnected"/> (no such device).</summary>
    public string Console { get; set; } = NotConnected;

    /// <summary>True if there is a virtio console; it is the guest's main console then.</summary>
    [JsonIgnore]
    public bool HasVirtioConsole => Console != NotConnected;

    /// <summary>Port 0xF4 ends the machine with status (value &lt;&lt; 1) | 1.</summary>
    public bool DebugExit { get; set; }

    /// <summary>A reset asked for by the guest ends the machine instead of restarting it.</summary>
    public bool NoReboot { get; set; }

    /// <summary>Stop and fail after this many seconds; 0: never.</summary>
    public double TimeoutSeconds { get; set; }

    /// <summary>Print counters to standard error at the end.</summary>
    public bool Statistics { get; set; }

    /// <summary>File for a profile of the guest; null: none.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Profile { get; set; }

    /// <summary>How much the tool says: -1 with <c>-q</c>, 1 with <c>-v</c>.</summary>
    public int Verbosity { get; set; }

    /// <summary>The whole command line the kernel is given, for the reader of <c>--dry-run</c>. It follows
    /// from the rest, so <c>--config</c> does not use it.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? KernelCommandLine { get; set; }

    /// <summary>This configuration as the JSON of <c>--dry-run</c>.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, MachineConfigJson.Default.MachineConfig);

    /// <summary>Reads what <see cref="ToJson"/> wrote; <paramref name="source"/> names the file in errors.
    /// Throws <see cref="LhypeException"/> for anything that is not such a configuration.</summary>
    public static MachineConfig FromJson(string json, string source)
    {
        try
        {
            return JsonSerializer.Deserialize(json, MachineConfigJson.Default.MachineConfig)
                ?? throw new LhypeException($"{source} holds no configuration; write one with --dry-run.");
        }
        catch (JsonException error)
        {
            throw new LhypeException(
                $"{source} is not a configuration as printed by --dry-run: {FirstSentence(error.Message)}",
                error);
        }
    }

    private static string FirstSentence(string message)
    {
        int end = message.IndexOf(". ", StringComparison.Ordinal);
        return end < 0 ? message : message[..(end + 1)];
    }
}

/// <summary>Serialisation code for <see cref="MachineConfig"/>, generated at build time (no reflection under
/// AOT).</summary>
[JsonSourceGenerationOptions(
    WriteIndented = true,
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    UseStringEnumConverter = true,
    RespectNullableAnnotations = true,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow)]
[JsonSerializable(typeof(MachineConfig))]
internal sealed partial class MachineConfigJson : JsonSerializerContext;
