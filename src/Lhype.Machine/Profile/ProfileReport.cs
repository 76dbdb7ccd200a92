// The two files of `--profile`: a text for people, and one line for each stack ("frame;frame;frame
// MICROSECONDS"), which flame-graph programs read. Called by GuestProfiling.

using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text;
using Lhype.Cpu;

namespace Lhype.Machine.Profile;

/// <summary>Formats a profile.</summary>
internal sealed class ProfileReport(
    GuestProfile profile, EngineStatistics statistics, SymbolTable? symbols, string kernel)
{
    private const int Rows = 40;

    private readonly double _totalNs = Math.Max(1, profile.Samples.Sum(sample => sample.CpuNs));

    /// <summary>The text.</summary>
    internal string ToText()
    {
        StringBuilder text = new();
        long count = profile.Samples.Sum(sample => sample.Count);
        Line(text, $"profile of {kernel}");
        Line(text, $"{_totalNs / 1e9:F3} s of CPU time of the virtual CPU's thread, {count:N0} samples");
        string names = symbols is null ? "no symbols were found for the kernel"
            : FormattableString.Invariant($"{symbols.Count:N0} functions, from {symbols.Source}");
        Line(text, $"{names}");
        if (profile.LostNs != 0)
        {
            Line(text, $"{profile.LostNs / 1e9:F3} s found no room in the profile");
        }

        AddActivities(text);
        AddExits(text);
        AddTraps(text);
        AddFunctions(text);
        AddBlocks(text);
        return text.ToString();
    }

    /// <summary>The stacks.</summary>
    internal string ToFolded()
    {
        Dictionary<string, long> stacks = [];
        foreach (ProfileSample sample in profile.Samples)
        {
            StringBuilder stack = new(sample.User
                ? FormattableString.Invariant($"user;cr3 {sample.AddressSpace:x8}")
                : "kernel");
            foreach (ulong caller in sample.Callers.Reverse())
            {
                // A return address belongs to the call before it.
                stack.Append(';').Append(NameOf(caller - 1, user: false));
            }

            stack.Append(';').Append(FunctionOf(sample));
            if (sample.User && !sample.PageOnly)
            {
                stack.Append(CultureInfo.InvariantCulture, $";{Place(sample):x8}");
            }

            if (sample.Activity != Activity.Guest)
            {
                stack.Append(";[").Append(Describe(sample.Activity, sample.User));
                stack.Append(sample.Detail.Length == 0 ? "]" : $": {sample.Detail.ToLowerInvariant()}]");
            }

            string key = stack.ToString();
            stacks[key] = stacks.GetValueOrDefault(key) + sample.CpuNs;
        }

        StringBuilder text = new();
        foreach ((string stack, long ns) in stacks.OrderBy(pair => pair.Key, StringComparer.Ordinal))
        {
            Line(text, $"{stack} {Math.Max(1, ns / 1000)}");
        }

        return text.ToString();
    }

    private void AddActivities(StringBuilder text)
    {
        Heading(text, "what the time went to", "share        s");
        var groups = profile.Samples
            .GroupBy(sample => Describe(sample.Activity, sample.User))
            .Select(group => (Name: group.Key, Ns: group.Sum(sample => sample.CpuNs)));
        foreach ((string name, long ns) in groups.OrderByDescending(group => group.Ns))
        {
            Row(text, name, $"{Share(ns)} {ns / 1e9,8:F3}");
        }
    }

    private void AddExits(StringBuilder text)
    {
        Heading(text, "what emitted code needed C# for", "count");
        (string, ulong)[] counters =
        [
            ("instruction executed in C#", statistics.TrapExits),
            ("indirect jump not found", statistics.IndirectExits),
            ("jump linked", statistics.LinkExits),
            ("look at timers and events", statistics.PollExits),
            ("memory operand: TLB miss for C#", statistics.TlbMisses),
            ("memory operand: MMIO, page-crossing or watched page", statistics.BouncedAccesses),
            ("exception delivered", statistics.Faults),
            ("interrupt delivered", statistics.Interrupts),
            ("host signal", statistics.HostSignals),
            ("TLB flushed", statistics.TlbFlushes),
            ("block translated", statistics.BlocksTranslated),
            ("block dropped, its bytes were written", statistics.BlocksInvalidated),
        ];
        foreach ((string name, ulong count) in counters)
        {
            Row(text, name, $"{count,15:N0}");
        }

        Row(text, "TLB misses handled in emitted code", $"{statistics.TlbWalks,15:N0}");
        Row(text, "system instructions executed in emitted code", $"{statistics.SystemThunks,15:N0}");
        Row(text, "guest instructions in all", $"{statistics.Instructions,15:N0}");
        Row(text, "time for translation, s", $"{statistics.TranslationNs / 1e9,15:F3}");
    }

    private void AddTraps(StringBuilder text)
    {
        TrapCount[] traps = [.. profile.Traps];
        Heading(text, "instructions executed in C#", "count");
        foreach (var group in traps.GroupBy(trap => trap.Mnemonic)
            .Select(group => (group.Key, Count: group.Sum(trap => (long)trap.Count)))
            .OrderByDescending(group => group.Count).Take(Rows))
        {
            Row(text, group.Key.ToLowerInvariant(), $"{group.Count,15:N0}");
        }

        Heading(text, "and where they are", "count");
        foreach (TrapCount trap in traps.OrderByDescending(trap => trap.Count).Take(Rows))
        {
            string name = $"{NameOf(trap.Address, user: false, withOffset: true)}: "
                + trap.Mnemonic.ToLowerInvariant();
            Row(text, name, $"{trap.Count,15:N0}");
        }
    }

    private void AddFunctions(StringBuilder text)
    {
        Heading(text, "functions (user code: pages)", "share    in guest code");
        var groups = profile.Samples.GroupBy(sample => (Name: FunctionOf(sample), sample.User))
            .Select(group => (
                group.Key,
                Ns: group.Sum(sample => sample.CpuNs),
                Emitted: group.Sum(sample => sample.Activity == Activity.Guest ? sample.CpuNs : 0)));
        foreach (var group in groups.OrderByDescending(group => group.Ns).Take(Rows))
        {
            string name = (group.Key.User ? "user " : "kernel ") + group.Key.Name;
            Row(text, name, $"{Share(group.Ns)}   {Share(group.Emitted)}");
        }
    }

    private void AddBlocks(StringBuilder text)
    {
        Heading(text, "translated blocks", "share  samples  guest bytes  host bytes");
        var groups = profile.Samples.Where(sample => sample.BlockStart != 0)
            .GroupBy(sample => (sample.BlockStart, sample.BlockBytes, sample.User))
            .Select(group => (
                group.Key,
                Ns: group.Sum(sample => sample.CpuNs),
                Count: group.Sum(sample => sample.Count),
                Host: group.Max(sample => sample.BlockHostBytes)));
        foreach (var group in groups.OrderByDescending(group => group.Ns).Take(Rows))
        {
            ulong start = group.Key.BlockStart;
            string symbol = group.Key.User ? "user" : NameOf(start, user: false, withOffset: true);
            ulong end = start + (ulong)group.Key.BlockBytes;
            string range = FormattableString.Invariant($"{start:x8}-{end:x8} {symbol}");
            Row(text, range,
                $"{Share(group.Ns)} {group.Count,8} {group.Key.BlockBytes,12} {group.Host,11}");
        }
    }

    private string FunctionOf(ProfileSample sample)
    {
        if (sample.PageOnly)
        {
            // The page would name the function at its start, which need not be the one meant.
            return sample.Callers.Count == 0
                ? FormattableString.Invariant($"{sample.Address:x8} (page)")
                : "(unknown)";
        }

        return NameOf(sample.Address, sample.User);
    }

    private string NameOf(ulong address, bool user, bool withOffset = false)
    {
        if (!user && symbols is not null && symbols.TryFind(address, out string name, out ulong offset))
        {
            return withOffset ? FormattableString.Invariant($"{name}+0x{offset:x}") : name;
        }

        return withOffset
            ? FormattableString.Invariant($"{address:x8}")
            : FormattableString.Invariant($"{address & ~4095UL:x8} (page)");
    }

    private static ulong Place(ProfileSample sample) =>
        sample.BlockStart != 0 ? sample.BlockStart : sample.Address;

    private static string Describe(Activity activity, bool user) => activity switch
    {
        Activity.Guest => user ? "translated code, user mode" : "translated code, kernel mode",
        Activity.Operand => "memory operand in C#",
        Activity.Mmio => "memory-mapped device",
        Activity.Port => "device port",
        Activity.Translation => "translation",
        Activity.Exception => "exception delivery",
        Activity.Interrupt => "interrupt delivery",
        Activity.Poll => "timers and posted work",
        Activity.Outside => "outside the engine",
        Activity.Shared => "entering, leaving, looking up",
        Activity.Trap => "instruction in C#",
        _ => "jump in C#",
    };

    private string Share(long ns) =>
        FormattableString.Invariant($"{ns * 100 / _totalNs,6:F2} %");

    private static void Heading(StringBuilder text, string name, string columns) =>
        Line(text, $"\n{name,-58}{columns}");

    private static void Row(StringBuilder text, string name, FormattableString figures) =>
        Line(text, $"  {name,-56}{figures.ToString(CultureInfo.InvariantCulture)}");

    private static void Line(StringBuilder text, FormattableString line) =>
        text.Append(line.ToString(CultureInfo.InvariantCulture)).Append('\n');
}
