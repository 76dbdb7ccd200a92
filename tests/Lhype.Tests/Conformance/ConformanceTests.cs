// Builds the guests of guest/conformance (i386) and guest/conformance64 with gcc and boots each on the whole
// machine. A guest prints one line per check on COM1 and ends the machine through port 0xF4; the same files
// run under QEMU with isa-debug-exit (which checks less in long mode than a CPU does).

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

    public static TheoryData<string> Names() => NamesIn("conformance");

    public static TheoryData<string> LongNames() => NamesIn("conformance64");

    [Theory]
    [MemberData(nameof(Names))]
    public void GuestPasses(string name) => Passes("conformance", name);

    [Theory]
    [MemberData(nameof(LongNames))]
    public void LongGuestPasses(string name) => Passes("conformance64", name);

    private static TheoryData<string> NamesIn(string folder) =>
    [
        .. Directory.GetFiles(ConformanceGuests.FolderOf(folder), "*.c")
            .Select(f => Path.GetFileNameWithoutExtension(f)).Where(name => name != "conformance").Order(),
    ];

    private void Passes(string folder, string name)
    {
        var transcript = new StringBuilder();
        var console = new GuestConsole(bytes => transcript.Append(Encoding.ASCII.GetString(bytes)));
        var config = new MachineConfig
        {
            Kernel = _guests.Build(folder, name),
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

    /// <summary>Compiles one guest and returns its ELF file.</summary>
    public string Build(string folder, string name)
    {
        var start = new ProcessStartInfo("/bin/sh") { RedirectStandardError = true };
        start.ArgumentList.Add(Path.Combine(FolderOf(folder), "build.sh"));
        string output = Directory.CreateDirectory(Path.Combine(_output, folder)).FullName;
        start.ArgumentList.Add(output);
        start.ArgumentList.Add(name);
        using Process process = Process.Start(start)
            ?? throw new InvalidOperationException("cannot start /bin/sh");
        string errors = process.StandardError.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, errors);
        return Path.Combine(output, name + ".elf");
    }

    public void Dispose() => Directory.Delete(_output, recursive: true);

    /// <summary>A folder of guest/ in the source tree.</summary>
    public static string FolderOf(string name)
    {
        for (DirectoryInfo? at = new(AppContext.BaseDirectory); at != null; at = at.Parent)
        {
            string candidate = Path.Combine(at.FullName, "guest", name);
            if (Directory.Exists(candidate))
            {
                return candidate;
            }
        }

        throw new DirectoryNotFoundException($"guest/{name} is not above " + AppContext.BaseDirectory);
    }
}
