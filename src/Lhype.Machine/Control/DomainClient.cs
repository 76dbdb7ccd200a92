// The commands' end of a control connection: sends a request, waits for the reply, and for the console hands
// over to raw bytes. Made by DomainDirectory.Connect.

using System;
using System.Net.Sockets;
using Lhype.Host;

namespace Lhype.Machine.Control;

/// <summary>A connection to a running domain. One thread asks and reads, another may type.</summary>
public sealed class DomainClient : IDisposable
{
    private readonly LineSocket _socket;
    private readonly int _patienceMs;

    internal DomainClient(Socket socket, string name, TimeSpan patience)
    {
        _socket = new LineSocket(socket, ControlReply.MaxBytes);
        _patienceMs = (int)patience.TotalMilliseconds;
        Name = name;
    }

    /// <summary>The domain's name.</summary>
    public string Name { get; }

    /// <summary>Asks for <paramref name="request"/> to be carried out. Throws LhypeException if that is
    /// refused or the domain does not answer.</summary>
    public ControlReply Ask(ControlRequest request)
    {
        try
        {
            _socket.SetTimeouts(_patienceMs, _patienceMs);
            _socket.Send(request.ToLine());
            ControlReply reply = _socket.TryReadLine(out ReadOnlySpan<byte> line)
                ? ControlReply.Parse(line)
                    ?? throw new LhypeException($"{Name} answers in another language than this lhype's.")
                : throw new LhypeException($"{Name} ended before it answered.");
            return reply.Ok ? reply : throw new LhypeException($"{Name}: {reply.Error}.");
        }
        catch (SocketException error)
        {
            throw new LhypeException($"{Name} does not answer: {error.Message}.", error);
        }
    }

    /// <summary>Waits up to <paramref name="patience"/> for the domain to end; false if it has not.</summary>
    public bool WaitForEnd(TimeSpan patience)
    {
        try
        {
            _socket.SetTimeouts(Math.Max(1, (int)patience.TotalMilliseconds), _patienceMs);
            return !_socket.TryReadLine(out _);
        }
        catch (SocketException error)
        {
            return error.SocketErrorCode is not (SocketError.TimedOut or SocketError.WouldBlock);
        }
    }

    /// <summary>Makes this connection a view of the console, or of the serial port. Returns how many of the
    /// first bytes are scroll-back. Throws LhypeException.</summary>
    public int AttachConsole(bool serial)
    {
        int replay = Ask(new ControlRequest { Command = ControlCommand.Console, Serial = serial })
            .ReplayBytes ?? 0;
        _socket.SetTimeouts(0, 0);
        return replay;
    }

    /// <summary>After <see cref="AttachConsole"/>: waits for what the guest prints; empty at the
    /// end.</summary>
    public ReadOnlySpan<byte> ReadConsole()
    {
        try
        {
            return _socket.Read();
        }
        catch (Exception error) when (error is SocketException or ObjectDisposedException)
        {
            return [];
        }
    }

    /// <summary>After <see cref="AttachConsole"/>: types, waiting until the guest takes it; false if the
    /// connection has ended.</summary>
    public bool Type(ReadOnlySpan<byte> bytes)
    {
        try
        {
            _socket.Send(bytes);
            return true;
        }
        catch (Exception error) when (error is SocketException or ObjectDisposedException)
        {
            return false;
        }
    }

    /// <summary>As <see cref="Type"/>, but what finds no room is dropped, as behind a full keyboard
    /// buffer.</summary>
    public void TypeIfRoom(ReadOnlySpan<byte> bytes)
    {
        try
        {
            _ = _socket.TrySend(bytes);
        }
        catch (Exception error) when (error is SocketException or ObjectDisposedException)
        {
            // ReadConsole will see the end.
        }
    }

    /// <summary>From any thread: ends the connection and every wait in it.</summary>
    public void Leave() => _socket.Shutdown();

    /// <inheritdoc/>
    public void Dispose() => _socket.Dispose();
}
