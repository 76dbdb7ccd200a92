// Turns the runs into a table (Markdown, so that docs/promises.md can hold it as it is) and a JSON file. The
// best of all rounds counts: disturbance by the host only ever adds. Called by Program.

using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text;
using System.Text.Json.Nodes;

namespace Lhype.Bench;

/// <summary>All runs of a session, by engine: "native", "qemu", "lhype".</summary>
internal sealed class Report
{
    private readonly Dictionary<string, List<RunResult>> _runs = [];
    private readonly Dictionary<string, List<RunResult>> _boots = [];

    /// <summary>Books a run of all benchmarks.</summary>
    public void AddRun(string engine, RunResult result) => Add(_runs, engine, result);

    /// <summary>Books a run that only boots and powers off.</summary>
    public void AddBoot(string engine, RunResult result) => Add(_boots, engine, result);

    /// <summary>Everything that went wrong, one sentence each.</summary>
    public IReadOnlyList<string> Failures()
    {
        var failures = new List<string>();
        foreach ((string engine, RunResult run) in All(_runs).Concat(All(_boots)))
        {
            if (run.Failure is not null)
            {
                failures.Add($"A run under {engine} failed: {run.Failure}");
            }
        }

        var byName = AllSamples().GroupBy(s => s.Sample.Name);
        foreach (IGrouping<string, (string Engine, Sample Sample)> group in byName)
        {
            string[] sums = [.. group.Select(s => s.Sample.Checksum).Distinct()];
            if (sums.Length > 1)
            {
                IEnumerable<string> each = group.Select(s => $"{s.Engine} {s.Sample.Checksum}").Distinct();
                failures.Add($"The results of {group.Key} differ: {string.Join(", ", each)}.");
            }
        }

        return failures;
    }

    /// <summary>The table.</summary>
    public string ToMarkdown()
    {
        var text = new StringBuilder();
        text.AppendLine("| CPU s | native | QEMU TCG | Lhype | QEMU/native | Lhype/native | Lhype/QEMU |");
        text.AppendLine("|---|---:|---:|---:|---:|---:|---:|");
        AddBootRow(text, "boot: start to user space", r => r.ReadyNs);
        AddBootRow(text, "boot: start to power-off", r => r.TotalNs);
        foreach (IGrouping<string, string> group in Names().GroupBy(n => n.ClassName, n => n.Name))
        {
            foreach (string name in group)
            {
                string label = $"{group.Key}: {name}";
                AddRow(text, label, Best("native", name), Best("qemu", name), Best("lhype", name));
            }

            text.AppendLine(CultureInfo.InvariantCulture,
                $"| **{group.Key}: geometric mean** | | | | {Mean(group, "qemu", "native")} "
                + $"| {Mean(group, "lhype", "native")} | {Mean(group, "lhype", "qemu")} |");
        }

        return text.ToString();
    }

    /// <summary>All figures with every sample, in nanoseconds.</summary>
    public JsonObject ToJson()
    {
        var engines = new JsonObject();
        foreach (string engine in _runs.Keys.Concat(_boots.Keys).Distinct())
        {
            var samples = new JsonObject();
            foreach ((string className, string name) in Names())
            {
                Sample[] taken = [.. AllSamples().Where(s => s.Engine == engine && s.Sample.Name == name)
                    .Select(s => s.Sample)];
                if (taken.Length > 0)
                {
                    samples[name] = new JsonObject
                    {
                        ["class"] = className,
                        ["checksum"] = taken[0].Checksum,
                        ["cpuNs"] = Numbers(taken.Select(s => s.CpuNs)),
                        ["guestCpuNs"] = Numbers(taken.Select(s => s.GuestCpuNs)),
                    };
                }
            }

            List<RunResult> boots = _boots.GetValueOrDefault(engine) ?? [];
            engines[engine] = new JsonObject
            {
                ["bootToUserSpaceNs"] = Numbers(boots.Select(b => b.ReadyNs)),
                ["bootToPowerOffNs"] = Numbers(boots.Select(b => b.TotalNs)),
                ["benchmarks"] = samples,
            };
        }

        return engines;
    }

    private static void Add(Dictionary<string, List<RunResult>> runs, string engine, RunResult result)
    {
        if (!runs.TryGetValue(engine, out List<RunResult>? list))
        {
            runs[engine] = list = [];
        }

        list.Add(result);
    }

    private static IEnumerable<(string Engine, RunResult Run)> All(
        Dictionary<string, List<RunResult>> runs) =>
        runs.SelectMany(pair => pair.Value.Select(run => (pair.Key, run)));

    private IEnumerable<(string Engine, Sample Sample)> AllSamples() =>
        All(_runs).SelectMany(r => r.Run.Samples.Select(sample => (r.Engine, sample)));

    private IEnumerable<(string ClassName, string Name)> Names() =>
        AllSamples().Select(s => (s.Sample.ClassName, s.Sample.Name)).Distinct();

    /// <summary>Natively the program's own account counts, because its children's time is not in the
    /// process's clock; under an emulator the emulator's CPU time, with everything it does on the
    /// side.</summary>
    private double? Best(string engine, string name)
    {
        long[] taken = [.. AllSamples().Where(s => s.Engine == engine && s.Sample.Name == name)
            .Select(s => engine == "native" ? s.Sample.GuestCpuNs : s.Sample.CpuNs).Where(ns => ns > 0)];
        return taken.Length == 0 ? null : taken.Min() / 1e9;
    }

    private void AddBootRow(StringBuilder text, string label, Func<RunResult, long> figure)
    {
        double? Of(string engine)
        {
            IEnumerable<RunResult> boots = _boots.GetValueOrDefault(engine) ?? [];
            long[] taken = [.. boots.Where(b => b.Failure is null).Select(figure).Where(ns => ns > 0)];
            return taken.Length == 0 ? null : taken.Min() / 1e9;
        }

        AddRow(text, label, null, Of("qemu"), Of("lhype"));
    }

    private static void AddRow(
        StringBuilder text, string label, double? native, double? qemu, double? lhype) =>
        text.AppendLine(CultureInfo.InvariantCulture,
            $"| {label} | {Seconds(native)} | {Seconds(qemu)} | {Seconds(lhype)} | {Ratio(qemu, native)} "
            + $"| {Ratio(lhype, native)} | {Ratio(lhype, qemu)} |");

    private string Mean(IEnumerable<string> names, string above, string below)
    {
        IEnumerable<double> ratios = names.Select(n => Best(above, n) / Best(below, n)).OfType<double>();
        double[] logs = [.. ratios.Select(ratio => Math.Log(ratio))];
        return logs.Length == 0 ? "" : $"**{Format(Math.Exp(logs.Average()))}**";
    }

    private static string Seconds(double? value) =>
        value is { } v ? v.ToString("0.000", CultureInfo.InvariantCulture) : "-";

    private static string Ratio(double? above, double? below) =>
        above / below is { } ratio ? Format(ratio) : "-";

    private static string Format(double ratio) => ratio.ToString("0.00", CultureInfo.InvariantCulture);

    private static JsonArray Numbers(IEnumerable<long> values) => [.. values.Select(v => (JsonNode)v)];
}
