// What is said over a domain's control socket: one JSON object a line, a reply to each request, described in
// docs/control.md. The serialisation code is generated at build time (no reflection under AOT).

using System;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Lhype.Machine.Control;

/// <summary>A request to a domain.</summary>
public sealed record ControlRequest
{
    /// <summary>The longest request line in bytes, without its new line.</summary>
    public const int MaxBytes = 4096;

    /// <summary>What to do: one of <see cref="ControlCommand"/>.</summary>
    public required string Command { get; init; }

    /// <summary>For <c>console</c> and <c>resize</c>: the serial port, not the console.</summary>
    public bool Serial { get; set; }

    /// <summary>For <c>resize</c>: characters in a line.</summary>
    public int Columns { get; set; }

    /// <summary>For <c>resize</c>: lines.</summary>
    public int Rows { get; set; }

    /// <summary>This request as a line, new line included.</summary>
    public byte[] ToLine() => ControlJson.Line(this, ControlJson.Default.ControlRequest);

    /// <summary>Reads a line; null and the reason in <paramref name="error"/> if it is no request.</summary>
    public static ControlRequest? Parse(ReadOnlySpan<byte> line, out string error)
    {
        try
        {
            error = "a request is a JSON object";
            return JsonSerializer.Deserialize(line, ControlJson.Default.ControlRequest);
        }
        catch (JsonException wrong)
        {
            error = $"not a request: {wrong.Message}";
            return null;
        }
    }
}

/// <summary>Names of the requests.</summary>
public static class ControlCommand
{
    /// <summary>Describe the domain.</summary>
    public const string Info = "info";

    /// <summary>Stop the guest where it is.</summary>
    public const string Pause = "pause";

    /// <summary>Let it go on.</summary>
    public const string Resume = "resume";

    /// <summary>Press the power button.</summary>
    public const string PowerButton = "power-button";

    /// <summary>End the guest at once.</summary>
    public const string Kill = "kill";

    /// <summary>From the reply on, the connection is the guest's console.</summary>
    public const string Console = "console";

    /// <summary>The terminal that shows the console has a new size.</summary>
    public const string Resize = "resize";
}

/// <summary>A domain's reply.</summary>
public sealed record ControlReply
{
    /// <summary>The longest reply line a client takes, in bytes.</summary>
    public const int MaxBytes = 1 << 20;

    /// <summary>True if the request was carried out.</summary>
    public bool Ok { get; set; }

    /// <summary>If not: a clause that says why.</summary>
    public string? Error { get; set; }

    /// <summary>To <c>info</c>.</summary>
    public DomainInfo? Domain { get; set; }

    /// <summary>To <c>power-button</c>: false if the guest does not listen to the button (yet), and it was
    /// not pressed.</summary>
    public bool? Pressed { get; set; }

    /// <summary>To <c>console</c>: how many bytes of scroll-back come first.</summary>
    public int? ReplayBytes { get; set; }

    /// <summary>This reply as a line, new line included.</summary>
    public byte[] ToLine() => ControlJson.Line(this, ControlJson.Default.ControlReply);

    /// <summary>Reads a line; null if it is no reply.</summary>
    public static ControlReply? Parse(ReadOnlySpan<byte> line)
    {
        try
        {
            return JsonSerializer.Deserialize(line, ControlJson.Default.ControlReply);
        }
        catch (JsonException)
        {
            return null;
        }
    }
}

/// <summary>A domain as it describes itself: state, then configuration.</summary>
public sealed record DomainInfo
{
    /// <summary>Its name.</summary>
    public required string Name { get; init; }

    /// <summary>Its number.</summary>
    public int Id { get; set; }

    /// <summary>Its process.</summary>
    public int Pid { get; set; }

    /// <summary><c>running</c>, <c>paused</c>, <c>starting</c>, or <c>not answering</c>.</summary>
    public required string State { get; init; }

    /// <summary>The kernel in a few words, or its file.</summary>
    public string Kernel { get; set; } = "";

    /// <summary>Guest memory in bytes.</summary>
    public ulong MemoryBytes { get; set; }

    /// <summary>The engine; null until it is known.</summary>
    public string? Engine { get; set; }

    /// <summary>Processor time of its process in seconds; null if it does not answer.</summary>
    public double? CpuSeconds { get; set; }

    /// <summary>Seconds since it was started; null if it does not answer.</summary>
    public double? UptimeSeconds { get; set; }

    /// <summary>Viewers attached to its consoles.</summary>
    public int Viewers { get; set; }

    /// <summary>Its configuration; left out of lists.</summary>
    public MachineConfig? Config { get; set; }

    /// <summary>As indented JSON.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, IndentedControlJson.Default.DomainInfo);

    /// <summary>Several as an indented JSON array.</summary>
    public static string ToJson(DomainInfo[] domains) =>
        JsonSerializer.Serialize(domains, IndentedControlJson.Default.DomainInfoArray);
}

/// <summary>Serialisation code for lines.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    UseStringEnumConverter = true,
    RespectNullableAnnotations = true,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow)]
[JsonSerializable(typeof(ControlRequest))]
[JsonSerializable(typeof(ControlReply))]
[JsonSerializable(typeof(DomainState))]
internal sealed partial class ControlJson : JsonSerializerContext
{
    internal static byte[] Line<T>(T message, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type) =>
        [.. JsonSerializer.SerializeToUtf8Bytes(message, type), (byte)'\n'];
}

/// <summary>Serialisation code for what users read.</summary>
[JsonSourceGenerationOptions(
    WriteIndented = true,
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    UseStringEnumConverter = true,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(DomainInfo[]))]
internal sealed partial class IndentedControlJson : JsonSerializerContext;
