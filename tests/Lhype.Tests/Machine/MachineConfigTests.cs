// --dry-run prints what --config reads: nothing may be lost on the way, and anything else is one sentence.

using Lhype.Host;
using Lhype.Machine;
using Xunit;

namespace Lhype.Tests.Machine;

public sealed class MachineConfigTests
{
    [Fact]
    public void JsonRoundTripKeepsEverySetting()
    {
        MachineConfig config = new()
        {
            Name = "one",
            Kernel = "/boot/vmlinuz",
            Initrds = ["a.cpio", "b.cpio"],
            Append = "quiet x=\"y z\"",
            AutoCommandLine = false,
            MemoryBytes = 1UL << 30,
            Cpus = 1,
            Disks = [new DiskConfig { File = "root.img", ReadOnly = true, Id = "root" }],
            Snapshot = true,
            Networks = [new NetworkConfig { Kind = NetworkKind.Hub, Target = "net" }],
            Machine = BoardKind.Pc,
            Engine = EngineKind.Translator,
            Serial = MachineConfig.NotConnected,
            Console = MachineConfig.Socket,
            DebugExit = true,
            NoReboot = true,
            TimeoutSeconds = 2.5,
            Statistics = true,
            Verbosity = 1,
        };

        string json = config.ToJson();
        MachineConfig back = MachineConfig.FromJson(json, "test");

        Assert.Equal(json, back.ToJson());
        Assert.Equal(config.Disks, back.Disks);
        Assert.Equal(config.MemoryBytes, back.MemoryBytes);
        Assert.Equal(config.Machine, back.Machine);
        Assert.Equal(config.TimeoutSeconds, back.TimeoutSeconds);
    }

    [Fact]
    public void WhatTheFileLeavesOutKeepsItsDefault()
    {
        MachineConfig read = MachineConfig.FromJson("{\"kernel\":\"k\",\"disks\":[{\"file\":\"d\"}]}",
            "test");
        MachineConfig made = new() { Kernel = "k", Disks = [new DiskConfig { File = "d" }] };
        Assert.Equal(made.ToJson(), read.ToJson());
        Assert.Equal(MachineConfig.Stdio, read.Serial);
    }

    [Theory]
    [InlineData("")]
    [InlineData("null")]
    [InlineData("{}")]
    [InlineData("{\"kernel\":\"k\",\"memroy\":1}")]
    [InlineData("{\"kernel\":\"k\",\"cpus\":\"many\"}")]
    [InlineData("{\"kernel\":\"k\",\"disks\":null}")]
    public void AnythingElseIsOneSentence(string json)
    {
        LhypeException error = Assert.Throws<LhypeException>(() => MachineConfig.FromJson(json, "x.json"));
        Assert.Contains("x.json", error.Message, System.StringComparison.Ordinal);
    }
}
