// Entry point of the lhype binary. Errors end here, and only here: one sentence on standard error and the
// exit status the documentation promises.

using System;
using System.IO;
using Lhype.Cli;
using Lhype.Host;
using Lhype.Images;
using Lhype.Terminal;

namespace Lhype;

internal static class Program
{
    private const int UserErrorStatus = 1;
    private const int UsageStatus = 2;

    private static int Main(string[] args)
    {
        try
        {
            ImageStore images = new(ImageStore.DefaultRoot);
            string calledAs = Path.GetFileName(Environment.GetCommandLineArgs()[0]);
            string[] words = calledAs == "lhype_add" ? ["add", .. args] : args;
            return new CommandLine(StandardStreams.Output, RunCommand.Run, images).Invoke(words);
        }
        catch (UsageException error)
        {
            StandardStreams.Error.WriteLine($"lhype: {error.Message}");
            return UsageStatus;
        }
        catch (LhypeException error)
        {
            StandardStreams.Error.WriteLine($"lhype: {error.Message}");
            return UserErrorStatus;
        }
    }
}
