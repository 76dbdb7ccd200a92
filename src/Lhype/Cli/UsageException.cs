// Wrong use of the command line, apart from errors of the host or of files: thrown while options are read,
// caught once in Program, which ends with exit status 2.

using System;

namespace Lhype.Cli;

/// <summary>A command line that asks for something there is not. The message is one sentence.</summary>
internal sealed class UsageException : Exception
{
    /// <summary>Makes the error; <paramref name="message"/> is shown as it is.</summary>
    public UsageException(string message) : base(message)
    {
    }
}
