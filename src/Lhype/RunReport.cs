// What `lhype run` prints when a guest has ended: why, the registers and last words of a crashed one, and the
// counters of --stats. All of it goes to standard error.

using System;
using System.Globalization;
using System.Text;
using Lhype.Cpu;
using Lhype.Machine;

namespace Lhype;

/// <summary>Texts about a guest that has ended.</summary>
internal static class RunReport
{
    /// <summary>The lines for <paramref name="exit"/>; empty if there is nothing to say.</summary>
    internal static string Describe(MachineExit exit, string registers, string lastLine)
    {
        string text = exit.Kind switch
        {
            MachineExitKind.Crashed => $"The guest crashed: {exit.Reason}.",
            MachineExitKind.Killed => $"The guest was killed: {exit.Reason}.",
            MachineExitKind.TimedOut => $"The guest was stopped: {exit.Reason}.",
            MachineExitKind.HostError => $"The guest had to stop: {exit.Reason}.",
            _ => "",
        };
        bool starved = exit.Kind == MachineExitKind.Crashed
            && (exit.Reason.Contains("deadlocked on memory", StringComparison.Ordinal)
                || exit.Reason.Contains("out of memory", StringComparison.OrdinalIgnoreCase));
        if (starved)
        {
            text += "\nIts memory was too small; give it more, with --memory or the first word of lhype add.";
        }

        bool guestFault = exit.Kind is MachineExitKind.Crashed or MachineExitKind.TimedOut;
        if (guestFault && registers.Length != 0)
        {
            text += "\n" + registers;
        }

        if (guestFault && lastLine.Length != 0)
        {
            text += "\nlast console line: " + lastLine;
        }

        return text;
    }

    /// <summary>The table of <c>--stats</c>.</summary>
    internal static string Statistics(in EngineStatistics counters, ulong sleeps, TimeSpan elapsed,
        TimeSpan processor)
    {
        StringBuilder text = new();
        Add(text, "elapsed time", Seconds(elapsed));
        Add(text, "processor time", Seconds(processor));
        Add(text, "guest instructions", Number(counters.Instructions));
        Add(text, "blocks translated", Number(counters.BlocksTranslated));
        Add(text, "instructions translated", Number(counters.InstructionsTranslated));
        Add(text, "translation time", Seconds(TimeSpan.FromMicroseconds(counters.TranslationNs / 1000.0)));
        Add(text, "host bytes emitted", Number(counters.HostBytes));
        Add(text, "blocks invalidated", Number(counters.BlocksInvalidated));
        Add(text, "cache flushes", Number(counters.CacheFlushes));
        Add(text, "TLB misses", Number(counters.TlbMisses));
        Add(text, "TLB misses in emitted code", Number(counters.TlbWalks));
        Add(text, "TLB flushes", Number(counters.TlbFlushes));
        Add(text, "system instructions emitted", Number(counters.SystemThunks));
        Add(text, "exits: trapped instruction", Number(counters.TrapExits));
        Add(text, "exits: jump linked", Number(counters.LinkExits));
        Add(text, "exits: indirect jump", Number(counters.IndirectExits));
        Add(text, "exits: poll", Number(counters.PollExits));
        Add(text, "exits: bounced access", Number(counters.BouncedAccesses));
        Add(text, "exceptions delivered", Number(counters.Faults));
        Add(text, "interrupts delivered", Number(counters.Interrupts));
        Add(text, "host signals", Number(counters.HostSignals));
        Add(text, "idle sleeps", Number(sleeps));
        return text.ToString().TrimEnd('\n');
    }

    private static void Add(StringBuilder text, string name, string value) =>
        text.Append(CultureInfo.InvariantCulture, $"  {name,-28}{value,18}\n");

    private static string Number(ulong value) => value.ToString("N0", CultureInfo.InvariantCulture);

    private static string Seconds(TimeSpan time) =>
        time.TotalSeconds.ToString("F3", CultureInfo.InvariantCulture) + " s";
}
