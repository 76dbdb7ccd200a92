// The small monitor behind Ctrl-A c: look at the guest, pause it, end it. It reads keys itself, because the
// terminal is raw; the guest's output goes on meanwhile, unless it is paused.

using System;
using System.Collections.Generic;

namespace Lhype.Terminal;

/// <summary>What the monitor can do to the running machine.</summary>
internal interface IMonitorTarget
{
    /// <summary>Prints what is known about the guest.</summary>
    void ShowInfo();

    /// <summary>Stops the guest where it is, or lets it go on.</summary>
    void SetPaused(bool paused);

    /// <summary>Ends the guest.</summary>
    void Stop();
}

/// <summary>Reads and runs monitor commands while it is open.</summary>
internal sealed class Monitor
{
    private const string Prompt = "(lhype) ";

    private readonly Messages _messages;
    private readonly IMonitorTarget _target;
    private readonly LineEditor _editor = new();

    internal Monitor(Messages messages, IMonitorTarget target)
    {
        _messages = messages;
        _target = target;
    }

    /// <summary>True while keys belong to the monitor.</summary>
    internal bool IsOpen { get; private set; }

    /// <summary>Opens the monitor and shows its prompt.</summary>
    internal void Open()
    {
        IsOpen = true;
        _messages.Write("\nMonitor: info, pause, resume, stop, quit (back to the guest).\n" + Prompt);
    }

    /// <summary>Closes the monitor; keys go to the guest again.</summary>
    internal void Close()
    {
        if (IsOpen)
        {
            IsOpen = false;
            _messages.Lines("Back to the guest.");
        }
    }

    /// <summary>Takes typed keys until they are used up or the monitor closes; the rest stays.</summary>
    internal void Take(List<byte> keys)
    {
        int used = 0;
        while (IsOpen && used < keys.Count)
        {
            bool complete = _editor.Take(keys[used++], out string echo, out string? line);
            if (echo.Length != 0)
            {
                _messages.Write(echo);
            }

            if (complete)
            {
                Execute(line ?? "quit");
            }
        }

        keys.RemoveRange(0, used);
    }

    private void Execute(string command)
    {
        switch (command.ToLowerInvariant())
        {
            case "":
                break;
            case "info" or "i":
                _target.ShowInfo();
                break;
            case "pause" or "p":
                _target.SetPaused(true);
                _messages.Lines("Paused; the guest's clocks run on.");
                break;
            case "resume" or "r":
                _target.SetPaused(false);
                _messages.Lines("Running.");
                break;
            case "stop":
                _target.Stop();
                IsOpen = false;
                return;
            case "quit" or "q":
                Close();
                return;
            default:
                _messages.Lines($"Unknown command \"{command}\": info, pause, resume, stop, quit.");
                break;
        }

        _messages.Write(Prompt);
    }
}
