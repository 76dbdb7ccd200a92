// Entry point of the lhype binary. Errors end here, and only here: one sentence on standard error and the exit status
// the documentation promises.

using System;
using Lhype.Cli;
using Lhype.Host;
using Lhype.Images;

namespace Lhype;

internal static class Program
{
    private const int UserErrorStatus = 1;
    private const int UsageStatus = 2;

    private static int Main(string[] args)
    {
        try
        {
            return new CommandLine(Console.Out, RunCommand.Run, new ImageStore(ImageStore.DefaultRoot)).Invoke(args);
        }
        catch (UsageException error)
        {
            Console.Error.WriteLine($"lhype: {error.Message}");
            return UsageStatus;
        }
        catch (LhypeException error)
        {
            Console.Error.WriteLine($"lhype: {error.Message}");
            return UserErrorStatus;
        }
    }
}
