// Builds the guests of guest/conformance with gcc and boots each on the whole machine. A guest prints one
// line per check on COM1 and ends the machine through port 0xF4; the same files run under QEMU with
// isa-debug-exit.

using System;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Text;
using Lhype.Machine;
using Xunit;

namespace Lhype.Tests.Conformance;

public sealed class ConformanceTests : IClassFixture<ConformanceGuests>
{
    private readonly ConformanceGuests _guests;

    public ConformanceTests(ConformanceGuests guests) => _guests = guests;

    public static TheoryData<string> Names() =>
    [
        .. Directory.GetFiles(ConformanceGuests.Folder, "*.c")
            .Select(f => Path.GetFileNameWithoutExtension(f)).Where(name => name != "conformance").Order(),
    ];

    [Theory]
    [MemberData(nameof(Names))]
    public void GuestPasses(string name)
    {
        var transcript = new StringBuilder();
        var console = new GuestConsole(bytes => transcript.Append(Encoding.ASCII.GetString(bytes)));
        var config = new MachineConfig
        {
            Kernel = _guests.Build(name),
            MemoryBytes = 64 << 20,
            DebugExit = true,
            TimeoutSeconds = 30,
        };
        using BuiltMachine built = MachineBuilder.Build(config, console);
        using var watchdog = new System.Threading.Timer(
            _ => built.Machine.RequestEnd(new MachineExit(MachineExitKind.TimedOut)), null,
            TimeSpan.FromSeconds(config.TimeoutSeconds), System.Threading.Timeout.InfiniteTimeSpan);
        MachineExit exit = new VcpuLoop(built.Machine, built.Vcpu).Run();
        string[] lines = transcript.ToString().Split('\n');
        string report = $"{exit}\n" + string.Join('\n', lines.Where(line => !line.StartsWith("ok ")));
        Assert.True(exit.Kind == MachineExitKind.DebugExit && exit.Value == 1, report);
        Assert.DoesNotContain(lines, line => line.StartsWith("FAIL "));
    }
}

/// <summary>The built guests, in a folder that goes away with the test run.</summary>
public sealed class ConformanceGuests : IDisposable
{
    private readonly string _output = Directory.CreateTempSubdirectory("lhype-conformance").FullName;

    /// <summary>guest/conformance in the source tree.</summary>
    public static string Folder { get; } = FindFolder();

    /// <summary>Compiles one guest and returns its ELF file.</summary>
    public string Build(string name)
    {
        var start = new ProcessStartInfo("/bin/sh") { RedirectStandardError = true };
        start.ArgumentList.Add(Path.Combine(Folder, "build.sh"));
        start.ArgumentList.Add(_output);
        start.ArgumentList.Add(name);
        using Process process = Process.Start(start)
            ?? throw new InvalidOperationException("cannot start /bin/sh");
        string errors = process.StandardError.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, errors);
        return Path.Combine(_output, name + ".elf");
    }

    public void Dispose() => Directory.Delete(_output, recursive: true);

    private static string FindFolder()
    {
        for (DirectoryInfo? at = new(AppContext.BaseDirectory); at != null; at = at.Parent)
        {
            string candidate = Path.Combine(at.FullName, "guest", "conformance");
            if (Directory.Exists(candidate))
            {
                return candidate;
            }
        }

        throw new DirectoryNotFoundException("guest/conformance is not above " + AppContext.BaseDirectory);
    }
}
