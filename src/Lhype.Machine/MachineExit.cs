// Why a machine came to its end, and the exit status of the command that follows from it. Made by
// VirtualMachine, returned by VcpuLoop, reported by the command line.

using System;

namespace Lhype.Machine;

/// <summary>How a machine ended.</summary>
public enum MachineExitKind
{
    /// <summary>The guest switched itself off.</summary>
    PoweredOff,
    /// <summary>The guest asked for a reset.</summary>
    Reset,
    /// <summary>The user ended it.</summary>
    Stopped,
    /// <summary>A test guest wrote to the debug exit port.</summary>
    DebugExit,
    /// <summary>The guest crashed, or did something no machine survives.</summary>
    Crashed,
    /// <summary>Somebody outside killed it (a signal, <c>lhype stop --force</c>).</summary>
    Killed,
    /// <summary>The time of <c>--timeout</c> was over.</summary>
    TimedOut,
    /// <summary>The host failed us.</summary>
    HostError,
}

/// <summary>The end of a machine.</summary>
/// <param name="Kind">What happened.</param>
/// <param name="Reason">A clause for the user; may be empty where the kind says it all.</param>
/// <param name="Value">For <see cref="MachineExitKind.DebugExit"/>: the exit status it asked for,
/// 0-255.</param>
public sealed record MachineExit(MachineExitKind Kind, string Reason = "", int Value = 0)
{
    /// <summary>The exit status of the command.</summary>
    public int Status => Kind switch
    {
        MachineExitKind.PoweredOff or MachineExitKind.Reset or MachineExitKind.Stopped => 0,
        MachineExitKind.DebugExit => Value & 0xFF,
        MachineExitKind.Crashed or MachineExitKind.Killed => 3,
        MachineExitKind.TimedOut => 4,
        MachineExitKind.HostError => 1,
        _ => throw new InvalidOperationException(Kind.ToString()),
    };
}
