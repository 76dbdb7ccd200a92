// Turns the runs into figures: a table (Markdown, as docs/promises.md holds it), JSON with every sample, and
// the rows of the chart. The best of all rounds counts: disturbance by the host only ever adds. Called by
// Program.

using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text;
using System.Text.Json.Nodes;

namespace Lhype.Bench;

/// <summary>CPU seconds of one program, or what engines took for a boot; null where there is none.</summary>
internal sealed record Row(string ClassName, string Name, double? Native, double? Qemu, double? Lhype);

/// <summary>All runs of a session, by engine: "native", "qemu", "lhype".</summary>
internal sealed class Report(IReadOnlyList<string> engines)
{
    private readonly Dictionary<string, List<RunResult>> _runs = [];
    private readonly Dictionary<string, List<RunResult>> _boots = [];

    /// <summary>Books a run of programs.</summary>
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

    /// <summary>CPU seconds of every program, in the order they ran.</summary>
    public IReadOnlyList<Row> Programs() => [.. AllSamples()
        .Where(s => s.Sample.Bytes == 0 && s.Sample.Trips == 0)
        .Select(s => (s.Sample.ClassName, s.Sample.Name)).Distinct()
        .Select(n => new Row(
            n.ClassName, n.Name, Best("native", n.Name), Best("qemu", n.Name), Best("lhype", n.Name)))];

    /// <summary>CPU seconds from the start of the emulator.</summary>
    public IReadOnlyList<Row> Boots() => [.. new[]
    {
        new Row("boot", "start to user space", null, Boot("qemu", r => r.ReadyNs),
            Boot("lhype", r => r.ReadyNs)),
        new Row("boot", "start to power-off", null, Boot("qemu", r => r.TotalNs),
            Boot("lhype", r => r.TotalNs)),
    }.Where(row => row.Qemu is not null || row.Lhype is not null)];

    /// <summary>MB/s through devices, from the host's wall clock.</summary>
    public IReadOnlyList<Row> Throughput() => Devices(
        sample => sample.Bytes != 0,
        taken => taken.Max(s => s.Bytes * 1000.0 / s.WallNs));

    /// <summary>Microseconds from a message to its answer, from the host's wall clock.</summary>
    public IReadOnlyList<Row> RoundTrips() => Devices(
        sample => sample.Trips != 0,
        taken => taken.Min(s => s.WallNs / 1000.0 / s.Trips));

    /// <summary>Geometric mean of a ratio over rows that have both figures; null without any.</summary>
    public static double? Mean(IEnumerable<Row> rows, Func<Row, double?> ratio)
    {
        double[] logs = [.. rows.Select(ratio).OfType<double>().Select(r => Math.Log(r))];
        return logs.Length == 0 ? null : Math.Exp(logs.Average());
    }

    /// <summary>The tables.</summary>
    public string ToMarkdown()
    {
        var text = new StringBuilder();
        if (Boots().Count + Programs().Count != 0)
        {
            string[] columns = [.. Columns().Select(column => column.Name)];
            text.AppendLine($"| CPU s | {string.Join(" | ", columns)} |");
            text.AppendLine($"|---|{string.Concat(Enumerable.Repeat("---:|", columns.Length))}");
            foreach (Row row in Boots())
            {
                AddRow(text, row);
            }

            foreach (IGrouping<string, Row> group in Programs().GroupBy(row => row.ClassName))
            {
                foreach (Row row in group)
                {
                    AddRow(text, row);
                }

                var means = Columns().Select(column =>
                    column.IsRatio && Mean(group, column.Value) is { } mean ? $"**{mean:0.00}**" : "");
                text.AppendLine($"| **{group.Key}: geometric mean** | {string.Join(" | ", means)} |");
            }
        }

        AddDevices(text, "MB/s", Throughput(), "Lhype/QEMU", row => row.Lhype / row.Qemu);
        AddDevices(text, "us", RoundTrips(), "QEMU/Lhype", row => row.Qemu / row.Lhype);
        return text.ToString();
    }

    /// <summary>All figures with every sample, in nanoseconds.</summary>
    public JsonObject ToJson()
    {
        var all = new JsonObject();
        foreach (string engine in engines)
        {
            var programs = new JsonObject();
            foreach (var group in AllSamples().Where(s => s.Engine == engine).GroupBy(s => s.Sample.Name))
            {
                Sample[] taken = [.. group.Select(s => s.Sample)];
                programs[group.Key] = new JsonObject
                {
                    ["class"] = taken[0].ClassName,
                    ["checksum"] = taken[0].Checksum,
                    ["bytes"] = taken[0].Bytes,
                    ["trips"] = taken[0].Trips,
                    ["cpuNs"] = Numbers(taken.Select(s => s.CpuNs)),
                    ["guestCpuNs"] = Numbers(taken.Select(s => s.GuestCpuNs)),
                    ["wallNs"] = Numbers(taken.Select(s => s.WallNs)),
                };
            }

            List<RunResult> boots = _boots.GetValueOrDefault(engine) ?? [];
            all[engine] = new JsonObject
            {
                ["bootToUserSpaceNs"] = Numbers(boots.Select(b => b.ReadyNs)),
                ["bootToPowerOffNs"] = Numbers(boots.Select(b => b.TotalNs)),
                ["programs"] = programs,
            };
        }

        return all;
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

    private IEnumerable<Sample> SamplesOf(string engine, string name) =>
        AllSamples().Where(s => s.Engine == engine && s.Sample.Name == name).Select(s => s.Sample);

    /// <summary>Natively the program's own account counts, because its children's time is not in the
    /// process's clock; under an emulator the emulator's CPU time, with everything it does on the
    /// side.</summary>
    private double? Best(string engine, string name) =>
        Least(SamplesOf(engine, name).Select(s => engine == "native" ? s.GuestCpuNs : s.CpuNs));

    private double? Boot(string engine, Func<RunResult, long> figure) =>
        Least((_boots.GetValueOrDefault(engine) ?? []).Where(b => b.Failure is null).Select(figure));

    private List<Row> Devices(Func<Sample, bool> chosen, Func<IEnumerable<Sample>, double> best)
    {
        double? Figure(string engine, string name)
        {
            Sample[] taken = [.. SamplesOf(engine, name).Where(s => s.WallNs > 0)];
            return taken.Length == 0 ? null : best(taken);
        }

        return [.. AllSamples()
            .Where(s => chosen(s.Sample))
            .Select(s => (s.Sample.ClassName, s.Sample.Name)).Distinct()
            .Select(n => new Row(
                n.ClassName, n.Name, null, Figure("qemu", n.Name), Figure("lhype", n.Name)))];
    }

    private static double? Least(IEnumerable<long> nanoseconds)
    {
        long[] taken = [.. nanoseconds.Where(ns => ns > 0)];
        return taken.Length == 0 ? null : taken.Min() / 1e9;
    }

    private IEnumerable<(string Name, bool IsRatio, Func<Row, double?> Value)> Columns()
    {
        bool native = engines.Contains("native"), qemu = engines.Contains("qemu");
        (bool Shown, (string, bool, Func<Row, double?>) Column)[] columns =
        [
            (native, ("native", false, row => row.Native)),
            (qemu, ("QEMU TCG", false, row => row.Qemu)),
            (true, ("Lhype", false, row => row.Lhype)),
            (native && qemu, ("QEMU/native", true, row => row.Qemu / row.Native)),
            (native, ("Lhype/native", true, row => row.Lhype / row.Native)),
            (qemu, ("QEMU/Lhype", true, row => row.Qemu / row.Lhype)),
        ];
        return columns.Where(column => column.Shown).Select(column => column.Column);
    }

    private void AddRow(StringBuilder text, Row row)
    {
        var cells = Columns().Select(column => column.Value(row) is { } value
            ? value.ToString(column.IsRatio ? "0.00" : "0.000", CultureInfo.InvariantCulture)
            : "-");
        text.AppendLine($"| {row.ClassName}: {row.Name} | {string.Join(" | ", cells)} |");
    }

    private void AddDevices(
        StringBuilder text, string unit, IReadOnlyList<Row> rows, string ratioName, Func<Row, double?> ratio)
    {
        if (rows.Count == 0)
        {
            return;
        }

        bool qemu = engines.Contains("qemu");
        text.AppendLine();
        text.AppendLine(qemu ? $"| {unit} | QEMU TCG | Lhype | {ratioName} |" : $"| {unit} | Lhype |");
        text.AppendLine(qemu ? "|---|---:|---:|---:|" : "|---|---:|");
        foreach (Row row in rows)
        {
            string cells = qemu ? $"{row.Qemu:0} | {row.Lhype:0} | {ratio(row):0.00}"
                : $"{row.Lhype:0}";
            text.AppendLine($"| {row.ClassName}: {row.Name} | {cells} |");
        }
    }

    private static JsonArray Numbers(IEnumerable<long> values) => [.. values.Select(v => (JsonNode)v)];
}
