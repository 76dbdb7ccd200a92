// The side-by-side benchmark: the same kernel and initramfs under QEMU TCG and under Lhype, the same program
// natively, interleaved in rounds, compared by CPU seconds of the whole emulator process. Started by
// bench/run.

using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.Json;
using System.Text.Json.Nodes;
using Lhype.Cli;
using Lhype.Host;
using Lhype.Images;
using Lhype.Machine.Boot;

namespace Lhype.Bench;

internal static class Program
{
    private const string ImageName = "debian-i386";

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
        string kernel = options.Kernel ?? FindKernel();
        string initramfs = WriteInitramfs(options.GuestProgram);
        var report = new Report();
        for (int round = 1; round <= options.Rounds; round++)
        {
            foreach (string engine in options.Engines)
            {
                Console.Error.WriteLine($"bench: round {round} of {options.Rounds}, {engine}");
                List<string> command = Command(engine, options, kernel, initramfs, options.Only);
                report.AddRun(engine, GuestProcess.Run(command, options.TimeoutSeconds));
                if (engine != "native" && options.Wants("boot"))
                {
                    command = Command(engine, options, kernel, initramfs, "none");
                    report.AddBoot(engine, GuestProcess.Run(command, options.TimeoutSeconds));
                }
            }
        }

        Console.Write(report.ToMarkdown());
        WriteJson(options, kernel, report);
        IReadOnlyList<string> failures = report.Failures();
        foreach (string failure in failures)
        {
            Console.Error.WriteLine($"bench: {failure}");
        }

        return failures.Count == 0 ? 0 : 1;
    }

    private static List<string> Command(string engine, BenchOptions options, string kernel, string initramfs,
        string only)
    {
        string line = KernelCommandLine.Assemble(KernelKind.Linux, [], $"bench={only}", automatic: true);
        return engine switch
        {
            "native" => [options.GuestProgram, only],
            "qemu" =>
            [
                "qemu-system-i386", "-accel", "tcg", "-m", $"{options.MemoryMib}", "-display", "none",
                "-monitor", "none", "-serial", "stdio", "-no-reboot", "-kernel", kernel,
                "-initrd", initramfs, "-append", line,
            ],
            _ =>
            [
                options.LhypeBinary, "run", "--kernel", kernel, "--initrd", initramfs, "--memory",
                $"{options.MemoryMib}", "--quiet", "--no-auto-cmdline", "--append", line,
            ],
        };
    }

    private static string FindKernel()
    {
        var store = new ImageStore(ImageStore.DefaultRoot);
        ImageDefinition image = ImageCatalog.Find(ImageName)
            ?? throw new LhypeException($"There is no image {ImageName}; give a kernel with --kernel.");
        ImagesCommand.Ensure(store, image, quiet: false);
        return store.KernelPath(image);
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

    private static void WriteJson(BenchOptions options, string kernel, Report report)
    {
        var root = new JsonObject
        {
            ["kernel"] = KernelImage.Load(kernel, cache: null).Description,
            ["hostCpu"] = HostCpuName(),
            ["memoryMib"] = options.MemoryMib,
            ["rounds"] = options.Rounds,
            ["engines"] = report.ToJson(),
        };
        string? directory = Path.GetDirectoryName(options.JsonPath);
        if (!string.IsNullOrEmpty(directory))
        {
            _ = Directory.CreateDirectory(directory);
        }

        var indented = new JsonSerializerOptions { WriteIndented = true };
        File.WriteAllText(options.JsonPath, root.ToJsonString(indented));
    }

    private static string HostCpuName()
    {
        string? line = File.ReadLines("/proc/cpuinfo").FirstOrDefault(l => l.StartsWith("model name"));
        return line?[(line.IndexOf(':') + 1)..].Trim() ?? "unknown";
    }
}
