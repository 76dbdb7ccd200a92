// Joins the guest's console to the tool's standard streams while a machine runs: bytes out unchanged, keys
// in, the terminal raw, Ctrl-A for the tool. Made by RunCommand before the machine, because the machine
// prints into it.

using System;
using System.Collections.Generic;
using System.IO;
using System.Threading;
using Lhype.Host;
using Lhype.Machine;
using Lhype.Machine.Control;
using Microsoft.Win32.SafeHandles;

namespace Lhype.Terminal;

/// <summary>The streams of one run. Dispose restores the terminal.</summary>
internal sealed class ConsoleSession : IDisposable
{
    private const int Stdin = 0, Stdout = 1, Stderr = 2;

    private readonly Messages _messages;
    private readonly DomainConsole? _viewers;
    private readonly EscapeKeys _keys = new();
    private readonly List<byte> _guestKeys = [];
    private readonly OutputPump? _output;
    private readonly SafeFileHandle? _file;
    private RawTerminal? _terminal;
    private InputPump? _input;
    private Monitor? _monitor;
    private Action? _quit;
    private volatile bool _closing;

    /// <summary>Opens the output that <paramref name="target"/> names: <c>stdio</c>, <c>socket</c>,
    /// <c>none</c> or a file. <paramref name="viewers"/> see the same, if it is connected to anything.
    /// <paramref name="outputFailed"/> hears, on another thread, that the output can no longer be
    /// written.</summary>
    internal ConsoleSession(
        string target, DomainConsole? viewers, Messages messages, Action<string> outputFailed)
    {
        _messages = messages;
        _viewers = viewers;
        UsesTerminal = target == MachineConfig.Stdio;
        if (UsesTerminal && InputPump.WasInherited(Stdout))
        {
            _output = new OutputPump(Stdout, failed: error => outputFailed($"standard output: {error}"));
        }
        else if (!UsesTerminal && target is not (MachineConfig.Socket or MachineConfig.NotConnected))
        {
            _file = OpenFile(target);
            int fd = (int)_file.DangerousGetHandle();
            _output = new OutputPump(fd, failed: error => outputFailed($"{target}: {error}"));
        }

        Console = new GuestConsole(bytes =>
        {
            _viewers?.Log.Append(bytes);
            _output?.Write(bytes);
        });
    }

    /// <summary>The guest's console.</summary>
    internal GuestConsole Console { get; }

    /// <summary>True if the console is on the tool's own standard streams.</summary>
    internal bool UsesTerminal { get; }

    /// <summary>True if what the guest prints and what the tool says end up on one screen.</summary>
    internal bool SharesTerminal =>
        UsesTerminal && RawTerminal.IsTerminal(Stdout) && RawTerminal.IsTerminal(Stderr);

    /// <summary>True if keys reach the guest raw, and Ctrl-A the tool.</summary>
    internal bool Interactive => _terminal != null;

    /// <summary>Starts reading keys, now that there is a machine to type to. <paramref name="quit"/> is
    /// Ctrl-A x.</summary>
    internal void Start(IMonitorTarget target, Action quit)
    {
        _viewers?.Connect(Console);
        WindowChanged();
        _quit = quit;
        _monitor = new Monitor(_messages, target);
        if (UsesTerminal && InputPump.WasInherited(Stdin))
        {
            _terminal = RawTerminal.TryEnter(Stdin);
            _messages.Raw = _terminal != null;
            _input = new InputPump(Stdin, Receive);
        }
    }

    /// <summary>Raw mode again, after the process was stopped and continued.</summary>
    internal void Continued() => _terminal?.Resume();

    /// <summary>Tells the guest how large the terminal is.</summary>
    internal void WindowChanged()
    {
        if (UsesTerminal && RawTerminal.IsTerminal(Stdout))
        {
            (int columns, int rows) = RawTerminal.WindowSize(Stdout);
            _viewers?.Resize(columns, rows);
        }
    }

    /// <summary>Lets go of output nobody reads, so that the machine can end.</summary>
    internal void Abandon()
    {
        _closing = true;
        _output?.Abandon();
    }

    /// <summary>Writes out what the guest printed, stops reading, gives the terminal back.</summary>
    public void Dispose()
    {
        _closing = true;
        _input?.Dispose();
        _output?.Dispose();
        _terminal?.Dispose();
        _messages.Raw = false;
        _file?.Dispose();
    }

    private static SafeFileHandle OpenFile(string path)
    {
        try
        {
            return File.OpenHandle(path, FileMode.Create, FileAccess.Write, FileShare.Read);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new LhypeException($"Cannot write the console to {path}: {error.Message}", error);
        }
    }

    private void Receive(ReadOnlySpan<byte> bytes)
    {
        if (_terminal is null)
        {
            TypeAll(bytes);
            return;
        }

        while (!bytes.IsEmpty)
        {
            EscapeCommand command = _keys.Take(ref bytes, _guestKeys);
            if (_monitor!.IsOpen)
            {
                _monitor.Take(_guestKeys);
            }

            // A guest that takes no input loses keys, as behind a full keyboard buffer; Ctrl-A must go on
            // working.
            Console.Type(_guestKeys.ToArray());
            _guestKeys.Clear();
            Act(command);
        }
    }

    private void Act(EscapeCommand command)
    {
        switch (command)
        {
            case EscapeCommand.Quit:
                _quit!();
                break;
            case EscapeCommand.Help:
                _messages.Lines("\n" + string.Join("\n", EscapeKeys.Help));
                break;
            case EscapeCommand.Monitor when _monitor!.IsOpen:
                _monitor.Close();
                break;
            case EscapeCommand.Monitor:
                _monitor!.Open();
                break;
            default:
                break;
        }
    }

    // From a pipe or a file nothing may be lost: wait until the guest has taken what is there.
    private void TypeAll(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty && !_closing)
        {
            int taken = Console.Type(bytes);
            bytes = bytes[taken..];
            if (taken == 0)
            {
                Thread.Sleep(10);
            }
        }
    }
}
