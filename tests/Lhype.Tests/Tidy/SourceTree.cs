// The repository as the tidy tests see it: files git knows, read once, and code without comments and strings.

using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Text.RegularExpressions;

namespace Lhype.Tests.Tidy;

internal static partial class SourceTree
{
    /// <summary>The directory with the solution file.</summary>
    public static string Root { get; } = FindRoot();

    /// <summary>Paths of all files in the work tree that git tracks or would add, relative to the
    /// root.</summary>
    public static IReadOnlyList<string> Files { get; } = ListFiles();

    /// <summary>C# files written by hand below <paramref name="folder"/>.</summary>
    public static IEnumerable<string> CSharp(params string[] folders) => Files.Where(file =>
        file.EndsWith(".cs", StringComparison.Ordinal) && !file.EndsWith(".g.cs", StringComparison.Ordinal)
        && (folders.Length == 0
            || folders.Any(folder => file.StartsWith(folder + "/", StringComparison.Ordinal))));

    /// <summary>The text of a file.</summary>
    public static string Text(string file) => File.ReadAllText(Path.Combine(Root, file));

    /// <summary>The lines of a file.</summary>
    public static string[] Lines(string file) => Text(file).TrimEnd('\n').Split('\n');

    /// <summary>A C# file with comments, strings and characters blanked, so that words in them do not
    /// count.</summary>
    public static string Code(string file) => CommentsAndStrings().Replace(Text(file), match =>
        match.Value[0] == '/' ? " " : "\"\"");

    private static string FindRoot()
    {
        DirectoryInfo? directory = new(AppContext.BaseDirectory);
        while (directory is not null && !File.Exists(Path.Combine(directory.FullName, "Lhype.slnx")))
        {
            directory = directory.Parent;
        }

        return directory!.FullName;
    }

    /// <summary>Asks git; without git (a source archive) lists everything but build results.</summary>
    private static List<string> ListFiles()
    {
        ProcessStartInfo start = new("git", ["ls-files", "--cached", "--others", "--exclude-standard"])
        {
            WorkingDirectory = Root,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        using Process? git = Process.Start(start);
        string output = git!.StandardOutput.ReadToEnd();
        git.WaitForExit();
        IEnumerable<string> files = git.ExitCode == 0
            ? output.Split('\n', StringSplitOptions.RemoveEmptyEntries)
            : Directory.EnumerateFiles(Root, "*", SearchOption.AllDirectories)
                .Select(file => Path.GetRelativePath(Root, file)).Where(file => !BuildResult().IsMatch(file));
        return [.. files.Where(file =>
            File.Exists(Path.Combine(Root, file))).Distinct().Order(StringComparer.Ordinal)];
    }

    [GeneratedRegex("(^|/)(bin|obj|out|TestResults|\\.git)/")]
    private static partial Regex BuildResult();

    [GeneratedRegex("""
        //[^\n]*|/\*.*?\*/|"{3,}.*?"{3,}|@"(?:[^"]|"")*"|"(?:\\.|[^"\\\n])*"|'(?:\\.[^']*|[^'\\\n])'
        """, RegexOptions.Singleline | RegexOptions.IgnorePatternWhitespace)]
    private static partial Regex CommentsAndStrings();
}
