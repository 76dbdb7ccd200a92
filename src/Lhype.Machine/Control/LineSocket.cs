// A stream socket as both ends of a control connection use it: whole lines of bounded length first, raw bytes
// afterwards, and a way to end it that frees a thread waiting in it.

using System;
using System.Net.Sockets;

namespace Lhype.Machine.Control;

/// <summary>A connected socket with a buffer for incoming lines. One thread reads, one may write.</summary>
internal sealed class LineSocket : IDisposable
{
    private readonly Socket _socket;
    private readonly byte[] _buffer;
    private int _start;
    private int _end;

    /// <summary>Wraps <paramref name="socket"/>; lines have at most <paramref name="maxLine"/>
    /// bytes.</summary>
    internal LineSocket(Socket socket, int maxLine)
    {
        _socket = socket;
        _buffer = new byte[maxLine + 1];
    }

    /// <summary>True if a line came that was too long; nothing more can be read then.</summary>
    internal bool Overlong { get; private set; }

    /// <summary>Waits for a line; false at the end, or if it is too long. Throws SocketException or
    /// ObjectDisposedException.</summary>
    internal bool TryReadLine(out ReadOnlySpan<byte> line)
    {
        int searched = _start;
        while (true)
        {
            int found = _buffer.AsSpan(searched, _end - searched).IndexOf((byte)'\n');
            if (found >= 0)
            {
                line = _buffer.AsSpan(_start, searched + found - _start);
                _start = searched + found + 1;
                return true;
            }

            _buffer.AsSpan(_start, _end - _start).CopyTo(_buffer);
            _end -= _start;
            _start = 0;
            searched = _end;
            Overlong = _end == _buffer.Length;
            int count = Overlong ? 0 : _socket.Receive(_buffer.AsSpan(_end));
            if (count == 0)
            {
                line = default;
                return false;
            }

            _end += count;
        }
    }

    /// <summary>Waits for bytes, first those left behind the last line. Empty at the end.</summary>
    internal ReadOnlySpan<byte> Read()
    {
        if (_start == _end)
        {
            _start = 0;
            _end = _socket.Receive(_buffer);
        }

        ReadOnlySpan<byte> bytes = _buffer.AsSpan(_start, _end - _start);
        _start = _end;
        return bytes;
    }

    /// <summary>Sends all of <paramref name="bytes"/>, waiting as long as that takes.</summary>
    internal void Send(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            bytes = bytes[_socket.Send(bytes)..];
        }
    }

    /// <summary>Sends what the other end has room for now; false if it has none.</summary>
    internal bool TrySend(ReadOnlySpan<byte> bytes)
    {
        if (!_socket.Poll(0, SelectMode.SelectWrite))
        {
            return false;
        }

        Send(bytes);
        return true;
    }

    /// <summary>The longest a single wait may take, in milliseconds; 0: for ever.</summary>
    internal void SetTimeouts(int receiveMs, int sendMs)
    {
        _socket.ReceiveTimeout = receiveMs;
        _socket.SendTimeout = sendMs;
    }

    /// <summary>From any thread: ends the connection, and every wait in it.</summary>
    internal void Shutdown()
    {
        try
        {
            _socket.Shutdown(SocketShutdown.Both);
        }
        catch (Exception error) when (error is SocketException or ObjectDisposedException)
        {
            // The other end was faster.
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _socket.Dispose();
}
