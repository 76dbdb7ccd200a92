// A domain without a machine behind a real control socket, for tests of both ends.

using System;
using System.Collections.Generic;
using System.IO;
using System.Net.Sockets;
using System.Text;
using Lhype.Machine;
using Lhype.Machine.Bus;
using Lhype.Machine.Control;

namespace Lhype.Tests.Machine.Control;

internal sealed class FakeDomain : IControlTarget, IInbox, IDisposable
{
    private readonly string _path = System.IO.Directory.CreateTempSubdirectory("lhype-fake-").FullName;
    private readonly DomainRegistration _registration;

    internal FakeDomain()
    {
        Directory = new DomainDirectory(Path.Combine(_path, "lhype"));
        _registration = Directory.Register(new MachineConfig { Kernel = "/k", Name = "fake" });
        Guest = new GuestConsole(bytes => Console.Log.Append(bytes));
        Guest.Connect(this, value =>
        {
            lock (Typed)
            {
                Typed.Add(value);
            }

            return TakesInput;
        }, (columns, rows) => Size = (columns, rows));
        Console.Connect(Guest);
        Server = new ControlServer(_registration.Listener, this);
    }

    internal DomainDirectory Directory { get; }

    internal ControlServer Server { get; }

    internal DomainConsole Console { get; } = new();

    internal GuestConsole Guest { get; }

    internal List<byte> Typed { get; } = [];

    internal bool TakesInput { get; set; } = true;

    internal (int, int) Size { get; private set; }

    internal bool Paused { get; private set; }

    internal int Presses { get; private set; }

    internal int Kills { get; private set; }

    internal string TypedText
    {
        get
        {
            lock (Typed)
            {
                return Encoding.Latin1.GetString([.. Typed]);
            }
        }
    }

    internal DomainClient Connect() => Directory.Connect(_registration.State);

    internal Socket ConnectRaw()
    {
        Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        string file = Path.Combine(_path, "lhype", $"{_registration.State.Id}.socket");
        socket.Connect(new UnixDomainSocketEndPoint(file));
        socket.ReceiveTimeout = 10_000;
        return socket;
    }

    public DomainInfo Describe() => new()
    {
        Name = "fake",
        Id = 1,
        State = Paused ? "paused" : "running",
        Viewers = Console.Log.ReaderCount,
        Config = new MachineConfig { Kernel = "/k" },
    };

    public string? SetPaused(bool paused)
    {
        Paused = paused;
        return null;
    }

    public string? PressPowerButton(out bool pressed)
    {
        Presses++;
        pressed = Presses > 1;
        return null;
    }

    public void Kill() => Kills++;

    DomainConsole? IControlTarget.Console(bool serial) => serial ? null : Console;

    public void Post(Action work) => work();

    public void Dispose()
    {
        Server.StopListening();
        _registration.Dispose();
        Server.Dispose();
        System.IO.Directory.Delete(_path, recursive: true);
    }
}
