// One console of a domain as viewers see it: what it printed so far, and whoever takes keys now. The guest's
// end (GuestConsole) is made anew each time the guest is reset; this stays.

using System;
using System.Threading;

namespace Lhype.Machine.Control;

/// <summary>A console that viewers can attach to.</summary>
public sealed class DomainConsole
{
    private readonly Lock _gate = new();
    private GuestConsole? _guest;
    private (int Columns, int Rows)? _size;

    /// <summary>What the guest printed.</summary>
    public ConsoleLog Log { get; } = new();

    /// <summary>Connects the guest's end, which is told the size of the terminal if somebody gave
    /// one.</summary>
    public void Connect(GuestConsole guest)
    {
        lock (_gate)
        {
            _guest = guest;
            if (_size is { } size)
            {
                guest.Resize(size.Columns, size.Rows);
            }
        }
    }

    /// <summary>From any thread: types <paramref name="bytes"/>. Returns how many fit.</summary>
    public int Type(ReadOnlySpan<byte> bytes)
    {
        lock (_gate)
        {
            return _guest?.Type(bytes) ?? 0;
        }
    }

    /// <summary>From any thread: the terminal that shows this console has a new size. With several the last
    /// word counts.</summary>
    public void Resize(int columns, int rows)
    {
        lock (_gate)
        {
            _size = (columns, rows);
            _guest?.Resize(columns, rows);
        }
    }
}
