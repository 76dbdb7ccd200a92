// The command line of the benchmark. bench/run adds the paths of what it has built. Used by Program.

using System;
using System.Globalization;
using System.Linq;

namespace Lhype.Bench;

/// <summary>A mistake on the command line; the message is one sentence.</summary>
internal sealed class BenchUsageException(string message) : Exception(message);

/// <summary>Settled options.</summary>
internal sealed record BenchOptions
{
    /// <summary>Text for --help.</summary>
    public const string Help = """
        usage: bench/run [OPTION...]
        Runs the same guest under QEMU TCG and Lhype and the same program natively; compares CPU seconds.
          --arch NAME      of program and kernel: i386 (default) or amd64
          --cpu MODEL      CPU model of Lhype's guest (default base)
          --rounds N       runs of each (default 2); the best of them counts
          --only LIST      what to measure, with commas: a class (integer, floating, memory, kernel), one of
                           its programs (fib, ...), boot, disk, network
          --no-qemu        compare Lhype with the host only: the quick loop for work on the engine
          --kernel FILE    a Linux kernel, i386 or amd64, instead of the image's
          --memory MIB     guest memory (default 256)
          --timeout SECS   longest a single run may take (default 300)
          --out DIRECTORY  where result.md, result.json and result.svg go (default out/bench)
          --publish        put the table into docs/promises.md and the chart beside it
        """;

    /// <summary>Debian's name of the architecture of program and kernel.</summary>
    public string Architecture { get; private init; } = "i386";

    /// <summary>Lhype's CPU model; null: its default.</summary>
    public string? Cpu { get; private init; }

    public int Rounds { get; private init; } = 2;

    public string Only { get; private init; } = "all";

    /// <summary>True if <paramref name="part"/> (boot, disk, network) is to be measured.</summary>
    public bool Wants(string part) => Only == "all" || Only.Split(',').Contains(part);

    /// <summary>The rest of <see cref="Only"/>: classes and programs that need no device; may be
    /// empty.</summary>
    public string Programs => string.Join(',', Only.Split(',').Except(["boot", "disk", "network"]));

    public string? Kernel { get; private init; }

    public int MemoryMib { get; private init; } = 256;

    public int TimeoutSeconds { get; private init; } = 300;

    public string[] Engines { get; private init; } = ["native", "qemu", "lhype"];

    public string OutputDirectory { get; private init; } = "out/bench";

    public bool Publish { get; private init; }

    /// <summary>The benchmark program, a static executable.</summary>
    public string GuestProgram { get; private init; } = "out/bench/i386/guest";

    /// <summary>The emulator that runs the kernel: its 64-bit one for a 64-bit kernel.</summary>
    public string QemuProgram { get; init; } = "qemu-system-i386";

    /// <summary>The lhype binary.</summary>
    public string LhypeBinary { get; private init; } = "";

    /// <summary>Parses <paramref name="arguments"/>; throws BenchUsageException.</summary>
    public static BenchOptions Parse(string[] arguments)
    {
        var options = new BenchOptions();
        for (int i = 0; i < arguments.Length; i += 2)
        {
            string name = arguments[i];
            if (name is "--no-qemu" or "--publish")
            {
                options = name == "--publish"
                    ? options with { Publish = true }
                    : options with { Engines = ["native", "lhype"] };
                i--;
                continue;
            }

            string value = i + 1 < arguments.Length
                ? arguments[i + 1]
                : throw new BenchUsageException($"The option {name} is unknown or has no value; see --help.");
            options = name switch
            {
                "--arch" => options with { Architecture = KnownArchitecture(value) },
                "--cpu" => options with { Cpu = value },
                "--rounds" => options with { Rounds = Number(name, value) },
                "--only" => options with { Only = value },
                "--kernel" => options with { Kernel = value },
                "--memory" => options with { MemoryMib = Number(name, value) },
                "--timeout" => options with { TimeoutSeconds = Number(name, value) },
                "--out" => options with { OutputDirectory = value },
                "--guest" => options with { GuestProgram = value },
                "--lhype" => options with { LhypeBinary = value },
                _ => throw new BenchUsageException($"There is no option {name}; see --help."),
            };
        }

        return options;
    }

    private static string KnownArchitecture(string value) => value is "i386" or "amd64"
        ? value
        : throw new BenchUsageException($"--arch is i386 or amd64, not '{value}'.");

    private static int Number(string name, string value) =>
        int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number > 0
            ? number
            : throw new BenchUsageException($"{name} takes a number above 0, not '{value}'.");
}
