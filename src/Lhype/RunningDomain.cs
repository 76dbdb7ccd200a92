// A domain while `lhype run` or `lhype add` runs it: its place in the directory of domains, its control
// socket and its consoles. It stays while the guest inside is reset and starts a new life (RunSession). Made
// by RunCommand.

using System;
using System.Threading;
using Lhype.Host;
using Lhype.Machine;
using Lhype.Machine.Control;

namespace Lhype;

/// <summary>What others see of the domain this process runs. Dispose ends that.</summary>
internal sealed class RunningDomain : IControlTarget, IDisposable
{
    // A vCPU that does not come back for this long waits for its console's output to be read.
    private static readonly TimeSpan VcpuPatience = TimeSpan.FromSeconds(2);

    private readonly DomainRegistration _registration;
    private readonly ControlServer _server;
    private readonly long _startNs = HostClock.MonotonicNs();
    private volatile RunSession? _session;

    /// <summary>Registers a domain for <paramref name="config"/> and listens on its socket. Throws
    /// LhypeException.</summary>
    internal RunningDomain(DomainDirectory directory, MachineConfig config)
    {
        _registration = directory.Register(config);
        Config = config with { Name = _registration.State.Name };
        SerialPort = config.Serial == MachineConfig.NotConnected ? null : new DomainConsole();
        VirtioConsole = config.HasVirtioConsole ? new DomainConsole() : null;
        _server = new ControlServer(_registration.Listener, this);
    }

    /// <summary>The configuration, with the name the domain got.</summary>
    internal MachineConfig Config { get; }

    /// <summary>What viewers see of the serial port; null if it is connected to nothing.</summary>
    internal DomainConsole? SerialPort { get; }

    /// <summary>What viewers see of the virtio console; null if there is none.</summary>
    internal DomainConsole? VirtioConsole { get; }

    /// <summary>The guest's present life.</summary>
    internal void Attach(RunSession session) => _session = session;

    /// <inheritdoc/>
    public DomainInfo Describe()
    {
        BuiltMachine? built = _session?.Built;
        return new DomainInfo
        {
            Name = Config.Name,
            Id = _registration.State.Id,
            Pid = Environment.ProcessId,
            State = built is null ? "starting" : built.Machine.Paused ? "paused" : "running",
            Kernel = built?.KernelName ?? Config.Kernel,
            MemoryBytes = Config.MemoryBytes,
            Engine = built?.EngineName,
            CpuSeconds = Math.Round(Environment.CpuUsage.TotalTime.TotalSeconds, 3),
            UptimeSeconds = Math.Round((HostClock.MonotonicNs() - _startNs) / 1e9, 3),
            Viewers = (SerialPort?.Log.ReaderCount ?? 0) + (VirtioConsole?.Log.ReaderCount ?? 0),
            Config = Config with { KernelCommandLine = built?.CommandLine },
        };
    }

    /// <inheritdoc/>
    public string? SetPaused(bool paused)
    {
        _session?.Built.Machine.SetPaused(paused);

        // Posted work is done in order.
        return OnVcpu(_ => null);
    }

    /// <inheritdoc/>
    public string? PressPowerButton(out bool pressed)
    {
        bool heard = false;
        string? error = OnVcpu(built =>
        {
            if (built.PowerButton is not { } button)
            {
                return "its board has no power button; 'lhype stop --force' ends it at once";
            }

            if (built.Machine.Paused)
            {
                return "it is paused and cannot react; resume it first, or end it with 'lhype stop --force'";
            }

            heard = button.PowerButtonEnabled;
            if (heard)
            {
                button.PressPowerButton();
            }

            return null;
        });
        pressed = heard;
        return error;
    }

    /// <inheritdoc/>
    public void Kill()
    {
        if (_session is { } session)
        {
            session.Kill();
        }
        else
        {
            // Still being built: nothing has begun that would have to be ended in good order.
            Environment.Exit(new MachineExit(MachineExitKind.Killed).Status);
        }
    }

    /// <inheritdoc/>
    public DomainConsole? Console(bool serial) => serial ? SerialPort : VirtioConsole ?? SerialPort;

    /// <inheritdoc/>
    public void Dispose()
    {
        // Nobody can find the domain any more when its clients see their connections end.
        _server.StopListening();
        _registration.Dispose();
        _server.Dispose();
    }

    // Carries work out on the vCPU's thread and waits for it.
    private string? OnVcpu(Func<BuiltMachine, string?> work)
    {
        if (_session?.Built is not { } built)
        {
            return "it is just starting; try again";
        }

        string? error = null;
        ManualResetEventSlim done = new();
        built.Machine.Post(() =>
        {
            error = work(built);
            done.Set();
        });
        return done.Wait(VcpuPatience)
            ? error
            : "its guest stands still, because what it prints is not read; 'lhype stop --force' ends it";
    }
}
