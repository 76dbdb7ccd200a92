// The builder refuses what it cannot build in one sentence, and leaves no lock and no memory behind.

using System;
using System.IO;
using Lhype.Host;
using Lhype.Machine;
using Lhype.Machine.Boot;
using Lhype.Tests.Machine.Boot;
using Xunit;

namespace Lhype.Tests.Machine;

public sealed class MachineBuilderTests
{
    [Fact]
    public void RefusesWhatThisVersionCannotBuild()
    {
        MachineConfig[] bad =
        [
            new() { Kernel = "k", Cpus = 2 },
            new() { Kernel = "k", Engine = EngineKind.Kvm },
            new() { Kernel = "k", Console = "x" },
            new() { Kernel = "k", Networks = [new NetworkConfig { Kind = NetworkKind.User }] },
            new() { Kernel = "k", MemoryBytes = 0 },
            new() { Kernel = "k", MemoryBytes = 4097 },
            new() { Kernel = "k", MemoryBytes = 1UL << 40 },
            new() { Kernel = "k", TimeoutSeconds = -1 },
            new() { Kernel = "k", TimeoutSeconds = double.NaN },
            new() { Kernel = "/nonexistent/kernel" },
            new() { Kernel = "k", Cpu = "z80" },
        ];
        foreach (MachineConfig config in bad)
        {
            LhypeException error = Assert.Throws<LhypeException>(
                () => MachineBuilder.Build(config, new GuestConsole(_ => { })));
            Assert.EndsWith(".", error.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void FailureUnlocksTheDisks()
    {
        string disk = Path.GetTempFileName();
        string kernel = Path.GetTempFileName();
        try
        {
            File.WriteAllBytes(disk, new byte[512]);
            MachineConfig config = new() { Kernel = kernel, Disks = [new DiskConfig { File = disk }] };
            Assert.Throws<LhypeException>(() => MachineBuilder.Build(config, new GuestConsole(_ => { })));
            HostFile.Open(disk, readOnly: false, HostFileLock.Exclusive).Dispose();
        }
        finally
        {
            File.Delete(disk);
            File.Delete(kernel);
        }
    }

    [Fact]
    public void SixtyFourBitKernelNeedsACpuModelWithLongMode()
    {
        string kernel = Path.GetTempFileName();
        try
        {
            File.WriteAllBytes(kernel, TestImages.Elf64());
            MachineConfig config = new() { Kernel = kernel, Cpu = "pentium3" };
            LhypeException error = Assert.Throws<LhypeException>(
                () => MachineBuilder.Build(config, new GuestConsole(_ => { })));
            Assert.Contains("is 64-bit and the CPU model pentium3", error.Message, StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(kernel);
        }
    }

    [Fact]
    public void CommandLineNamesTheRootDiskUnlessTheUserDoes()
    {
        DiskConfig disk = new() { File = "d" };
        MachineConfig config = new() { Kernel = "k", Disks = [disk], Append = "quiet" };
        Assert.Contains("root=/dev/vda rw", MachineBuilder.CommandLineFor(config, KernelKind.Linux),
            StringComparison.Ordinal);
        config.Append = "root=/dev/sda1";
        Assert.DoesNotContain("vda", MachineBuilder.CommandLineFor(config, KernelKind.Linux),
            StringComparison.Ordinal);
        config.AutoCommandLine = false;
        Assert.Equal("root=/dev/sda1", MachineBuilder.CommandLineFor(config, KernelKind.Linux));
    }
}
