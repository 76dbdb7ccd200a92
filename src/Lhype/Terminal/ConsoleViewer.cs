// `lhype console`: this terminal as a view of a running guest's console. What the guest prints comes over the
// domain's control socket, keys go back the same way; Ctrl-A d detaches. Several viewers and the terminal of
// `lhype run` itself all see the same. Called by the command line.

using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using Lhype.Host;
using Lhype.Machine.Control;

namespace Lhype.Terminal;

/// <summary>One attachment, from attach to detach.</summary>
internal sealed class ConsoleViewer : IDisposable
{
    private const int Stdin = 0, Stdout = 1;

    private readonly DomainDirectory _directory;
    private readonly DomainState _domain;
    private readonly bool _serial;
    private readonly Messages _messages = new();
    private readonly EscapeKeys _keys = new(viewer: true);
    private readonly List<byte> _guestKeys = [];
    private readonly TerminalQueries _queries = new();
    private readonly List<PosixSignalRegistration> _signals = [];
    private readonly DomainClient _client;
    private readonly OutputPump _output;
    private int _replayLeft;
    private RawTerminal? _terminal;
    private InputPump? _input;
    private volatile bool _left;

    /// <summary>Attaches to the console of <paramref name="domain"/>, or to its serial port. Throws
    /// LhypeException.</summary>
    internal ConsoleViewer(DomainDirectory directory, DomainState domain, bool serial)
    {
        _directory = directory;
        _domain = domain;
        _serial = serial;
        _client = directory.Connect(domain);
        try
        {
            _replayLeft = _client.AttachConsole(serial);
        }
        catch
        {
            _client.Dispose();
            throw;
        }

        _output = new OutputPump(Stdout, failed: _ => Leave());
    }

    /// <summary>Shows the console until the user detaches or the guest ends. Returns the exit
    /// status.</summary>
    internal int Run()
    {
        CatchSignals();
        if (InputPump.WasInherited(Stdin))
        {
            _terminal = RawTerminal.TryEnter(Stdin);
            _messages.Raw = _terminal != null;
            _input = new InputPump(Stdin, Receive);
        }

        if (_terminal is not null)
        {
            _messages.Say($"attached to {_domain.Name}; Ctrl-A d detaches, Ctrl-A h lists keys");
        }

        TellSize();
        for (ReadOnlySpan<byte> bytes = _client.ReadConsole(); !bytes.IsEmpty; bytes = _client.ReadConsole())
        {
            Show(bytes);
        }

        _output.Dispose();
        if (_terminal is not null)
        {
            _messages.Lines("");
        }

        Dispose();
        return Explain();
    }

    /// <summary>Gives the terminal back.</summary>
    public void Dispose()
    {
        _input?.Dispose();
        foreach (PosixSignalRegistration signal in _signals)
        {
            signal.Dispose();
        }

        _output.Dispose();
        _terminal?.Dispose();
        _messages.Raw = false;
        _client.Dispose();
    }

    // The connection is at its end: by our wish, or because the domain is.
    private int Explain()
    {
        if (_left)
        {
            if (_terminal is not null)
            {
                _messages.Say($"detached from {_domain.Name}");
            }

            return 0;
        }

        if (_directory.StillRuns(_domain))
        {
            throw new LhypeException($"{_domain.Name} closed the connection, but runs on; attach again.");
        }

        _messages.Say($"{_domain.Name} has ended");
        return 0;
    }

    private void Show(ReadOnlySpan<byte> bytes)
    {
        if (_replayLeft > 0)
        {
            ReadOnlySpan<byte> replay = bytes[..Math.Min(_replayLeft, bytes.Length)];
            _replayLeft -= replay.Length;
            bytes = bytes[replay.Length..];
            _output.Write(RawTerminal.IsTerminal(Stdout) ? Harmless(replay) : replay);
        }

        _output.Write(bytes);
    }

    private byte[] Harmless(ReadOnlySpan<byte> replay)
    {
        List<byte> harmless = [];
        _queries.Filter(replay, harmless);
        if (_replayLeft == 0)
        {
            _queries.Flush(harmless);
        }

        return [.. harmless];
    }

    private void Receive(ReadOnlySpan<byte> bytes)
    {
        if (_terminal is null)
        {
            // From a pipe nothing may be lost: wait until the guest takes it.
            _ = _client.Type(bytes);
            return;
        }

        while (!bytes.IsEmpty)
        {
            EscapeCommand command = _keys.Take(ref bytes, _guestKeys);
            _client.TypeIfRoom([.. _guestKeys]);
            _guestKeys.Clear();
            if (command == EscapeCommand.Quit)
            {
                Leave();
            }
            else if (command == EscapeCommand.Help)
            {
                _messages.Lines("\n" + string.Join("\n", EscapeKeys.ViewerHelp));
            }
        }
    }

    // From any thread.
    private void Leave()
    {
        _left = true;
        _client.Leave();
        _output.Abandon();
    }

    // On a connection of its own, because this one carries nothing but the console's bytes.
    private void TellSize()
    {
        if (!RawTerminal.IsTerminal(Stdout))
        {
            return;
        }

        (int columns, int rows) = RawTerminal.WindowSize(Stdout);
        try
        {
            using DomainClient client = _directory.Connect(_domain);
            _ = client.Ask(new ControlRequest
            {
                Command = ControlCommand.Resize,
                Serial = _serial,
                Columns = columns,
                Rows = rows,
            });
        }
        catch (LhypeException)
        {
            // The domain is about to end.
        }
    }

    private void CatchSignals()
    {
        PosixSignal[] ending =
            [PosixSignal.SIGHUP, PosixSignal.SIGINT, PosixSignal.SIGQUIT, PosixSignal.SIGTERM];
        foreach (PosixSignal signal in ending)
        {
            _signals.Add(PosixSignalRegistration.Create(signal, context =>
            {
                context.Cancel = true;
                Leave();
            }));
        }

        if (OperatingSystem.IsLinux())
        {
            _signals.Add(PosixSignalRegistration.Create(PosixSignal.SIGCONT, _ => _terminal?.Resume()));
            _signals.Add(PosixSignalRegistration.Create(PosixSignal.SIGWINCH, _ => TellSize()));
        }
    }
}
