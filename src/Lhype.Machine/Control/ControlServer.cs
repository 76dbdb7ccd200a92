// A domain's end of its control socket: accepts clients of the same user and gives each a ControlConnection.
// The number of clients is bounded; when all places are taken, the one that was silent longest makes room, so
// that nobody can keep a domain from being stopped. Started by the command that runs a domain.

using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Linq;
using System.Net.Sockets;
using System.Threading;
using Lhype.Host;

namespace Lhype.Machine.Control;

/// <summary>Serves a listening control socket until disposed.</summary>
public sealed class ControlServer : IDisposable
{
    /// <summary>Clients at once.</summary>
    public const int MaxClients = 32;

    private const int AcceptRetryMs = 100;
    private static readonly TimeSpan ViewerPatience = TimeSpan.FromSeconds(1);

    private readonly Socket _listener;
    private readonly IControlTarget _target;
    private readonly Lock _gate = new();
    private readonly List<ControlConnection> _connections = [];
    private readonly Thread _thread;
    private volatile bool _closing;

    /// <summary>Starts serving <paramref name="listener"/>, which becomes the server's.</summary>
    public ControlServer(Socket listener, IControlTarget target)
    {
        _listener = listener;
        _target = target;
        _thread = new Thread(Run, 256 << 10) { Name = "control", IsBackground = true };
        _thread.Start();
    }

    /// <summary>Accepts no more clients.</summary>
    public void StopListening()
    {
        _closing = true;
        _listener.Dispose();
        _thread.Join();
    }

    /// <summary>Stops listening, gives viewers a moment to take what was printed, and ends all
    /// connections.</summary>
    public void Dispose()
    {
        StopListening();
        ControlConnection[] left;
        lock (_gate)
        {
            left = [.. _connections];
        }

        foreach (ControlConnection connection in left)
        {
            connection.Finish();
        }

        long end = Environment.TickCount64 + (long)ViewerPatience.TotalMilliseconds;
        foreach (ControlConnection connection in left)
        {
            long rest = Math.Max(0, end - Environment.TickCount64);
            if (!connection.Join(TimeSpan.FromMilliseconds(rest)))
            {
                connection.Close();
            }
        }
    }

    private void Run()
    {
        while (!_closing)
        {
            try
            {
                Admit(_listener.Accept());
            }
            catch (SocketException)
            {
                // The listener was closed; or no descriptor is left for a client, which may pass.
                if (!_closing)
                {
                    Thread.Sleep(AcceptRetryMs);
                }
            }
            catch (ObjectDisposedException)
            {
                return;
            }
        }
    }

    private void Admit(Socket client)
    {
        // The directory's mode keeps others out already; this holds should somebody open it up.
        if (PeerUserId(client) != PrivateDirectory.UserId)
        {
            client.Dispose();
            return;
        }

        ControlConnection connection = new(client, _target, Remove);
        ControlConnection? oldest = null;
        lock (_gate)
        {
            if (_connections.Count >= MaxClients)
            {
                oldest = _connections.MinBy(one => one.LastActive);
                _connections.Remove(oldest!);
            }

            _connections.Add(connection);
        }

        oldest?.Close();
        connection.Start();
    }

    private void Remove(ControlConnection connection)
    {
        lock (_gate)
        {
            _connections.Remove(connection);
        }
    }

    // SO_PEERCRED: struct ucred { pid, uid, gid } of whoever connected (unix(7)).
    private static uint PeerUserId(Socket client)
    {
        const int SolSocket = 1, PeerCredentials = 17, Length = 12, UserIdOffset = 4;
        Span<byte> credentials = stackalloc byte[Length];
        int length = client.GetRawSocketOption(SolSocket, PeerCredentials, credentials);
        return length == Length
            ? BinaryPrimitives.ReadUInt32LittleEndian(credentials[UserIdOffset..])
            : uint.MaxValue;
    }
}
