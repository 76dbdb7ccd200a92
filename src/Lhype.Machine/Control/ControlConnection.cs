// One client of a control socket, on a thread of its own: reads requests, carries them out and replies, until
// the client leaves, breaks the rules, or asks for the console; from then on bytes go both ways, with a
// second thread for what the guest prints. Whatever a client does or fails to do costs these two threads
// only.

using System;
using System.Net.Sockets;
using System.Text;
using System.Threading;

namespace Lhype.Machine.Control;

/// <summary>The server's end of one control connection.</summary>
internal sealed class ControlConnection
{
    private const int ReplyPatienceMs = 5_000;
    private const int StackBytes = 256 << 10;
    private const int GuestBusyMs = 10;
    private const int MaxCharacters = 10_000;

    private readonly LineSocket _socket;
    private readonly IControlTarget _target;
    private readonly Action<ControlConnection> _gone;
    private readonly Thread _thread;
    private ConsoleReader? _output;
    private volatile bool _closing;

    /// <summary>Serves <paramref name="socket"/> once started; <paramref name="gone"/> is called at its
    /// end.</summary>
    internal ControlConnection(Socket socket, IControlTarget target, Action<ControlConnection> gone)
    {
        _socket = new LineSocket(socket, ControlRequest.MaxBytes);
        _target = target;
        _gone = gone;
        _thread = NewThread(Run, "control client");
    }

    /// <summary>When the client last sent something, in <see cref="Environment.TickCount64"/>.</summary>
    internal long LastActive { get; private set; } = Environment.TickCount64;

    /// <summary>Begins to serve.</summary>
    internal void Start() => _thread.Start();

    /// <summary>From any thread: lets a viewer have what was printed so far, then ends the
    /// connection.</summary>
    internal void Finish()
    {
        _closing = true;
        if (Volatile.Read(ref _output) is { } output)
        {
            output.Finish();
        }
        else
        {
            _socket.Shutdown();
        }
    }

    /// <summary>From any thread: ends the connection at once.</summary>
    internal void Close()
    {
        _closing = true;
        Volatile.Read(ref _output)?.Finish();
        _socket.Shutdown();
    }

    /// <summary>Waits until the connection has ended; false if it has not after
    /// <paramref name="patience"/>.</summary>
    internal bool Join(TimeSpan patience) => _thread.Join(patience);

    private static Thread NewThread(Action body, string name) =>
        new(() => Guarded(body), StackBytes) { Name = name, IsBackground = true };

    // A connection that breaks is no event: there is nobody to tell.
    private static void Guarded(Action body)
    {
        try
        {
            body();
        }
        catch (Exception error) when (error is SocketException or ObjectDisposedException)
        {
        }
    }

    private void Run()
    {
        try
        {
            Guarded(Serve);
        }
        finally
        {
            _gone(this);
            _socket.Shutdown();
            _socket.Dispose();
        }
    }

    private void Serve()
    {
        _socket.SetTimeouts(0, ReplyPatienceMs);
        while (_socket.TryReadLine(out ReadOnlySpan<byte> line))
        {
            LastActive = Environment.TickCount64;
            if (ControlRequest.Parse(line, out string error) is not { } request)
            {
                Reply(Failed(error));
            }
            else if (request.Command == ControlCommand.Console)
            {
                if (_target.Console(request.Serial) is { } console)
                {
                    View(console);
                    return;
                }

                Reply(Failed(NoConsole(request.Serial)));
            }
            else
            {
                Reply(Execute(request));
            }
        }

        if (_socket.Overlong)
        {
            Reply(Failed($"a request is at most {ControlRequest.MaxBytes} bytes"));
        }
    }

    private ControlReply Execute(ControlRequest request)
    {
        switch (request.Command)
        {
            case ControlCommand.Info:
                return new ControlReply { Ok = true, Domain = _target.Describe() };
            case ControlCommand.Pause:
                return Result(_target.SetPaused(true));
            case ControlCommand.Resume:
                return Result(_target.SetPaused(false));
            case ControlCommand.PowerButton:
                ControlReply reply = Result(_target.PressPowerButton(out bool pressed));
                reply.Pressed = reply.Ok ? pressed : null;
                return reply;
            case ControlCommand.Kill:
                _target.Kill();
                return Result(null);
            case ControlCommand.Resize:
                return Resize(request);
            default:
                return Failed("there is no such command");
        }
    }

    private ControlReply Resize(ControlRequest request)
    {
        if (request.Columns is < 1 or > MaxCharacters || request.Rows is < 1 or > MaxCharacters)
        {
            return Failed($"columns and rows are 1 to {MaxCharacters}");
        }

        DomainConsole? console = _target.Console(request.Serial);
        console?.Resize(request.Columns, request.Rows);
        return Result(console is null ? NoConsole(request.Serial) : null);
    }

    private void View(DomainConsole console)
    {
        using ConsoleReader output = console.Log.OpenReader();
        Volatile.Write(ref _output, output);
        Reply(new ControlReply { Ok = true, ReplayBytes = output.ReplayBytes });
        if (_closing)
        {
            output.Finish();
        }

        // A viewer may stop reading for as long as it likes; it loses output then.
        _socket.SetTimeouts(0, 0);
        Thread writer = NewThread(() => Show(output), "console view");
        writer.Start();
        try
        {
            for (ReadOnlySpan<byte> bytes = _socket.Read(); !bytes.IsEmpty; bytes = _socket.Read())
            {
                LastActive = Environment.TickCount64;
                Type(console, bytes);
            }
        }
        finally
        {
            output.Finish();
            _socket.Shutdown();
            writer.Join();
        }
    }

    // Until the guest's console ends or the connection breaks.
    private void Show(ConsoleReader output)
    {
        byte[] buffer = new byte[8 << 10];
        for (int count; (count = output.Read(buffer, out long lost)) > 0;)
        {
            if (lost != 0)
            {
                string notice = $"\r\n[lhype: {lost} bytes not shown]\r\n";
                _socket.Send(Encoding.ASCII.GetBytes(notice));
            }

            _socket.Send(buffer.AsSpan(0, count));
        }

        _socket.Shutdown();
    }

    // The guest takes keys at its own pace; this client waits meanwhile, and nobody else.
    private void Type(DomainConsole console, ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty && !_closing)
        {
            int taken = console.Type(bytes);
            bytes = bytes[taken..];
            if (taken == 0)
            {
                Thread.Sleep(GuestBusyMs);
            }
        }
    }

    private void Reply(ControlReply reply) => _socket.Send(reply.ToLine());

    private static ControlReply Result(string? error) => error is null ? new() { Ok = true } : Failed(error);

    private static ControlReply Failed(string error) => new() { Error = error };

    private static string NoConsole(bool serial) => serial
        ? "its serial port is connected to nothing"
        : "its console is connected to nothing";
}
