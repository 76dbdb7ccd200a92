// The words of `lhype add MEMORY ID KERNEL [DISK [NETFILE]] [KERNEL-ARG...]`, the command line of 2006:
// positions decide, and what is no file but looks like a kernel argument ends them. Called by CommandLine.

using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;

namespace Lhype.Cli;

/// <summary>What the words of <c>lhype add</c> mean.</summary>
/// <param name="MemoryBytes">Guest memory.</param>
/// <param name="Id">The domain's number.</param>
/// <param name="Kernel">Kernel file or image name.</param>
/// <param name="Disk">Disk image; null without one.</param>
/// <param name="NetFile">File of the shared network; null without one.</param>
/// <param name="KernelArguments">The rest.</param>
internal sealed record AddWords(ulong MemoryBytes, ushort Id, string Kernel, string? Disk, string? NetFile,
    IReadOnlyList<string> KernelArguments)
{
    /// <summary>How to call it.</summary>
    public const string Usage = "lhype add MEMORY ID KERNEL [DISK [NETFILE]] [KERNEL-ARG...]";

    /// <summary>Kernel arguments without an equals sign that are taken as such without <c>--</c>
    /// (Documentation/admin-guide/kernel-parameters.rst).</summary>
    private static readonly string[] Flags =
    [
        "ro", "rw", "rootwait", "quiet", "debug", "ignore_loglevel", "single", "S", "s", "1", "2", "3", "4",
        "5", "emergency", "rescue", "nosmp", "noapic", "nolapic", "noacpi", "nokaslr", "nopti", "noinitrd",
        "nomodeset", "splash", "text", "fastboot", "forcefsck", "auto",
    ];

    /// <summary>Reads the words before any <c>--</c>; <paramref name="arguments"/> stood behind it. Throws
    /// <see cref="UsageException"/>.</summary>
    public static AddWords Parse(IReadOnlyList<string> words, IReadOnlyList<string> arguments)
    {
        if (words.Count < 3)
        {
            throw new UsageException(
                $"{(words.Count switch { 0 => "MEMORY", 1 => "ID", _ => "KERNEL" })} is missing: {Usage}.");
        }

        ulong memory = OptionValues.Size("MEMORY", words[0]);
        if (!ushort.TryParse(words[1], NumberStyles.None, CultureInfo.InvariantCulture, out ushort id))
        {
            throw new UsageException($"ID {OptionValues.Quote(words[1])} is not a number from 0 to 65535.");
        }

        int next = 3;
        string? disk = TakeFile(words, ref next, "disk");
        string? net = disk is null ? null : TakeFile(words, ref next, "netfile");
        List<string> rest = [];
        for (; next < words.Count; next++)
        {
            rest.Add(words[next]);
        }

        return new AddWords(memory, id, words[2], disk, net, [.. rest, .. arguments]);
    }

    /// <summary>The word at <paramref name="next"/> if it is a file, and moves on; null if it is a kernel
    /// argument or there is none.</summary>
    private static string? TakeFile(IReadOnlyList<string> words, ref int next, string role)
    {
        if (next >= words.Count)
        {
            return null;
        }

        string word = words[next];
        if (File.Exists(word))
        {
            next++;
            return word;
        }

        string making =
            role == "netfile" ? "make one with dd ('dd if=/dev/zero of=FILE bs=1024 count=4'), or " : "";
        return word.Contains('=') || Array.IndexOf(Flags, word) >= 0
            ? null
            : throw new UsageException($"There is no {role} {OptionValues.Quote(word)}; {making}"
                + "if it is an argument for the kernel, write -- before it.");
    }
}
