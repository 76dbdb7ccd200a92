// Fetches Debian packages with the host's own apt, as any user and for any architecture, without touching the
// host's package state: apt gets a directory of ours for its lists, archives and status, and a configuration
// file that is read after the host's. Mirrors come from the host's sources, signatures are checked against
// the host's Debian keyring (apt.conf(5), sources.list(5)). Called by ImageStore.

using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Text;
using Lhype.Host;

namespace Lhype.Images;

/// <summary>apt with a state directory of its own, for one architecture.</summary>
internal sealed class PrivateApt
{
    private const string Release = "bookworm";
    private const string DefaultMirror = "http://deb.debian.org/debian";

    /// <summary>Names the archive of a Debian release goes by, in the order preferred when picking a
    /// mirror.</summary>
    private static readonly string[] DebianReleases =
        [Release, "oldstable", "stable", "trixie", "forky", "bullseye", "testing", "unstable", "sid"];

    private static readonly string[] Keyrings =
    [
        "/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp",
    ];

    private readonly string _directory;
    private readonly string _architecture;

    /// <summary>Uses <paramref name="directory"/> for all state; made on first use.</summary>
    public PrivateApt(string directory, string architecture)
    {
        _directory = directory;
        _architecture = architecture;
    }

    /// <summary>Where packages are downloaded to, and stay.</summary>
    public string Archives => Path.Combine(_directory, "archives");

    /// <summary>True when this host has the programs needed.</summary>
    public static bool Available =>
        OnPath("apt-get") && OnPath("apt-cache") && OnPath("dpkg-deb");

    /// <summary>Fetches the signed package lists.</summary>
    public void Update(IPullProgress progress)
    {
        Directory.CreateDirectory(Path.Combine(_directory, "state", "lists", "partial"));
        Directory.CreateDirectory(Path.Combine(_directory, "cache", "archives", "partial"));
        Directory.CreateDirectory(Archives);
        File.WriteAllText(Path.Combine(_directory, "status"), "");
        File.WriteAllText(Path.Combine(_directory, "sources.list"), SourceLine() + '\n');
        File.WriteAllText(Path.Combine(_directory, "apt.conf"), Configuration());
        Check(Run("apt-get", ["update"], progress), "the package lists");
    }

    /// <summary>One field's value for the newest version of <paramref name="package"/>, from the
    /// lists.</summary>
    public string Field(string package, string field)
    {
        HostProgramResult result = Run("apt-cache", ["show", "--no-all-versions", package], null);
        Check(result, package);
        foreach (string line in result.Output.Split('\n'))
        {
            if (line.StartsWith(field + ": ", StringComparison.Ordinal))
            {
                return line[(field.Length + 2)..].Trim();
            }
        }

        throw new LhypeException($"Debian's package {package} has no field {field}; pull again later.");
    }

    /// <summary>Downloads the newest version of <paramref name="package"/> into <see cref="Archives"/>, going
    /// on where an earlier download stopped, and returns the file's path. apt checks it against the signed
    /// lists.</summary>
    public string Download(string package, IPullProgress progress)
    {
        // apt writes the colon of an epoch as %3a in file names.
        string version = Field(package, "Version").Replace(":", "%3a", StringComparison.Ordinal);
        Check(Run("apt-get", ["download", package], progress), package);
        string file = Path.Combine(Archives, $"{package}_{version}_{_architecture}.deb");
        return File.Exists(file)
            ? file
            : throw new LhypeException($"apt-get downloaded {package} but {file} is not there; pull again.");
    }

    private HostProgramResult Run(string program, IEnumerable<string> arguments, IPullProgress? progress)
    {
        List<string> all =
            ["-c", Path.Combine(_directory, "apt.conf"), "-q", "-o", "APT::Status-Fd=1", .. arguments];
        return HostProgram.Run(program, all, Archives, line =>
        {
            // dlstatus:ITEM:PERCENT:TEXT, apt's machine-readable progress.
            string[] parts = line.Split(':');
            if (parts.Length >= 3 && parts[0] == "dlstatus"
                && double.TryParse(parts[2], NumberStyles.Float, CultureInfo.InvariantCulture,
                    out double percent))
            {
                progress?.Report(percent / 100);
            }
        });
    }

    private void Check(HostProgramResult result, string what)
    {
        if (result.ExitCode == 0)
        {
            return;
        }

        throw new LhypeException(result.DiskFull
            ? $"The disk is full: {what} could not be stored in {_directory}; make room and try again."
            : $"Could not fetch {what} ({result.Reason}); check the network and try again, or pass your own "
                + "files with --kernel and --initrd.");
    }

    /// <summary>Our settings. Lists (hooks, architectures) must be cleared, single values override.</summary>
    private string Configuration()
    {
        StringBuilder text = new();
        string[] lists = ["APT::Update", "APT::Architectures", "DPkg", "Acquire::IndexTargets::deb"];
        foreach (string list in lists)
        {
            text.Append(CultureInfo.InvariantCulture, $"#clear {list};\n");
        }

        foreach ((string name, string value) in ((string, string)[])
        [
            ("APT::Architecture", _architecture),
            ("APT::Architectures::", _architecture),
            // The sandbox user of a root shell could not write into a private cache.
            ("APT::Sandbox::User", "root"),
            ("APT::Update::Error-Mode", "any"),
            ("APT::Get::AllowUnauthenticated", "false"),
            ("Acquire::AllowInsecureRepositories", "false"),
            ("Acquire::AllowWeakRepositories", "false"),
            ("Acquire::IndexTargets::deb::Packages::MetaKey", "$(COMPONENT)/binary-$(ARCHITECTURE)/Packages"),
            ("Acquire::IndexTargets::deb::Packages::flatMetaKey", "Packages"),
            ("Acquire::IndexTargets::deb::Packages::ShortDescription", "Packages"),
            ("Acquire::IndexTargets::deb::Packages::Optional", "no"),
            ("Acquire::Languages", "none"),
            ("Acquire::Retries", "3"),
            ("Dir::State", Path.Combine(_directory, "state")),
            ("Dir::State::lists", Path.Combine(_directory, "state", "lists")),
            ("Dir::State::status", Path.Combine(_directory, "status")),
            ("Dir::Cache", Path.Combine(_directory, "cache")),
            ("Dir::Cache::archives", Path.Combine(_directory, "cache", "archives")),
            ("Dir::Etc::sourcelist", Path.Combine(_directory, "sources.list")),
            ("Dir::Etc::sourceparts", "/dev/null"),
            ("Dir::Etc::preferences", "/dev/null"),
            ("Dir::Etc::preferencesparts", "/dev/null"),
        ])
        {
            text.Append(CultureInfo.InvariantCulture, $"{name} \"{value}\";\n");
        }

        return text.ToString();
    }

    private static string SourceLine()
    {
        HostProgramResult host = HostProgram.Run(
            "apt-get",
            ["indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"]);
        string? keyring = Array.Find(Keyrings, File.Exists);
        string? mirror = PickMirror(host.Output.Split('\n'));
        if (keyring is null && mirror is null)
        {
            throw new LhypeException("Debian's signing keys are not on this host: install the package "
                + "debian-archive-keyring, or pass your own files with --kernel and --initrd.");
        }

        // Without the keyring file, the host has its own reasons to trust the mirror it uses (trusted.gpg.d).
        string options = keyring is null ? "" : $"[signed-by={keyring}] ";
        return $"deb {options}{mirror ?? DefaultMirror} {Release} main";
    }

    /// <summary>The archive the host itself uses for a Debian release, from lines "RELEASE COMPONENT URI";
    /// null when it has none, as on Debian's derivatives.</summary>
    internal static string? PickMirror(IReadOnlyList<string> targets)
    {
        foreach (string release in DebianReleases)
        {
            foreach (string target in targets)
            {
                string[] words = target.Split(' ', 3);
                if (words.Length == 3 && words[0] == release && words[1] == "main")
                {
                    return words[2].TrimEnd('/');
                }
            }
        }

        return null;
    }

    private static bool OnPath(string program)
    {
        foreach (string directory in (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':'))
        {
            if (directory.Length > 0 && File.Exists(Path.Combine(directory, program)))
            {
                return true;
            }
        }

        return false;
    }
}
