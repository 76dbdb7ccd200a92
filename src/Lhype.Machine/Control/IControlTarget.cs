// What a control socket can do to the domain behind it. Implemented by the command that runs a domain, called
// by ControlServer from the threads of its connections.

namespace Lhype.Machine.Control;

/// <summary>A domain under control. All members from any thread; errors are clauses for the user.</summary>
public interface IControlTarget
{
    /// <summary>Describes the domain.</summary>
    DomainInfo Describe();

    /// <summary>Stops the guest where it is, or lets it go on. Returns null when that has happened, or why it
    /// has not.</summary>
    string? SetPaused(bool paused);

    /// <summary>Presses the power button if the guest listens to it. Returns null, or why that cannot be;
    /// <paramref name="pressed"/> is false if the guest does not listen.</summary>
    string? PressPowerButton(out bool pressed);

    /// <summary>Ends the guest at once.</summary>
    void Kill();

    /// <summary>The console, or with <paramref name="serial"/> the serial port; null if there is none to
    /// attach to.</summary>
    DomainConsole? Console(bool serial);
}
