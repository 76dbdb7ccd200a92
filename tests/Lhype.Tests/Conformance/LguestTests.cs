// Builds the lguest test guest (guest/lguest) for every dialect and boots it once for each test it lists: a
// test passes if the guest switches off by itself, a misuse if it ends the guest with the reason that stands
// beside it.

using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Text;
using System.Text.RegularExpressions;
using Lhype.Machine;
using Lhype.Machine.Paravirt.Lguest;
using Xunit;

namespace Lhype.Tests.Conformance;

public sealed partial class LguestTests : IClassFixture<LguestGuests>
{
    private readonly LguestGuests _guests;

    public LguestTests(LguestGuests guests) => _guests = guests;

    public static TheoryData<string, string> Tests() => Listed(misuse: false, pae: false);

    public static TheoryData<string, string> PaeTests() => Listed(misuse: false, pae: true);

    public static TheoryData<string, string> Misuses() => Listed(misuse: true, pae: false);

    [Theory]
    [MemberData(nameof(Tests))]
    public void RuleHolds(string dialect, string test) => ExpectPowerOff(Run(dialect, test));

    [Theory]
    [MemberData(nameof(PaeTests))]
    public void RuleHoldsWithPae(string dialect, string test) =>
        ExpectPowerOff(Run(dialect, test, config => config with
        {
            LguestAbi = Enum.Parse<LguestGeneration>(dialect),
            LguestPae = true,
        }));

    [Theory]
    [MemberData(nameof(Misuses))]
    public void MisuseEndsTheGuest(string dialect, string test)
    {
        LguestRun run = Run(dialect, test);
        string reason = Entries().Single(entry => entry.Name == test).Reason;
        Assert.Equal(MachineExitKind.Crashed, run.Exit.Kind);
        Assert.Contains(reason, run.Exit.Reason, StringComparison.Ordinal);
        Assert.Contains("last hypercalls:", run.State, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("B")]
    [InlineData("C")]
    [InlineData("D")]
    [InlineData("E")]
    [InlineData("F")]
    public void DialectIsFoundFromTheFirstCall(string dialect)
    {
        foreach (string test in new[] { "init_fields", "ring_arguments", "clock" })
        {
            ExpectPowerOff(
                Run(dialect, test, config => config with { Machine = BoardKind.Lhype }, silent: true));
        }
    }

    [Fact]
    public void OptionOverridesTheFirstCall()
    {
        LguestRun run = Run("E", "init_fields", config => config with { LguestAbi = LguestGeneration.C });
        Assert.Equal(MachineExitKind.Crashed, run.Exit.Kind);
    }

    [Fact]
    public void GuestOfDialectARunsWithoutNote() => ExpectPowerOff(Run("A", "init_fields", silent: true));

    [Theory]
    [InlineData("B")]
    [InlineData("C")]
    [InlineData("D")]
    [InlineData("E")]
    public void EarlyTextReachesTheConsole(string dialect)
    {
        LguestRun run = Run(dialect, "early_console");
        ExpectPowerOff(run);
        Assert.Equal("first words, before any driver\n", run.Console);
    }

    [Theory]
    [InlineData("C")]
    [InlineData("D")]
    [InlineData("E")]
    [InlineData("F")]
    public void RestartIsAReset(string dialect) =>
        Assert.Equal(MachineExitKind.Reset, Run(dialect, "restart").Exit.Kind);

    private static void ExpectPowerOff(LguestRun run) =>
        Assert.True(run.Exit.Kind == MachineExitKind.PoweredOff, $"{run.Exit}\n{run.State}");

    private LguestRun Run(string dialect, string test, Func<MachineConfig, MachineConfig>? change = null,
        bool silent = false)
    {
        var transcript = new StringBuilder();
        var console = new GuestConsole(bytes => transcript.Append(Encoding.ASCII.GetString(bytes)));
        var config = new MachineConfig
        {
            Kernel = _guests.Build(dialect, silent),
            MemoryBytes = 16 << 20,
            Append = "test=" + test,
        };
        using BuiltMachine built = MachineBuilder.Build(change?.Invoke(config) ?? config, console);
        using var watchdog = new System.Threading.Timer(
            _ => built.Machine.RequestEnd(new MachineExit(MachineExitKind.TimedOut)), null,
            TimeSpan.FromSeconds(30), System.Threading.Timeout.InfiniteTimeSpan);
        MachineExit exit = new VcpuLoop(built.Machine, built.Vcpu).Run();
        return new LguestRun(exit, built.DescribeState(), transcript.ToString());
    }

    private static TheoryData<string, string> Listed(bool misuse, bool pae)
    {
        var data = new TheoryData<string, string>();
        foreach (Entry entry in Entries())
        {
            if (entry.Reason.Length != 0 == misuse && entry.Pae == pae && entry.Name != "restart")
            {
                foreach (char dialect in entry.Dialects)
                {
                    data.Add(dialect.ToString(), entry.Name);
                }
            }
        }

        return data;
    }

    private static IEnumerable<Entry> Entries() =>
        from file in Directory.GetFiles(LguestGuests.Folder, "*.c").Order()
        from Match match in Macro().Matches(File.ReadAllText(file))
        select new Entry(match.Groups["name"].Value, match.Groups["dialects"].Value,
            match.Groups["reason"].Value, match.Groups["kind"].Value == "PAE_TEST");

    [GeneratedRegex(@"^(?<kind>(EARLY_|PAE_)?(TEST|MISUSE))\((?<name>\w+), ""(?<dialects>[A-F]+)"""
        + @"(, ""(?<reason>[^""]+)"")?\)", RegexOptions.Multiline | RegexOptions.ExplicitCapture)]
    private static partial Regex Macro();

    private sealed record Entry(string Name, string Dialects, string Reason, bool Pae);

    private sealed record LguestRun(MachineExit Exit, string State, string Console);
}

/// <summary>The built guests, in a folder that goes away with the test run.</summary>
public sealed class LguestGuests : IDisposable
{
    private readonly string _output = Directory.CreateTempSubdirectory("lhype-lguest").FullName;
    private readonly ConcurrentDictionary<(string Dialect, bool Silent), string> _built = new();

    /// <summary>guest/lguest in the source tree.</summary>
    public static string Folder { get; } =
        Path.Combine(Path.GetDirectoryName(ConformanceGuests.FolderOf("conformance"))!, "lguest");

    /// <summary>Compiles the guest for one dialect, at most once, and returns its ELF file.</summary>
    public string Build(string dialect, bool silent) => _built.GetOrAdd((dialect, silent), key =>
    {
        string file = Path.Combine(_output, key.Dialect + (key.Silent ? "-silent.elf" : ".elf"));
        var start = new ProcessStartInfo("/bin/sh") { RedirectStandardError = true };
        start.ArgumentList.Add(Path.Combine(Folder, "build.sh"));
        start.ArgumentList.Add(file);
        start.ArgumentList.Add(key.Dialect);
        if (key.Silent)
        {
            start.ArgumentList.Add("silent");
        }

        using Process process = Process.Start(start)
            ?? throw new InvalidOperationException("cannot start /bin/sh");
        string errors = process.StandardError.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, errors);
        return file;
    });

    public void Dispose() => Directory.Delete(_output, recursive: true);
}
