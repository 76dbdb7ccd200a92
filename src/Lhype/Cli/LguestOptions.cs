// lguest's names of options, understood beside our own by `lhype run` and `lhype add`: each is rewritten to
// the option that means the same, before the command line is parsed, so that the order of devices stays what
// the user wrote. --initrd and --verbose are the same in both. Called by CommandLine.

using System;
using System.Collections.Generic;

namespace Lhype.Cli;

/// <summary>Translates lguest's options.</summary>
internal static class LguestOptions
{
    /// <summary><paramref name="arguments"/> with lguest's options replaced. A missing value is left for the
    /// parser to complain about.</summary>
    public static List<string> Rewrite(IReadOnlyList<string> arguments)
    {
        List<string> rewritten = [];
        for (int index = 0; index < arguments.Count; index++)
        {
            string argument = arguments[index];
            int equals = argument.IndexOf('=');
            string name = equals < 0 ? argument : argument[..equals];
            if (name is not ("--block" or "--sharenet" or "--tunnet"))
            {
                rewritten.Add(argument);
            }
            else if (equals < 0 && index + 1 == arguments.Count)
            {
                throw new UsageException($"{name} needs a value; see 'lhype add --help'.");
            }
            else
            {
                string value = equals < 0 ? arguments[++index] : argument[(equals + 1)..];
                rewritten.Add(Translate(name, value));
            }
        }

        return rewritten;
    }

    private static string Translate(string name, string value)
    {
        // Ours take more behind a comma, theirs were the whole file name.
        string file = value.Replace(",", ",,", StringComparison.Ordinal);
        return name switch
        {
            "--block" => "--disk=" + file,
            "--sharenet" => "--net=hub=" + file,
            _ => TunNet(value),
        };
    }

    // IP[:MAC] or bridge:NAME[:MAC]; the address of the card has colons itself.
    private static string TunNet(string value)
    {
        bool isBridge = value.StartsWith("bridge:", StringComparison.Ordinal);
        string[] parts = (isBridge ? value["bridge:".Length..] : value).Split(':', 2);
        string end = parts[0].Replace(",", ",,", StringComparison.Ordinal);
        string mac = parts.Length == 1 ? "" : ",mac=" + parts[1].Replace(",", ",,", StringComparison.Ordinal);
        return (isBridge ? "--net=tap,bridge=" : "--net=tap,address=") + end + mac;
    }
}
