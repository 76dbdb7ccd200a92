// Finds the tool's own keys in what the user types: Ctrl-A followed by a letter. Everything else is the
// guest's. Used where a guest runs (ConsoleSession) and where one is only looked at (ConsoleViewer).

using System;
using System.Collections.Generic;

namespace Lhype.Terminal;

/// <summary>What the user asked the tool itself for.</summary>
internal enum EscapeCommand
{
    None,
    Quit,
    Help,
    Monitor,
}

/// <summary>Splits terminal input into guest bytes and commands. Keeps a half-typed sequence between
/// calls.</summary>
internal sealed class EscapeKeys
{
    /// <summary>The key that begins a sequence: Ctrl-A.</summary>
    internal const byte Escape = 1;

    private readonly bool _viewer;
    private bool _escaped;

    /// <summary>Keys of the terminal a guest runs on or, if <paramref name="viewer"/>, of one attached to
    /// it.</summary>
    internal EscapeKeys(bool viewer = false) => _viewer = viewer;

    /// <summary>Text for Ctrl-A h of a viewer.</summary>
    internal static IReadOnlyList<string> ViewerHelp { get; } =
    [
        "Ctrl-A d       detach (Ctrl-A x too): the guest runs on",
        "Ctrl-A h       this list",
        "Ctrl-A Ctrl-A  send Ctrl-A to the guest",
    ];

    /// <summary>Text for Ctrl-A h, one key a line.</summary>
    internal static IReadOnlyList<string> Help { get; } =
    [
        "Ctrl-A x       leave: end the guest at once",
        "Ctrl-A c       monitor: info, pause, resume, stop, quit",
        "Ctrl-A h       this list",
        "Ctrl-A Ctrl-A  send Ctrl-A to the guest",
    ];

    /// <summary>Takes bytes from the front of <paramref name="input"/> up to and including the next command,
    /// appends those for the guest to <paramref name="guest"/>, and returns the command, or None when all is
    /// taken.</summary>
    internal EscapeCommand Take(ref ReadOnlySpan<byte> input, List<byte> guest)
    {
        while (!input.IsEmpty)
        {
            byte key = input[0];
            input = input[1..];
            if (!_escaped)
            {
                if (key == Escape)
                {
                    _escaped = true;
                }
                else
                {
                    guest.Add(key);
                }

                continue;
            }

            _escaped = false;
            switch (key)
            {
                case (byte)'x' or (byte)'X' or (byte)'x' - 0x60:
                case (byte)'d' or (byte)'D' or (byte)'d' - 0x60 when _viewer:
                    return EscapeCommand.Quit;
                case (byte)'c' or (byte)'C' when !_viewer:
                    return EscapeCommand.Monitor;
                case (byte)'h' or (byte)'H' or (byte)'?':
                    return EscapeCommand.Help;
                case Escape or (byte)'a':
                    guest.Add(Escape);
                    break;
                default:
                    // Not ours: the guest gets both keys, as if there were no escape.
                    guest.Add(Escape);
                    guest.Add(key);
                    break;
            }
        }

        return EscapeCommand.None;
    }
}
