// The user's terminal while a guest owns it: every key reaches the guest, nothing is echoed or translated.
// The old settings come back on Dispose, and from the signal callbacks of the command that made this object;
// a process that dies without either (SIGKILL) leaves a raw terminal, which `reset` cures.

using System;
using System.Threading;

namespace Lhype.Host;

/// <summary>Raw mode on a terminal, until disposed. Thread-safe.</summary>
public sealed unsafe class RawTerminal : IDisposable
{
    private readonly int _fd;
    private readonly Lock _gate = new();
    private Libc.termios_t _saved;
    private bool _raw;
    private bool _closed;

    private RawTerminal(int fd, in Libc.termios_t saved)
    {
        _fd = fd;
        _saved = saved;
    }

    /// <summary>True if the descriptor is a terminal.</summary>
    public static bool IsTerminal(int fd) => Libc.isatty(fd) != 0;

    /// <summary>Makes the terminal on <paramref name="fd"/> raw. Null if it is not a terminal, or belongs to
    /// another job (a background process may not touch it).</summary>
    public static RawTerminal? TryEnter(int fd)
    {
        Libc.termios_t saved;
        if (!IsTerminal(fd) || Libc.tcgetpgrp(fd) != Libc.getpgrp() || Libc.tcgetattr(fd, &saved) != 0)
        {
            return null;
        }

        RawTerminal terminal = new(fd, saved);
        terminal.Resume();
        return terminal;
    }

    /// <summary>Raw mode again, after <see cref="Suspend"/> or after the process was stopped and
    /// continued.</summary>
    public void Resume()
    {
        lock (_gate)
        {
            if (!_closed)
            {
                Libc.termios_t raw = _saved;
                Libc.cfmakeraw(&raw);
                _raw = Libc.tcsetattr(_fd, Libc.TCSADRAIN, &raw) == 0;
            }
        }
    }

    /// <summary>The user's settings, for a while.</summary>
    public void Suspend()
    {
        lock (_gate)
        {
            if (_raw)
            {
                Libc.termios_t saved = _saved;
                _ = Libc.tcsetattr(_fd, Libc.TCSADRAIN, &saved);
                _raw = false;
            }
        }
    }

    /// <summary>Columns and rows of the terminal on <paramref name="fd"/>; 80 by 24 if unknown.</summary>
    public static (int Columns, int Rows) WindowSize(int fd)
    {
        Libc.winsize_t size;
        return Libc.ioctl(fd, Libc.TIOCGWINSZ, &size) == 0 && size.ws_col != 0
            ? (size.ws_col, size.ws_row)
            : (80, 24);
    }

    /// <summary>Brings the user's settings back for good.</summary>
    public void Dispose()
    {
        Suspend();
        lock (_gate)
        {
            _closed = true;
        }
    }
}
