// Runs one of the host's own programs (apt-get, apt-cache, dpkg-deb) to its end and collects what it says.
// Used by PrivateApt and ImageStore.

using System;
using System.Collections.Generic;
using System.ComponentModel;
using System.Diagnostics;
using System.Text;
using Lhype.Host;

namespace Lhype.Images;

/// <summary>What a program said and how it ended.</summary>
/// <param name="Name">The program.</param>
/// <param name="ExitCode">Its exit status, 128 + number for a signal.</param>
/// <param name="Output">All of standard output.</param>
/// <param name="Error">All of standard error.</param>
internal sealed record HostProgramResult(string Name, int ExitCode, string Output, string Error)
{
    /// <summary>The most telling line of standard error: the first error by apt's or dpkg's marks, else the
    /// last.</summary>
    public string Reason
    {
        get
        {
            string last = $"{Name} ended with status {ExitCode}";
            foreach (string line in Error.Split('\n', StringSplitOptions.RemoveEmptyEntries))
            {
                int mark = line.IndexOf("error: ", StringComparison.Ordinal);
                if (line.StartsWith("E: ", StringComparison.Ordinal) || mark >= 0)
                {
                    return Sentence(mark >= 0 ? line[(mark + 7)..] : line[3..]);
                }

                last = line;
            }

            return Sentence(last);
        }
    }

    /// <summary>True when the host's disk is full.</summary>
    public bool DiskFull => Error.Contains("No space left", StringComparison.OrdinalIgnoreCase)
        || Error.Contains("enough free space", StringComparison.OrdinalIgnoreCase);

    private static string Sentence(string line) => line.Trim().TrimEnd('.', ':', ' ');
}

/// <summary>Starts programs found on PATH, without a shell and without standard input.</summary>
internal static class HostProgram
{
    /// <summary>Runs <paramref name="name"/> to its end; <paramref name="line"/> is called for each line of
    /// standard output as it comes. Throws <see cref="LhypeException"/> when there is no such
    /// program.</summary>
    public static HostProgramResult Run(
        string name, IEnumerable<string> arguments, string? directory = null, Action<string>? line = null)
    {
        ProcessStartInfo start = new(name, arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = directory ?? "",
        };

        // Messages are matched and shown as they are, so they must not depend on the user's language.
        start.Environment["LC_ALL"] = "C";
        StringBuilder output = new();
        StringBuilder error = new();
        using Process process = Start(start, name);
        process.StandardInput.Close();
        process.ErrorDataReceived += (_, received) => error.Append(received.Data).Append('\n');
        process.BeginErrorReadLine();
        while (process.StandardOutput.ReadLine() is string text)
        {
            output.Append(text).Append('\n');
            line?.Invoke(text);
        }

        process.WaitForExit();
        return new HostProgramResult(name, process.ExitCode, output.ToString(), error.ToString());
    }

    private static Process Start(ProcessStartInfo start, string name)
    {
        try
        {
            return Process.Start(start)!;
        }
        catch (Win32Exception error)
        {
            throw new LhypeException($"The program {name} cannot be started: {error.Message}.", error);
        }
    }
}
