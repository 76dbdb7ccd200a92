// Where the running domains of a user are registered: for each a state file, locked as long as its process
// lives, and a control socket, both named by the domain's number. Everything that looks at or changes the set
// of domains does so under one more lock, so that names stay unique and what a killed process left behind is
// told from what a starting one has just made. Used by the commands that run, list and control domains.

using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Net.Sockets;
using System.Threading;
using Lhype.Host;

namespace Lhype.Machine.Control;

/// <summary>The domains of one user.</summary>
public sealed class DomainDirectory
{
    private const int FirstAutomaticId = 1001;
    private const int MaxSocketPath = 107;      // sun_path, less the final zero
    private const int DyingMs = 1_000, RetryMs = 20;
    private const string StateSuffix = ".json", SocketSuffix = ".socket";
    private static readonly TimeSpan LockPatience = TimeSpan.FromSeconds(10);

    // Longer than a domain waits for its vCPU.
    private static readonly TimeSpan ReplyPatience = TimeSpan.FromSeconds(5);

    private readonly string _path;

    /// <summary>The domains registered in <paramref name="path"/>.</summary>
    public DomainDirectory(string path) => _path = path;

    /// <summary>That of this user: below XDG_RUNTIME_DIR if that is a directory of this user, otherwise below
    /// /tmp.</summary>
    public static DomainDirectory ForUser()
    {
        string? runtime = Environment.GetEnvironmentVariable("XDG_RUNTIME_DIR");
        return new DomainDirectory(!string.IsNullOrEmpty(runtime) && PrivateDirectory.IsOwn(runtime)
            ? Path.Combine(Path.GetFullPath(runtime), "lhype")
            : $"/tmp/lhype-{PrivateDirectory.UserId}");
    }

    /// <summary>Registers a domain of this process that <paramref name="config"/> describes, makes its name
    /// unique or its number, and listens on its socket. Throws LhypeException if the name or number the user
    /// chose is taken.</summary>
    public DomainRegistration Register(MachineConfig config)
    {
        PrivateDirectory.Ensure(_path);
        using LockFile gate = LockAll();
        List<DomainState> others = Living();
        int id = UniqueId(config, others);
        string name = UniqueName(config, others);
        string socketPath = FileOf(id, SocketSuffix);
        if (socketPath.Length > MaxSocketPath)
        {
            throw new LhypeException(
                $"{_path} is too long a path for control sockets; set XDG_RUNTIME_DIR to a shorter one.");
        }

        DomainState state = new()
        {
            Name = name,
            Id = id,
            Pid = Environment.ProcessId,
            Kernel = config.Kernel,
            MemoryBytes = config.MemoryBytes,
        };
        LockFile file = LockFile.Open(FileOf(id, StateSuffix), create: true)!;
        try
        {
            Invariant.Check(file.TryLock(), "a new state file is locked");
            file.WriteText(state.ToJson());
            return new DomainRegistration(this, state, file, Listen(socketPath));
        }
        catch
        {
            Remove(id);
            file.Dispose();
            throw;
        }
    }

    /// <summary>The running domains, by number. What killed ones left is removed.</summary>
    public IReadOnlyList<DomainState> List()
    {
        if (!PrivateDirectory.Exists(_path))
        {
            return [];
        }

        using LockFile gate = LockAll();
        return Living();
    }

    /// <summary>The running domain of that name or, if there is none, number. Throws LhypeException if there
    /// is neither.</summary>
    public DomainState Find(string nameOrId)
    {
        IReadOnlyList<DomainState> domains = List();
        DomainState? found = domains.FirstOrDefault(domain => domain.Name == nameOrId);
        if (found is null && TryParse(nameOrId, out int id))
        {
            found = domains.FirstOrDefault(domain => domain.Id == id);
        }

        return found ?? throw new LhypeException(
            $"No guest called \"{Printable(nameOrId)}\" is running; 'lhype list' shows those that are.");
    }

    /// <summary>False as soon as <paramref name="domain"/> is gone; true if it is still there after a
    /// moment. A killed process closes its connections before its lock.</summary>
    public bool StillRuns(DomainState domain)
    {
        long end = Environment.TickCount64 + DyingMs;
        while (List().Contains(domain))
        {
            if (Environment.TickCount64 > end)
            {
                return true;
            }

            Thread.Sleep(RetryMs);
        }

        return false;
    }

    /// <summary>Connects to a domain; a reply may then take as long as <paramref name="patience"/>. Throws
    /// LhypeException if it cannot be reached.</summary>
    public DomainClient Connect(DomainState domain, TimeSpan? patience = null)
    {
        Socket socket = NewSocket();
        try
        {
            socket.Connect(new UnixDomainSocketEndPoint(FileOf(domain.Id, SocketSuffix)));
            return new DomainClient(socket, domain.Name, patience ?? ReplyPatience);
        }
        catch (SocketException error)
        {
            socket.Dispose();
            throw new LhypeException($"{domain.Name} cannot be reached: {error.Message}.", error);
        }
    }

    internal void Unregister(DomainState state, LockFile file)
    {
        using LockFile gate = LockAll();
        Remove(state.Id);
        file.Dispose();
    }

    private static Socket NewSocket() =>
        new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);

    private static bool TryParse(string? text, out int id) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out id);

    private static string Printable(string text) =>
        string.Concat(text.Take(64).Select(letter => char.IsControl(letter) ? '?' : letter));

    private static string UniqueName(MachineConfig config, List<DomainState> others)
    {
        string wanted = config.Name.Length != 0 ? config.Name : "guest";
        string name = wanted;
        for (int number = 2; others.Find(other => other.Name == name) is { } same; number++)
        {
            if (!config.AutoName && config.Name.Length != 0)
            {
                throw new LhypeException($"A guest called {name} is running already (number {same.Id}, "
                    + $"process {same.Pid}); choose another --name, or end it with 'lhype stop {name}'.");
            }

            name = string.Create(CultureInfo.InvariantCulture, $"{wanted}-{number}");
        }

        return name;
    }

    // The user's ID if it is a number, otherwise the lowest that is free, of those that nobody types.
    private static int UniqueId(MachineConfig config, List<DomainState> others)
    {
        if (!TryParse(config.Id, out int id))
        {
            id = FirstAutomaticId;
            while (others.Exists(other => other.Id == id))
            {
                id++;
            }
        }

        return others.Find(other => other.Id == id) is not { } same
            ? id
            : throw new LhypeException($"A guest of number {id} is running already ({same.Name}, process "
                + $"{same.Pid}); choose another ID, or end it with 'lhype stop {id}'.");
    }

    private static Socket Listen(string path)
    {
        Socket socket = NewSocket();
        try
        {
            socket.Bind(new UnixDomainSocketEndPoint(path));
            socket.Listen(ControlServer.MaxClients);
            return socket;
        }
        catch (SocketException error)
        {
            socket.Dispose();
            throw new LhypeException($"Cannot listen on {path}: {error.Message}.", error);
        }
    }

    private LockFile LockAll()
    {
        string path = Path.Combine(_path, "lock");
        LockFile file = LockFile.Open(path, create: true)!;
        if (file.Lock(LockPatience))
        {
            return file;
        }

        file.Dispose();
        throw new LhypeException($"{path} stays locked by another lhype; is one stopped or hanging?");
    }

    // Those whose process holds the lock; the others' files are removed.
    private List<DomainState> Living()
    {
        List<DomainState> domains = [];
        foreach (string path in Directory.EnumerateFiles(_path, "*" + StateSuffix))
        {
            string stem = Path.GetFileNameWithoutExtension(path);
            if (!TryParse(stem, out int id))
            {
                continue;
            }

            using LockFile? file = LockFile.Open(path, create: false);
            if (file is not null && file.TryLock())
            {
                Remove(id);
            }
            else if (file is not null)
            {
                DomainState? state = DomainState.FromJson(file.ReadText(DomainState.MaxBytes));
                domains.AddRange(state?.Id == id ? [state] : []);
            }
        }

        domains.Sort((one, other) => one.Id.CompareTo(other.Id));
        return domains;
    }

    private void Remove(int id)
    {
        File.Delete(FileOf(id, SocketSuffix));
        File.Delete(FileOf(id, StateSuffix));
    }

    private string FileOf(int id, string suffix) =>
        Path.Combine(_path, id.ToString(CultureInfo.InvariantCulture) + suffix);
}
