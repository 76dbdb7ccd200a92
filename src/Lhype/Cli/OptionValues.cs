// Turns the text of single option values into what they mean: sizes, disks, seconds, kernel arguments. Pure
// functions, called by RunOptions; every refusal is a UsageException that names the option.

using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Text;
using Lhype.Host;
using Lhype.Machine;
using Lhype.Machine.Net;
using Lhype.Machine.Paravirt.Lguest;

namespace Lhype.Cli;

/// <summary>Parsers of option values.</summary>
internal static class OptionValues
{
    private const ulong PageSize = 4096;
    private const ulong SmallestMemory = 1 << 20;       // a PC's firmware area ends there
    private const int DiskIdLength = 20;
    private const int InterfaceNameLength = 15;

    /// <summary>A memory size in bytes: a number with K, M, G or T (powers of 1024, <c>MiB</c> and <c>MB</c>
    /// mean the same), a bare number is MiB. A multiple of 4 KiB, at least 1 MiB.</summary>
    public static ulong Size(string option, string text)
    {
        int digits = 0;
        while (digits < text.Length && char.IsAsciiDigit(text[digits]))
        {
            digits++;
        }

        int shift = text[digits..].ToUpperInvariant() switch
        {
            "K" or "KB" or "KIB" => 10,
            "" or "M" or "MB" or "MIB" => 20,
            "G" or "GB" or "GIB" => 30,
            "T" or "TB" or "TIB" => 40,
            _ => -1,
        };

        bool isNumber =
            ulong.TryParse(text[..digits], NumberStyles.None, CultureInfo.InvariantCulture, out ulong count);
        if (shift < 0 || !isNumber)
        {
            throw new UsageException(
                $"{option} {Quote(text)} is not a size; write 256M, 1G, or a number of MiB.");
        }

        if (count > ulong.MaxValue >> 1 >> shift || !IsMemorySize(count << shift))
        {
            throw new UsageException(
                $"{option} {Quote(text)} cannot be: a size is at least 1M and a multiple of 4K.");
        }

        return count << shift;
    }

    /// <summary>True if a machine can have this many bytes of memory.</summary>
    public static bool IsMemorySize(ulong bytes) =>
        bytes is >= SmallestMemory and <= long.MaxValue && bytes % PageSize == 0;

    /// <summary><c>FILE[,ro][,id=NAME]</c>; a comma in a file name is written twice.</summary>
    public static DiskConfig Disk(string text)
    {
        List<string> parts = SplitAtCommas(text);
        bool readOnly = false;
        string? id = null;
        foreach (string part in parts[1..])
        {
            if (part == "ro")
            {
                readOnly = true;
            }
            else if (part.StartsWith("id=", StringComparison.Ordinal) && part.Length is > 3 and <= 3
                + DiskIdLength)
            {
                id = part[3..];
            }
            else
            {
                throw new UsageException(
                    $"--disk does not know {Quote(part)}; write FILE[,ro][,id=NAME] with a name of at "
                    + "most 20 bytes, and a comma in a file name twice.");
            }
        }

        return new DiskConfig { File = FullPath("--disk", parts[0]), ReadOnly = readOnly, Id = id };
    }

    /// <summary><c>none</c>, <c>user[,hostfwd=RULE]</c>, <c>hub=FILE</c> or
    /// <c>tap[=NAME][,address=IP][,bridge=NAME]</c>, each with
    /// <c>,mac=ADDRESS</c> and <c>,pcap=FILE</c> perhaps; a comma in a file name is written twice.</summary>
    public static NetworkConfig Network(string text)
    {
        List<string> parts = SplitAtCommas(text);
        (NetworkKind kind, string? target) = parts[0].Split('=', 2) switch
        {
            ["none"] when parts.Count == 1 => (NetworkKind.None, null),
            ["user"] => (NetworkKind.User, null),
            ["tap"] => (NetworkKind.Tap, null),
            ["hub", string file] => (NetworkKind.Hub, FullPath("--net hub=", file)),
            ["tap", string name] when name.Length is > 0 and <= InterfaceNameLength
                && !name.Contains('/') => (NetworkKind.Tap, name),
            _ => throw new UsageException($"--net {Quote(text)} is not one of none, user, hub=FILE, tap=NAME "
                + $"(of at most {InterfaceNameLength} bytes); write a comma in a file name twice."),
        };
        NetworkConfig network = new() { Kind = kind, Target = target };
        List<string> forwards = [];
        foreach (string part in parts[1..])
        {
            switch (part.Split('=', 2))
            {
                case ["mac", string mac]:
                    network.Mac = MacAddress.TryParse(mac, out MacAddress address)
                        ? address.ToString()
                        : throw new UsageException($"--net mac={Quote(mac)} is not the address of a card; "
                            + "write six bytes like 02:00:00:00:00:01, the first one even.");
                    break;
                case ["pcap", string file]:
                    network.Pcap = FullPath("--net pcap=", file);
                    break;
                case ["address", string end] when kind == NetworkKind.Tap:
                    network.HostAddress = System.Net.IPAddress.TryParse(end, out System.Net.IPAddress? ip)
                        && ip.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork
                        ? ip.ToString()
                        : throw new UsageException(
                            $"--net tap: address={Quote(end)} is no IPv4 address; write 192.168.19.1.");
                    break;
                case ["bridge", string bridge] when kind == NetworkKind.Tap && bridge.Length > 0:
                    network.Bridge = bridge;
                    break;
                case ["hostfwd", string rule] when kind == NetworkKind.User && rule.Length > 0:
                    forwards.Add(Forward(rule));
                    break;
                default:
                    throw new UsageException($"--net {parts[0]} does not know {Quote(part)}; it takes "
                        + "mac=ADDRESS, pcap=FILE, with user hostfwd=RULE, and with tap address=IP or "
                        + "bridge=NAME.");
            }
        }

        network.HostForwards = forwards;
        return network;
    }

    private static string Forward(string rule)
    {
        try
        {
            return PortForward.Parse(rule).Text;
        }
        catch (LhypeException error)
        {
            throw new UsageException(error.Message);
        }
    }

    /// <summary>A file name, made absolute: a settled configuration means the same in every
    /// directory.</summary>
    public static string FullPath(string option, string file) => file.Length > 0 && !file.Contains('\0')
        ? Path.GetFullPath(file)
        : throw new UsageException($"{option} needs a file name.");

    /// <summary>A number of seconds, fractions allowed, more than zero.</summary>
    public static double Seconds(string option, string text)
    {
        bool isNumber = double.TryParse(
            text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double seconds);
        return isNumber && seconds > 0 && seconds < 1e9
            ? seconds
            : throw new UsageException($"{option} {Quote(text)} is not a number of seconds above zero.");
    }

    /// <summary>A whole number of virtual CPUs.</summary>
    public static int Cpus(string text)
    {
        bool isNumber = int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int count);
        if (!isNumber || count < 1)
        {
            throw new UsageException($"--cpus {Quote(text)} is not a number of CPUs.");
        }

        return count == 1
            ? 1
            : throw new UsageException(
                $"--cpus {count} is not possible yet: a guest has one CPU in this version.");
    }

    /// <summary>A domain name: letters, digits, dots, dashes and underscores, at most 64.</summary>
    public static string Name(string text)
    {
        bool good = text.Length is > 0 and <= 64 && text[0] is not ('.' or '-');
        foreach (char letter in text)
        {
            good &= char.IsAsciiLetterOrDigit(letter) || letter is '.' or '-' or '_';
        }

        return good
            ? text
            : throw new UsageException(
                $"--name {Quote(text)} cannot be: use up to 64 letters, digits, dots, dashes.");
    }

    /// <summary>Arguments as one kernel command line. An argument with spaces is quoted as the kernel
    /// understands it: the value behind the first equals sign (Linux kernel/params.c).</summary>
    public static string KernelArguments(IEnumerable<string> arguments)
    {
        StringBuilder line = new();
        foreach (string argument in arguments)
        {
            line.Append(line.Length > 0 ? " " : "");
            int equals = argument.IndexOf('=');
            bool needsQuotes = argument.Contains(' ') && !argument.Contains('"');
            line.Append(needsQuotes ? $"{argument[..(equals + 1)]}\"{argument[(equals + 1)..]}\"" : argument);
        }

        return line.ToString();
    }

    /// <summary>User text for a message: in quotes, without control characters, and shortened.</summary>
    public static string Quote(string text)
    {
        StringBuilder clean = new();
        foreach (char letter in text.Length > 80 ? text[..80] : text)
        {
            clean.Append(char.IsControl(letter) ? '?' : letter);
        }

        return $"'{clean}{(text.Length > 80 ? "..." : "")}'";
    }

    private static List<string> SplitAtCommas(string text)
    {
        List<string> parts = [];
        StringBuilder part = new();
        for (int index = 0; index < text.Length; index++)
        {
            bool comma = text[index] == ',';
            bool doubled = comma && index + 1 < text.Length && text[index + 1] == ',';
            if (comma && !doubled)
            {
                parts.Add(part.ToString());
                part.Clear();
                continue;
            }

            part.Append(text[index]);
            index += doubled ? 1 : 0;
        }

        parts.Add(part.ToString());
        return parts;
    }

    /// <summary>The dialect of <c>--lguest-abi</c>: a letter A to F; <c>D+pae</c> says that the kernel was
    /// built for PAE.</summary>
    public static (LguestGeneration Generation, bool Pae) LguestAbi(string text)
    {
        bool pae = text.Equals("D+pae", StringComparison.OrdinalIgnoreCase);
        string letter = pae ? "D" : text;
        return letter.Length == 1 && char.ToUpperInvariant(letter[0]) is >= 'A' and <= 'F'
            ? ((LguestGeneration)(char.ToUpperInvariant(letter[0]) - 'A'), pae)
            : throw new UsageException(
                $"--lguest-abi {Quote(text)} is not a dialect: A, B, C, D, D+pae, E or F.");
    }
}
