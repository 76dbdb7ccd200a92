// A domain's place in the directory of running domains, kept as long as it runs: the lock on its state file
// says so to everybody, also after SIGKILL. Made by DomainDirectory.

using System;
using System.Net.Sockets;
using Lhype.Host;

namespace Lhype.Machine.Control;

/// <summary>Name, number and socket of a running domain. Dispose removes it from the directory.</summary>
public sealed class DomainRegistration : IDisposable
{
    private readonly DomainDirectory _directory;
    private readonly LockFile _file;

    internal DomainRegistration(DomainDirectory directory, DomainState state, LockFile file, Socket listener)
    {
        _directory = directory;
        _file = file;
        State = state;
        Listener = listener;
    }

    /// <summary>What was registered; the name and number are unique.</summary>
    public DomainState State { get; }

    /// <summary>The listening socket, for the domain's <see cref="ControlServer"/>.</summary>
    public Socket Listener { get; }

    /// <inheritdoc/>
    public void Dispose()
    {
        // First the socket: closing it removes its file by name, which must still be ours.
        Listener.Dispose();
        try
        {
            _directory.Unregister(State, _file);
        }
        catch (LhypeException)
        {
            // Somebody sits on the directory; the next list cleans up after us.
            _file.Dispose();
        }
    }
}
