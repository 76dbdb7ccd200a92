// How the guest tests find and start the published binary: they know Lhype only as a user does, by its
// command line.

using System;
using System.IO;

namespace Lhype.GuestTests;

/// <summary>Where the binary under test is.</summary>
internal static class GuestProgram
{
    /// <summary>Path of the binary: LHYPE_BINARY (set by ./do), or ./lhype of this source tree.</summary>
    public static string Path { get; } = Find();

    /// <summary>The directory of the source tree.</summary>
    public static string SourceTree { get; } = FindSourceTree();

    private static string Find()
    {
        string? given = Environment.GetEnvironmentVariable("LHYPE_BINARY");
        return string.IsNullOrEmpty(given) ? System.IO.Path.Combine(FindSourceTree(), "lhype") : given;
    }

    private static string FindSourceTree()
    {
        DirectoryInfo? directory = new(AppContext.BaseDirectory);
        while (directory is not null
            && !File.Exists(System.IO.Path.Combine(directory.FullName, "Lhype.slnx")))
        {
            directory = directory.Parent;
        }

        return directory!.FullName;
    }
}
