// Takes out of replayed console output what makes a terminal answer: a shell in the guest asked where the
// cursor is when that was printed; asked again now, the terminal would type its answer into whatever runs
// there. Used by ConsoleViewer for the scroll-back only; live output is shown as it is.

using System;
using System.Collections.Generic;

namespace Lhype.Terminal;

/// <summary>A filter for terminal output, with state between calls.</summary>
internal sealed class TerminalQueries
{
    private const byte Enquiry = 0x05, Escape = 0x1B;
    private const int MaxSequence = 64;

    private readonly List<byte> _sequence = [];

    /// <summary>Appends to <paramref name="output"/> what of <paramref name="input"/> asks nothing.</summary>
    internal void Filter(ReadOnlySpan<byte> input, List<byte> output)
    {
        foreach (byte value in input)
        {
            if (_sequence.Count == 0 && value != Escape)
            {
                if (value != Enquiry)
                {
                    output.Add(value);
                }

                continue;
            }

            _sequence.Add(value);
            if (IsComplete())
            {
                if (!Asks())
                {
                    output.AddRange(_sequence);
                }

                _sequence.Clear();
            }
        }
    }

    /// <summary>Appends a sequence that was begun and not ended.</summary>
    internal void Flush(List<byte> output)
    {
        output.AddRange(_sequence);
        _sequence.Clear();
    }

    // ECMA-48: ESC and one byte, or ESC [ parameters (0x20-0x3F) and a final byte.
    private bool IsComplete() =>
        (_sequence.Count == 2 && _sequence[1] != (byte)'[')
        || (_sequence.Count > 2 && _sequence[^1] is < 0x20 or > 0x3F)
        || _sequence.Count == MaxSequence;

    // ESC Z and CSI c: what are you; CSI n: status or cursor position; CSI x: parameters; CSI t: the window;
    // CSI $ p: a mode.
    private bool Asks()
    {
        byte last = _sequence[^1];
        return _sequence[1] == (byte)'['
            ? last is (byte)'c' or (byte)'n' or (byte)'x' or (byte)'t'
                || (last == (byte)'p' && _sequence[^2] == (byte)'$')
            : last == (byte)'Z';
    }
}
