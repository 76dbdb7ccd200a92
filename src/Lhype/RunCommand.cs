// `lhype run` once its options are settled: builds the machine, joins it to the terminal, runs it on a thread
// of its own, and turns its end into a report and an exit status. Called by the command line with a
// MachineConfig.

using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Threading;
using Lhype.Cpu;
using Lhype.Host;
using Lhype.Machine;
using Lhype.Machine.Control;
using Lhype.Terminal;

namespace Lhype;

/// <summary>Runs machines from start to end.</summary>
internal static class RunCommand
{
    // A guest that resets this soon has not come far, and if it does so again and again it never will.
    private const int MaxShortLives = 3;
    private static readonly TimeSpan ShortLife = TimeSpan.FromSeconds(2);

    /// <summary>Runs the machine <paramref name="config"/> describes until it ends, starting it again as
    /// often as the guest resets it, unless that is to end it. Returns the exit status. Throws LhypeException
    /// for whatever is wrong with the configuration or the host.</summary>
    internal static int Run(MachineConfig config) => Run(config, _ => { });

    /// <summary>As above; <paramref name="started"/> hears the domain's name once its guest runs.</summary>
    internal static int Run(MachineConfig config, Action<string> started)
    {
        MachineBuilder.Check(config);
        using RunningDomain domain = new(DomainDirectory.ForUser(), config);
        config = domain.Config;
        Messages messages = new();
        long deadlineNs = config.TimeoutSeconds > 0
            ? HostClock.MonotonicNs() + (long)(config.TimeoutSeconds * 1e9)
            : long.MaxValue;
        int shortLives = 0;
        for (bool first = true; ; first = false)
        {
            using RunSession session = new(domain, messages, first ? started : null, deadlineNs);
            MachineExit exit = session.Run();
            if (exit.Kind == MachineExitKind.Reset && !session.EndsAtReset)
            {
                shortLives = session.Elapsed < ShortLife ? shortLives + 1 : 0;
                if (shortLives < MaxShortLives)
                {
                    continue;
                }

                exit = new MachineExit(MachineExitKind.Crashed,
                    $"it resets as soon as it starts, {shortLives} times");
            }

            session.Report(exit);
            return exit.Status;
        }
    }
}

/// <summary>One life of a machine, from power-on to its end.</summary>
internal sealed class RunSession : IMonitorTarget, IDisposable
{
    private static readonly TimeSpan OutputPatience = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan StopPatience = TimeSpan.FromSeconds(5);

    private readonly MachineConfig _config;
    private readonly Messages _messages;
    private readonly Action<string>? _started;                  // null in later lives
    private readonly long _deadlineNs;
    private readonly ConsoleSession _serial;
    private readonly ConsoleSession? _virtio;
    private readonly BuiltMachine _built;
    private readonly ManualResetEventSlim _ended = new();       // the vCPU's thread is through
    private readonly ManualResetEventSlim _finished = new();    // and the console's output written
    private readonly long _startNs = HostClock.MonotonicNs();
    private readonly TimeSpan _startProcessor = Environment.CpuUsage.TotalTime;
    private MachineExit? _exit;
    private bool _threadGone;
    private string _registers = "";

    /// <summary>Builds the machine of <paramref name="domain"/>, which must end before
    /// <paramref name="deadlineNs"/> of the monotonic clock. <paramref name="started"/>, in its first life
    /// only, hears that it runs. Throws LhypeException.</summary>
    internal RunSession(
        RunningDomain domain, Messages messages, Action<string>? started, long deadlineNs)
    {
        _config = domain.Config;
        _messages = messages;
        _started = started;
        _deadlineNs = deadlineNs;
        Action<string> failed = error => End(MachineExitKind.HostError, error);
        _serial = new ConsoleSession(_config.Serial, domain.SerialPort, messages, failed);
        try
        {
            _virtio = _config.HasVirtioConsole
                ? new ConsoleSession(_config.Console, domain.VirtioConsole, messages, failed)
                : null;
            GuestConsole? serial = _virtio is null ? null : _serial.Console;
            _built = MachineBuilder.Build(_config, Main.Console, serial, messages.Say);
        }
        catch
        {
            _virtio?.Dispose();
            _serial.Dispose();
            throw;
        }

        domain.Attach(this);
    }

    /// <summary>The machine.</summary>
    internal BuiltMachine Built => _built;

    // The console the kernel is told to use, and the one whose keys the user's terminal sends.
    private ConsoleSession Main => _virtio ?? _serial;

    private ConsoleSession OnTerminal => _virtio is { UsesTerminal: true } ? _virtio : _serial;

    /// <summary>True if a reset asked for by the guest ends the run: by option, or because a panic would
    /// reset again and again.</summary>
    internal bool EndsAtReset =>
        _config.NoReboot || Array.IndexOf(_built.CommandLine.Split(' '), "panic=-1") >= 0;

    /// <summary>Time since this life began.</summary>
    internal TimeSpan Elapsed => TimeSpan.FromMicroseconds((HostClock.MonotonicNs() - _startNs) / 1000.0);

    /// <summary>Runs the machine to its end.</summary>
    internal MachineExit Run()
    {
        using IDisposable signals = CatchSignals();
        void Leave() => End(MachineExitKind.Stopped, "the user left");
        _serial.Start(this, Leave);
        _virtio?.Start(this, Leave);
        if (_started is not null && _config.Verbosity >= 0)
        {
            int details = _built.KernelName.IndexOf(" (", StringComparison.Ordinal);
            string kernel = details < 0 ? _built.KernelName : _built.KernelName[..details];
            string leave = OnTerminal.Interactive ? "; Ctrl-A x leaves, Ctrl-A h lists keys" : "";
            _messages.Say($"guest {_config.Name}, engine {_built.EngineName}, kernel {kernel}, "
                + $"{_config.MemoryBytes >> 20} MiB{leave}");
        }

        VcpuThread thread = new("vcpu 0", RunVcpu);
        thread.Start();
        if (_exit is { } early)
        {
            _built.Machine.RequestEnd(early);
        }

        _started?.Invoke(_config.Name);

        if (!EndsBefore(_deadlineNs))
        {
            End(MachineExitKind.TimedOut,
                FormattableString.Invariant($"{_config.TimeoutSeconds} s are over"));
        }

        _ended.Wait();
        _threadGone = thread.Join(StopPatience);
        if (_threadGone)
        {
            _registers = _built.DescribeState();
        }

        return Settle(_built.Machine.Ended ?? _exit!);
    }

    /// <summary>Gives the terminal back and says what is to be said about the end.</summary>
    internal void Report(MachineExit exit)
    {
        _virtio?.Dispose();
        _serial.Dispose();
        _finished.Set();
        string text = RunReport.Describe(exit, _registers, Main.Console.LastLine);
        if (text.Length != 0)
        {
            if (OnTerminal.SharesTerminal && !OnTerminal.Console.AtLineStart)
            {
                _messages.Lines("");
            }

            _messages.Say(text);
        }

        if (_config.Profile is { } profile && _threadGone)
        {
            _built.Profiling!.Write(profile);
        }

        if (_config.Statistics && _threadGone)
        {
            TimeSpan processor = Environment.CpuUsage.TotalTime - _startProcessor;
            _messages.Say("counters of this run\n"
                + RunReport.Statistics(_built.Vcpu.Statistics, _built.Machine.Sleeps, Elapsed, processor));
        }
    }

    /// <inheritdoc/>
    public void ShowInfo()
    {
        string paused = _built.Machine.Paused ? ", paused" : "";
        List<string> lines =
        [
            $"name     {_config.Name}",
            $"kernel   {_built.KernelName}",
            $"command  {_built.CommandLine}",
            $"engine   {_built.EngineName}",
            $"memory   {_config.MemoryBytes >> 20} MiB",
            FormattableString.Invariant($"up       {Elapsed.TotalSeconds:F1} s{paused}"),
        ];
        foreach (DiskConfig disk in _config.Disks)
        {
            string kind = disk.ReadOnly ? " (read only)" : _config.Snapshot ? " (snapshot)" : "";
            lines.Add($"disk     {disk.File}{kind}");
        }

        _messages.Lines(string.Join("\n", lines));
    }

    /// <inheritdoc/>
    public void SetPaused(bool paused) => _built.Machine.SetPaused(paused);

    /// <inheritdoc/>
    public void Stop() => End(MachineExitKind.Stopped, "the user stopped it");

    /// <summary>From any thread: ends the guest at once, for the control socket.</summary>
    internal void Kill() => End(MachineExitKind.Killed, "by 'lhype stop --force'");

    /// <summary>Frees the machine, if its thread has let go of it.</summary>
    public void Dispose()
    {
        _virtio?.Dispose();
        _serial.Dispose();
        _finished.Set();
        if (_threadGone)
        {
            _built.Dispose();
        }
    }

    // A panicking kernel with panic=-1 resets the machine: that is no wish for a reset, it is a crash.
    private MachineExit Settle(MachineExit exit) =>
        exit.Kind == MachineExitKind.Reset && Main.Console.PanicLine is { } panic
            ? new MachineExit(MachineExitKind.Crashed, panic)
            : exit;

    private void RunVcpu()
    {
        try
        {
            _exit = new VcpuLoop(_built.Machine, _built.Vcpu).Run();
        }
        catch (LhypeException error)
        {
            _exit = new MachineExit(MachineExitKind.HostError, error.Message.TrimEnd('.'));
        }
        catch (Exception error)
        {
            // A bug of ours: the terminal must come back before anybody can read about it.
            _exit = new MachineExit(MachineExitKind.HostError, "internal error: " + error);
        }

        _ended.Set();
    }

    private bool EndsBefore(long deadlineNs)
    {
        if (deadlineNs == long.MaxValue)
        {
            _ended.Wait();
            return true;
        }

        long remainingNs = Math.Max(0, deadlineNs - HostClock.MonotonicNs());
        return _ended.Wait(TimeSpan.FromMicroseconds(remainingNs / 1000.0));
    }

    // From any thread.
    private void End(MachineExitKind kind, string reason)
    {
        MachineExit exit = new(kind, reason);
        _exit ??= exit;
        _built?.Machine.RequestEnd(exit);
        ThreadPool.UnsafeQueueUserWorkItem(_ => ForceEnd(), null);
    }

    // Whoever reads the console may have stopped reading, so that neither the vCPU nor the last output moves;
    // and should the vCPU not come back for another reason (a bug), the command still must.
    private void ForceEnd()
    {
        if (!_finished.Wait(OutputPatience))
        {
            _virtio?.Abandon();
            _serial.Abandon();
        }

        _ended.Wait(StopPatience);
        _ended.Set();
    }

    private SignalHandlers CatchSignals() => new(
        signal => End(MachineExitKind.Killed, $"signal {signal}"),
        OnTerminal.Continued,
        OnTerminal.WindowChanged);

    private sealed class SignalHandlers : IDisposable
    {
        private static readonly PosixSignal[] Ending =
            [PosixSignal.SIGHUP, PosixSignal.SIGINT, PosixSignal.SIGQUIT, PosixSignal.SIGTERM];

        private readonly List<PosixSignalRegistration> _registrations = [];

        internal SignalHandlers(Action<string> end, Action continued, Action windowChanged)
        {
            foreach (PosixSignal signal in Ending)
            {
                _registrations.Add(PosixSignalRegistration.Create(signal, context =>
                {
                    context.Cancel = true;
                    end(context.Signal.ToString());
                }));
            }

            if (OperatingSystem.IsLinux())
            {
                _registrations.Add(PosixSignalRegistration.Create(PosixSignal.SIGCONT, _ => continued()));
                _registrations.Add(
                    PosixSignalRegistration.Create(PosixSignal.SIGWINCH, _ => windowChanged()));
            }
        }

        public void Dispose()
        {
            foreach (PosixSignalRegistration registration in _registrations)
            {
                registration.Dispose();
            }
        }
    }
}
