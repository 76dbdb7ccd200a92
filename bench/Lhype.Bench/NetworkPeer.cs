// The host's end of the network measurements (guest/bench/devices.c is the guest's): the first byte of a
// connection says what it is for. Used by Program.

using System;
using System.Net;
using System.Net.Sockets;
using System.Threading;

namespace Lhype.Bench;

/// <summary>A server on the loopback interface, until disposed.</summary>
internal sealed class NetworkPeer : IDisposable
{
    private const int Bytes = 64 << 20;

    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);

    /// <summary>Starts to listen.</summary>
    public NetworkPeer()
    {
        _listener.Start();
        new Thread(Run) { IsBackground = true }.Start();
    }

    /// <summary>Its TCP port.</summary>
    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    /// <summary>A port nobody listens on at the moment.</summary>
    public static int FreePort()
    {
        using NetworkPeer peer = new();
        return peer.Port;
    }

    /// <summary>Stops listening.</summary>
    public void Dispose() => _listener.Dispose();

    private void Run()
    {
        byte[] buffer = new byte[1 << 16];
        while (true)
        {
            try
            {
                using Socket socket = _listener.AcceptSocket();
                Serve(socket, buffer);
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException
                or InvalidOperationException)
            {
                if (!_listener.Server.IsBound)
                {
                    return;
                }
            }
        }
    }

    private static void Serve(Socket socket, byte[] buffer)
    {
        if (socket.Receive(buffer, 0, 1, SocketFlags.None) != 1)
        {
            return;
        }

        if (buffer[0] == 'r')
        {
            for (int sent = 0; sent < Bytes;)
            {
                sent += socket.Send(buffer, Math.Min(buffer.Length, Bytes - sent), SocketFlags.None);
            }

            return;
        }

        bool echo = buffer[0] == 'e';
        socket.NoDelay = true;
        while (socket.Receive(buffer) is > 0 and int got)
        {
            if (echo)
            {
                _ = socket.Send(buffer, got, SocketFlags.None);
            }
        }

        if (!echo)
        {
            buffer[0] = (byte)'k';
            _ = socket.Send(buffer, 1, SocketFlags.None);
        }
    }
}
