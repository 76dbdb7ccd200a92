// The one exception type for user and host errors: its message is one sentence for a human that says what
// failed, which file or option was involved and what to do. Thrown anywhere during set-up, caught once in
// Program.

using System;

namespace Lhype.Host;

/// <summary>A host or user error, told in one sentence. Ends the command with exit status 1.</summary>
public sealed class LhypeException : Exception
{
    /// <summary>Makes the error. <paramref name="message"/> is shown to the user as it is.</summary>
    public LhypeException(string message) : base(message)
    {
    }

    /// <summary>As above, keeping the exception that caused it for <c>-v</c> output.</summary>
    public LhypeException(string message, Exception inner) : base(message, inner)
    {
    }
}

/// <summary>Always-on checks for our own bugs: a violated invariant ends the process with what was
/// known.</summary>
public static class Invariant
{
    /// <summary>Ends the process with <paramref name="message"/> unless <paramref name="condition"/>
    /// holds.</summary>
    public static void Check(bool condition, string message)
    {
        if (!condition)
        {
            Fail(message);
        }
    }

    /// <summary>Ends the process: reaching this point is a bug in Lhype.</summary>
    [System.Diagnostics.CodeAnalysis.DoesNotReturn]
    public static void Fail(string message) => Environment.FailFast("lhype: internal error: " + message);
}
