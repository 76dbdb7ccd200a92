// Everything the tool itself says while a guest runs goes to standard error through here: standard output
// belongs to the guest. On a raw terminal a new line needs a carriage return.

using System;
using System.IO;
using Lhype.Host;

namespace Lhype.Terminal;

/// <summary>The tool's own voice. Thread-safe.</summary>
internal sealed class Messages
{
    private readonly TextWriter _error = StandardStreams.Error;
    private readonly bool _onTerminal = RawTerminal.IsTerminal(2);
    private volatile bool _raw;

    /// <summary>True while the terminal is in raw mode.</summary>
    internal bool Raw
    {
        get => _raw;
        set => _raw = value;
    }

    /// <summary>Prints lines as they are, a new line at the end.</summary>
    internal void Lines(string text) => Write(text + "\n");

    /// <summary>Prints one line that begins with the tool's name.</summary>
    internal void Say(string text) => Lines("lhype: " + text);

    /// <summary>Prints text with no new line at the end.</summary>
    internal void Write(string text)
    {
        try
        {
            string ready = text.Replace("\r\n", "\n", StringComparison.Ordinal);
            _error.Write(_raw && _onTerminal ? ready.Replace("\n", "\r\n", StringComparison.Ordinal) : ready);
            _error.Flush();
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // Standard error is gone, or was closed from the start; there is nobody to tell.
        }
    }
}
