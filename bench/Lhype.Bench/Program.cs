// The side-by-side benchmark: the same kernel and initramfs under QEMU TCG and under Lhype, the same program
// natively, interleaved in rounds, compared by CPU seconds of the whole emulator process. Started by
// bench/run.

using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Net.NetworkInformation;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Threading;
using System.Threading.Tasks;
using Lhype.Cli;
using Lhype.Host;
using Lhype.Images;
using Lhype.Machine.Boot;

namespace Lhype.Bench;

internal static class Program
{
    private const string TablePage = "docs/promises.md";
    private const string TableEnd = "<!-- end of figures -->";

    private static int Main(string[] arguments)
    {
        if (arguments.Contains("--help") || arguments.Contains("-h"))
        {
            Console.WriteLine(BenchOptions.Help);
            return 0;
        }

        try
        {
            return Run(BenchOptions.Parse(arguments));
        }
        catch (Exception e) when (e is BenchUsageException or LhypeException or IOException)
        {
            Console.Error.WriteLine($"bench: {e.Message}");
            return e is BenchUsageException ? 2 : 1;
        }
    }

    private static int Run(BenchOptions options)
    {
        ImageDefinition image = ImageCatalog.Find($"debian-{options.Architecture}")!;
        var store = new ImageStore(ImageStore.DefaultRoot);
        ImagesCommand.Ensure(store, image, quiet: false);
        string kernel = options.Kernel ?? store.KernelPath(image);
        KernelImage loaded = KernelImage.Load(kernel, cache: null);
        options = options with
        {
            QemuProgram = loaded.Bits == 64 ? "qemu-system-x86_64" : "qemu-system-i386",
        };
        string initramfs = WriteInitramfs(options.GuestProgram);
        string drivers = WriteDriverInitramfs(options, store.InitrdPath(image));
        var report = new Report(options.Engines);
        for (int round = 1; round <= options.Rounds; round++)
        {
            foreach (string engine in options.Engines)
            {
                Console.Error.WriteLine($"bench: round {round} of {options.Rounds}, {engine}");
                RunResult Start(string archive, Setup setup) => GuestProcess.Run(
                    Engines.Command(engine, options, kernel, archive, setup), options.TimeoutSeconds);
                if (options.Programs.Length > 0)
                {
                    report.AddRun(engine, Start(initramfs, new Setup(options.Programs)));
                }

                if (engine != "native")
                {
                    RunBootAndDevices(engine, options, report, setup => Start(initramfs, setup),
                        setup => Start(drivers, setup));
                }
            }
        }

        string host = $"{HostCpuName()}; {loaded.Description.Split(" (")[0]}";
        WriteResults(options, report, host);
        IReadOnlyList<string> failures = report.Failures();
        foreach (string failure in failures)
        {
            Console.Error.WriteLine($"bench: {failure}");
        }

        return failures.Count == 0 ? 0 : 1;
    }

    private static void RunBootAndDevices(string engine, BenchOptions options, Report report,
        Func<Setup, RunResult> boot, Func<Setup, RunResult> devices)
    {
        if (options.Wants("boot"))
        {
            report.AddBoot(engine, boot(new Setup("none")));
        }

        // Modules of the image's kernel, so only with that.
        if (options.Kernel is null && options.Wants("disk"))
        {
            string disk = options.GuestProgram + ".disk";
            using (FileStream file = File.Create(disk))
            {
                file.SetLength(64 << 20);
            }

            report.AddRun(engine, devices(new Setup("disk", Disk: Path.GetFullPath(disk))));
            File.Delete(disk);
        }

        if (options.Kernel is null && options.Wants("network"))
        {
            using NetworkPeer peer = new();
            report.AddRun(engine, devices(new Setup("network",
                $"address=10.0.2.15 peer=10.0.2.2 port={peer.Port}",
                Network: Engines.UserNetwork(engine))));
            RunTwoGuests(engine, options, report, devices);
        }
    }

    private static void RunTwoGuests(
        string engine, BenchOptions options, Report report, Func<Setup, RunResult> devices)
    {
        string hub = Path.GetFullPath(options.GuestProgram + ".hub");
        File.Delete(hub);
        int port = NetworkPeer.FreePort();
        Setup server = new("serve", "address=10.0.5.1",
            Network: Engines.SharedNetwork(engine, hub, port, first: true));
        Setup sender = new("guests", "address=10.0.5.2 peer=10.0.5.1",
            Network: Engines.SharedNetwork(engine, hub, port, first: false));
        Task<RunResult> serving = Task.Run(() => devices(server));
        if (engine == "qemu")
        {
            AwaitListener(port, serving);
        }

        RunResult sent = devices(sender);
        RunResult served = serving.Result;
        File.Delete(hub);

        // The sender's time counts; the server's begins before there is a sender.
        report.AddRun(engine, served.Failure is null ? sent : sent with { Failure = served.Failure });
    }

    /// <summary>QEMU's connecting end gives up at once when nobody listens yet.</summary>
    private static void AwaitListener(int port, Task listener)
    {
        while (!listener.IsCompleted
            && !IPGlobalProperties.GetIPGlobalProperties().GetActiveTcpListeners().Any(l => l.Port == port))
        {
            Thread.Sleep(10);
        }
    }

    private static string WriteInitramfs(string program)
    {
        if (!File.Exists(program))
        {
            throw new LhypeException(
                $"There is no benchmark program {program}; start the benchmark with bench/run.");
        }

        string path = program + ".cpio";
        using FileStream file = File.Create(path);
        using var archive = new CpioArchive(file);
        archive.AddFile("init", File.ReadAllBytes(program), executable: true);
        return path;
    }

    /// <summary>The image's initramfs with the drivers, and over it our /init.</summary>
    private static string WriteDriverInitramfs(BenchOptions options, string image)
    {
        string path = options.GuestProgram + "-devices.cpio";
        using FileStream file = File.Create(path);
        file.Write(File.ReadAllBytes(image));
        while (file.Position % 4 != 0)
        {
            file.WriteByte(0);
        }

        using var archive = new CpioArchive(file);
        archive.AddFile("init", File.ReadAllBytes("guest/bench/init.sh"), executable: true);
        archive.AddFile("bench", File.ReadAllBytes(options.GuestProgram), executable: true);
        return path;
    }

    private static void WriteResults(BenchOptions options, Report report, string host)
    {
        string table = report.ToMarkdown();
        Console.Write(table);
        _ = Directory.CreateDirectory(options.OutputDirectory);
        string Out(string name) => Path.Combine(options.OutputDirectory, name);
        File.WriteAllText(Out("result.md"), table);
        var root = new JsonObject
        {
            ["host"] = host,
            ["memoryMib"] = options.MemoryMib,
            ["rounds"] = options.Rounds,
            ["engines"] = report.ToJson(),
        };
        File.WriteAllText(Out("result.json"),
            root.ToJsonString(new JsonSerializerOptions { WriteIndented = true }));
        string chart = Chart.Draw(report.Programs(), report.Boots(), host);
        File.WriteAllText(Out("result.svg"), chart);
        if (options.Publish)
        {
            Publish(options, table, chart);
        }
    }

    private static void Publish(BenchOptions options, string table, string chart)
    {
        bool isI386 = options.Architecture == "i386";
        File.WriteAllText(isI386 ? "docs/benchmark.svg" : "docs/benchmark-amd64.svg", chart);
        string mark = isI386 ? "<!-- figures of bench/run -->" : "<!-- figures of bench/run --arch amd64 -->";
        string page = File.ReadAllText(TablePage);
        int start = page.IndexOf(mark, StringComparison.Ordinal);
        int end = start < 0 ? -1 : page.IndexOf(TableEnd, start, StringComparison.Ordinal);
        if (end < 0)
        {
            throw new LhypeException($"{TablePage} has no '{mark}' and '{TableEnd}' around its table.");
        }

        File.WriteAllText(TablePage, $"{page[..(start + mark.Length)]}\n\n{table}\n{page[end..]}");
    }

    private static string HostCpuName()
    {
        string? line = File.ReadLines("/proc/cpuinfo").FirstOrDefault(l => l.StartsWith("model name"));
        return line?[(line.IndexOf(':') + 1)..].Trim() ?? "unknown";
    }
}
