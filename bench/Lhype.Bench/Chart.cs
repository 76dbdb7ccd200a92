// Draws the result as an SVG picture: for every program two bars on a logarithmic scale, how many times the
// CPU time of the host itself QEMU TCG and Lhype take. Called by Program.

using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text;

namespace Lhype.Bench;

/// <summary>Writes the chart.</summary>
internal sealed class Chart
{
    private const int Width = 900, Left = 190, Right = 60, Top = 112;
    private const int Bar = 8, RowHeight = 22, HeadingHeight = 40;
    private const string QemuColour = "#b6bec9", LhypeColour = "#1f6feb", Ink = "#1f2328", Pale = "#59636e";

    private static readonly double[] Ticks = [0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500];

    private readonly StringBuilder _svg = new();
    private readonly double _low;
    private readonly double _high;

    private Chart(IEnumerable<double> ratios)
    {
        double[] all = [.. ratios.DefaultIfEmpty(1)];
        _low = Math.Min(0.8, all.Min() / 1.1);
        _high = Math.Max(3, all.Max() * 1.1);
    }

    /// <summary>The picture as text.</summary>
    /// <param name="rows">The programs.</param>
    /// <param name="boots">Boot rows, shown in words.</param>
    /// <param name="host">What was measured on and with, one line.</param>
    public static string Draw(IReadOnlyList<Row> rows, IReadOnlyList<Row> boots, string host)
    {
        var chart = new Chart(rows.SelectMany(r => new[] { r.Qemu / r.Native, r.Lhype / r.Native })
            .OfType<double>());
        int groups = rows.Select(row => row.ClassName).Distinct().Count();
        int bottom = Top + (groups * (HeadingHeight + RowHeight)) + (rows.Count * RowHeight) + 10;
        int height = bottom + 48;
        chart.Line($"<svg xmlns='http://www.w3.org/2000/svg' width='{Width}' height='{height}' "
            + $"viewBox='0 0 {Width} {height}' font-family='system-ui, DejaVu Sans, sans-serif' "
            + $"font-size='12' fill='{Ink}'>");
        chart.Line($"<rect width='{Width}' height='{height}' fill='#ffffff'/>");
        chart.Title(boots, host);
        chart.Grid(bottom);
        int y = Top;
        foreach (IGrouping<string, Row> group in rows.GroupBy(row => row.ClassName))
        {
            chart.Text(16, y + 28, Heading(group.Key), "font-size='15' font-weight='600'");
            y += HeadingHeight;
            foreach (Row row in group)
            {
                chart.Bars(y, row.Name, row.Qemu / row.Native, row.Lhype / row.Native, bold: false);
                y += RowHeight;
            }

            chart.Bars(y, "geometric mean", Report.Mean(group, r => r.Qemu / r.Native),
                Report.Mean(group, r => r.Lhype / r.Native), bold: true);
            y += RowHeight;
        }

        // The line of the host itself, over the bars.
        chart.Line($"<line x1='{chart.At(1)}' x2='{chart.At(1)}' y1='{Top}' y2='{bottom}' "
            + $"stroke='{Ink}' stroke-width='1.5'/>");
        chart.Line("</svg>");
        return chart._svg.ToString();
    }

    private void Title(IReadOnlyList<Row> boots, string host)
    {
        Text(16, 30, "CPU time of guest programs, times native", "font-size='20' font-weight='600'");
        Text(16, 51, host, $"fill='{Pale}'");
        if (boots.LastOrDefault() is { Qemu: { } qemu, Lhype: { } lhype })
        {
            Text(16, 69, FormattableString.Invariant(
                $"Boot to power-off: QEMU TCG {qemu:0.00} s of CPU time, Lhype {lhype:0.00} s."),
                $"fill='{Pale}'");
        }

        Line($"<rect x='{Left}' y='82' width='14' height='{Bar}' rx='1.5' fill='{LhypeColour}'/>");
        Text(Left + 20, 90, "Lhype", "");
        Line($"<rect x='{Left + 76}' y='82' width='14' height='{Bar}' rx='1.5' fill='{QemuColour}'/>");
        Text(Left + 96, 90, "QEMU TCG", "");
        Line($"<line x1='{Left + 178}' x2='{Left + 178}' y1='79' y2='93' stroke='{Ink}' "
            + "stroke-width='1.5'/>");
        Text(Left + 186, 90, "the host itself (shorter is faster, logarithmic scale)", "");
    }

    private void Grid(int bottom)
    {
        foreach (double tick in Ticks.Where(tick => tick >= _low && tick <= _high))
        {
            Line($"<line x1='{At(tick)}' x2='{At(tick)}' y1='{Top}' y2='{bottom}' stroke='#e4e7eb'/>");
            Text(X(tick), bottom + 18, FormattableString.Invariant($"{tick}x"),
                $"text-anchor='middle' fill='{Pale}'");
        }
    }

    private void Bars(int y, string name, double? qemu, double? lhype, bool bold)
    {
        string weight = bold ? " font-weight='600'" : "";
        Text(Left - 10, y + 13, name, "text-anchor='end'" + weight);
        OneBar(y + 1, lhype, LhypeColour, Ink, weight);
        OneBar(y + 1 + Bar + 1, qemu, QemuColour, Pale, weight);
    }

    private void OneBar(int y, double? ratio, string colour, string ink, string weight)
    {
        if (ratio is not { } value)
        {
            return;
        }

        double from = Math.Min(X(1), X(value)), to = Math.Max(X(1), X(value));
        Line($"<rect x='{Number(from)}' y='{y}' width='{Number(Math.Max(1, to - from))}' "
            + $"height='{Bar}' rx='1.5' "
            + $"fill='{colour}'/>");
        string number = value.ToString(value < 10 ? "0.0" : "0", CultureInfo.InvariantCulture);
        Text(to + 4, y + Bar - 0.5, number, $"font-size='9' fill='{ink}'" + weight);
    }

    private double X(double ratio) =>
        Left + (Math.Log(ratio / _low) / Math.Log(_high / _low) * (Width - Left - Right));

    private string At(double ratio) => Number(X(ratio));

    private static string Number(double value) => value.ToString("0.#", CultureInfo.InvariantCulture);

    private static string Heading(string className) => className switch
    {
        "integer" => "Integer",
        "floating" => "Floating point",
        "memory" => "String and memory",
        "kernel" => "Kernel",
        _ => className,
    };

    private void Text(double x, double y, string text, string attributes)
    {
        string escaped = text.Replace("&", "&amp;").Replace("<", "&lt;").Replace(">", "&gt;");
        Line($"<text x='{Number(x)}' y='{Number(y)}' {attributes}>{escaped}</text>");
    }

    private void Line(string line) => _svg.Append(line).Append('\n');
}
