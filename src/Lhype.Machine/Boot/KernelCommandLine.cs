// Puts the kernel command line together: what the tool arranges so that a stock kernel starts fast and stops
// cleanly, then the user's words, which win. --dry-run shows the result. Called by the command line before
// BootLoader.

using System;
using System.Collections.Generic;
using System.Text;

namespace Lhype.Machine.Boot;

/// <summary>Kernel command lines (Linux Documentation/admin-guide/kernel-parameters.rst).</summary>
public static class KernelCommandLine
{
    // Each with the reason it is there.
    private static readonly string[] LinuxDefaults =
    [
        "console=ttyS0",        // the machine's console is its first serial port
        "cryptomgr.notests",    // the crypto self-tests are over half of a stock i386 boot
        "noisapnp",             // probing for ISA cards is fixed delays, and there are none
        // Measuring the ACPI timer is a tenth of a boot, and there are better clocks.
        "initcall_blacklist=init_acpi_pm_clocksource",
        "reboot=t",             // a triple fault always ends the machine
        "panic=-1",             // a panic ends the machine at once instead of hanging
        "quiet",                // messages cost time; dmesg has them
    ];

    private static readonly string[] ParavirtualDefaults =
    [
        "console=hvc0",         // the console is a device of the host's
        "cryptomgr.notests",
        "panic=-1",
        "quiet",
    ];

    private static readonly string[] Verbose = ["debug", "ignore_loglevel", "loglevel", "quiet"];

    /// <summary>The command line for <paramref name="kind"/>: defaults unless <paramref name="automatic"/>
    /// is false, <paramref name="extra"/> (what other options imply, such as <c>root=/dev/vda</c>), then
    /// <paramref name="user"/>. A default or extra word is left out if the user has a word for the same
    /// parameter. A <paramref name="paravirtual"/> guest has no PC around it.</summary>
    public static string Assemble(KernelKind kind, IReadOnlyList<string> extra, string user, bool automatic,
        bool paravirtual = false)
    {
        string userWords = user.Trim();
        if (!automatic || kind == KernelKind.Multiboot)
        {
            return userWords;
        }

        var taken = new HashSet<string>(StringComparer.Ordinal);
        foreach (string word in SplitWords(userWords))
        {
            if (word == "--")
            {
                break;
            }

            _ = taken.Add(ParameterName(word));
        }

        bool verbose = Array.Exists(Verbose, taken.Contains);
        var line = new StringBuilder();
        string[] defaults = paravirtual ? ParavirtualDefaults : LinuxDefaults;
        foreach (string word in (IEnumerable<string>)[.. defaults, .. extra])
        {
            string name = ParameterName(word);
            if (!taken.Contains(name) && !(name == "quiet" && verbose))
            {
                _ = line.Append(line.Length == 0 ? "" : " ").Append(word);
            }
        }

        if (userWords.Length > 0)
        {
            _ = line.Append(line.Length == 0 ? "" : " ").Append(userWords);
        }

        return line.ToString();
    }

    /// <summary>Splits at white space outside double quotes, as the kernel does. Quotes are kept.</summary>
    public static IReadOnlyList<string> SplitWords(string line)
    {
        var words = new List<string>();
        var word = new StringBuilder();
        bool quoted = false;
        foreach (char c in line)
        {
            if (char.IsWhiteSpace(c) && !quoted)
            {
                AddWord(words, word);
                continue;
            }

            quoted ^= c == '"';
            _ = word.Append(c);
        }

        AddWord(words, word);
        return words;
    }

    private static void AddWord(List<string> words, StringBuilder word)
    {
        if (word.Length > 0)
        {
            words.Add(word.ToString());
            _ = word.Clear();
        }
    }

    /// <summary>The part before '='; the kernel takes '-' and '_' in it as the same.</summary>
    private static string ParameterName(string word)
    {
        string bare = word.Trim('"');
        int equals = bare.IndexOf('=', StringComparison.Ordinal);
        return (equals < 0 ? bare : bare[..equals]).Replace('-', '_');
    }
}
