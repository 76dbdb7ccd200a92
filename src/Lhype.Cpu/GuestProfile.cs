// Where a guest's time goes: samples and exact counts, as an engine collects them for `--profile`. Addresses
// are the guest's own; Lhype.Machine gives them names and writes the report.

using System.Collections.Generic;
using System.Linq;
using Iced.Intel;

namespace Lhype.Cpu;

/// <summary>What the vCPU's thread was doing. The engine notes it in its state before it does something that
/// may take long, so that a sample can tell.</summary>
public enum Activity
{
    /// <summary>Guest code, or what is next to it in C#: the exit of the last reason.</summary>
    Guest,
    /// <summary>A memory operand on its slow path: TLB miss, page-crossing or watched page.</summary>
    Operand,
    /// <summary>A device's memory-mapped register, from a memory operand.</summary>
    Mmio,
    /// <summary>A device's port.</summary>
    Port,
    /// <summary>Translating guest code.</summary>
    Translation,
    /// <summary>Delivering an exception to the guest.</summary>
    Exception,
    /// <summary>Delivering an interrupt to the guest.</summary>
    Interrupt,
    /// <summary>Timers and posted work.</summary>
    Poll,
    /// <summary>Outside the engine: the run loop, going to sleep.</summary>
    Outside,
    /// <summary>Emitted routines that all blocks share: entering and leaving guest code, look-ups.</summary>
    Shared,
    /// <summary>An instruction executed in C#.</summary>
    Trap,
    /// <summary>Finding the target of a jump in C#.</summary>
    Jump,
}

/// <summary>Guest time spent at one place.</summary>
public sealed class ProfileSample
{
    /// <summary>Linear address of the guest instruction; its page only if <see cref="PageOnly"/>.</summary>
    public required ulong Address { get; init; }

    /// <summary>True if only the page of <see cref="Address"/> is known.</summary>
    public required bool PageOnly { get; init; }

    /// <summary>True at CPL 3.</summary>
    public required bool User { get; init; }

    /// <summary>CR3: tells processes apart.</summary>
    public required ulong AddressSpace { get; init; }

    /// <summary>What was being done.</summary>
    public required Activity Activity { get; init; }

    /// <summary>The instruction's mnemonic for <see cref="Activity.Trap"/> and <see cref="Activity.Port"/>,
    /// otherwise empty.</summary>
    public required string Detail { get; init; }

    /// <summary>Return addresses, the caller of <see cref="Address"/> first; empty if unknown.</summary>
    public required IReadOnlyList<ulong> Callers { get; init; }

    /// <summary>Linear address of the translated block's first guest instruction; 0 outside blocks.</summary>
    public required ulong BlockStart { get; init; }

    /// <summary>Guest bytes of that block.</summary>
    public required int BlockBytes { get; init; }

    /// <summary>Host bytes of that block, cold parts included.</summary>
    public required int BlockHostBytes { get; init; }

    /// <summary>Samples that hit this place in this way.</summary>
    public long Count { get; internal set; }

    /// <summary>CPU time they stand for, in ns.</summary>
    public long CpuNs { get; internal set; }
}

/// <summary>A place that left emitted code because of its instruction, and how often.</summary>
/// <param name="Address">Linear address of the instruction.</param>
/// <param name="Mnemonic">The instruction.</param>
/// <param name="Count">Times it was executed in C#.</param>
public readonly record struct TrapCount(ulong Address, string Mnemonic, ulong Count);

/// <summary>The profile of one vCPU. Filled on its thread; read when that has ended.</summary>
public sealed class GuestProfile
{
    // A hostile guest could make every sample unlike all others.
    private const int MaxPlaces = 1 << 18;

    private readonly Dictionary<(ulong, ulong, Activity, string, int), ProfileSample> _samples = [];
    private readonly Dictionary<(int Parent, ulong Address), int> _stacks = [];
    private readonly Dictionary<(ulong Address, Mnemonic Mnemonic), ulong> _traps = [];

    /// <summary>All places that were hit.</summary>
    public IReadOnlyCollection<ProfileSample> Samples => _samples.Values;

    /// <summary>CPU time of samples that found no room, in ns.</summary>
    public long LostNs { get; private set; }

    /// <summary>Exact counts of instructions executed in C#, by place.</summary>
    public IEnumerable<TrapCount> Traps =>
        _traps.Select(trap => new TrapCount(trap.Key.Address, trap.Key.Mnemonic.ToString(), trap.Value));

    internal void CountTrap(ulong address, Mnemonic mnemonic)
    {
        (ulong, Mnemonic) key = (address, mnemonic);
        if (_traps.TryGetValue(key, out ulong count) || _traps.Count < MaxPlaces)
        {
            _traps[key] = count + 1;
        }
    }

    internal void Add(ProfileSample sample, long cpuNs)
    {
        int stack = 0;
        foreach (ulong caller in sample.Callers)
        {
            if (!_stacks.TryGetValue((stack, caller), out int next))
            {
                if (_stacks.Count == MaxPlaces)
                {
                    LostNs += cpuNs;
                    return;
                }

                next = _stacks.Count + 1;
                _stacks.Add((stack, caller), next);
            }

            stack = next;
        }

        // The block is not part of the key: an instruction may be hit in several blocks that contain it.
        var key = (sample.Address | (sample.PageOnly ? 1UL << 63 : 0), sample.AddressSpace, sample.Activity,
            sample.Detail, stack);
        if (!_samples.TryGetValue(key, out ProfileSample? known))
        {
            if (_samples.Count == MaxPlaces)
            {
                LostNs += cpuNs;
                return;
            }

            known = sample;
            _samples.Add(key, sample);
        }

        known.Count++;
        known.CpuNs += cpuNs;
    }
}
