// Entry point of the lhype binary: parses the command line and runs one command.

using System;

namespace Lhype;

internal static class Program
{
    private static int Main(string[] args)
    {
        Console.Error.WriteLine("lhype: not wired yet");
        return 1;
    }
}
