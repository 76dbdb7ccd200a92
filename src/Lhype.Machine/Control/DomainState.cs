// The state file of a running domain: what `lhype list` shows even when the domain does not answer, and
// whose lock says that the domain lives. Written by DomainDirectory.Register.

using System.Text.Json;

namespace Lhype.Machine.Control;

/// <summary>The content of a state file.</summary>
public sealed record DomainState
{
    /// <summary>The longest state file in bytes.</summary>
    public const int MaxBytes = 16 << 10;

    /// <summary>The domain's name.</summary>
    public required string Name { get; init; }

    /// <summary>Its number; also the name of its files.</summary>
    public required int Id { get; init; }

    /// <summary>The process that runs it.</summary>
    public required int Pid { get; init; }

    /// <summary>The kernel's file.</summary>
    public string Kernel { get; set; } = "";

    /// <summary>Guest memory in bytes.</summary>
    public ulong MemoryBytes { get; set; }

    /// <summary>As JSON.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, ControlJson.Default.DomainState);

    /// <summary>Reads what <see cref="ToJson"/> wrote; null if it is something else.</summary>
    public static DomainState? FromJson(string json)
    {
        try
        {
            return JsonSerializer.Deserialize(json, ControlJson.Default.DomainState);
        }
        catch (JsonException)
        {
            return null;
        }
    }
}
