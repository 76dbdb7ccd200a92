// What users read when a guest ends: silence after a clean end, the whole story after a crash.

using System;
using Lhype.Cpu;
using Lhype.Machine;
using Xunit;

namespace Lhype.Tests;

public sealed class RunReportTests
{
    [Theory]
    [InlineData(MachineExitKind.PoweredOff, 0)]
    [InlineData(MachineExitKind.Reset, 0)]
    [InlineData(MachineExitKind.Stopped, 0)]
    [InlineData(MachineExitKind.HostError, 1)]
    [InlineData(MachineExitKind.Crashed, 3)]
    [InlineData(MachineExitKind.Killed, 3)]
    [InlineData(MachineExitKind.TimedOut, 4)]
    public void StatusesAreThoseOfTheManual(MachineExitKind kind, int status) =>
        Assert.Equal(status, new MachineExit(kind).Status);

    [Fact]
    public void CleanEndsAreSilent()
    {
        Assert.Equal("", RunReport.Describe(new MachineExit(MachineExitKind.PoweredOff), "EAX=0", "login:"));
        Assert.Equal("", RunReport.Describe(new MachineExit(MachineExitKind.DebugExit, Value: 3), "EAX=0",
            "x"));
    }

    [Fact]
    public void CrashTellsReasonRegistersAndLastLine()
    {
        string text = RunReport.Describe(new MachineExit(MachineExitKind.Crashed, "triple fault"),
            "EAX=00000001", "bye");
        Assert.Contains("triple fault", text, StringComparison.Ordinal);
        Assert.Contains("EAX=00000001", text, StringComparison.Ordinal);
        Assert.EndsWith("last console line: bye", text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("Kernel panic - not syncing: System is deadlocked on memory", true)]
    [InlineData("Kernel panic - not syncing: Out of memory: compulsory panic_on_oom is enabled", true)]
    [InlineData("Kernel panic - not syncing: Attempted to kill init!", false)]
    public void CrashForLackOfMemoryIsSaidToBeOne(string panic, bool told)
    {
        string text = RunReport.Describe(new MachineExit(MachineExitKind.Crashed, panic), "", "");
        Assert.Equal(told, text.Contains("give it more", StringComparison.Ordinal));
    }

    [Fact]
    public void StatisticsNameEveryCounter()
    {
        EngineStatistics counters = new() { Instructions = 1234567, HostSignals = 89 };
        string text = RunReport.Statistics(counters, 5, TimeSpan.FromSeconds(2), TimeSpan.FromSeconds(1));
        Assert.Contains("1,234,567", text, StringComparison.Ordinal);
        Assert.Equal(typeof(EngineStatistics).GetFields().Length + 3, text.Split('\n').Length);
    }
}
