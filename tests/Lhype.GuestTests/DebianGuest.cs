// A running guest of the Debian disk image, logged in as root with a shell that prints plain lines.

using System;
using Xunit;

namespace Lhype.GuestTests;

/// <summary>A guest whose shell takes commands.</summary>
internal sealed class DebianGuest : IDisposable
{
    private const string ShellPrompt = "root@lhype-debian:~# ";

    private DebianGuest(GuestSession session) => Session = session;

    /// <summary>The lhype process.</summary>
    public GuestSession Session { get; }

    /// <summary>Starts lhype with <paramref name="arguments"/>, waits for the login and logs in.</summary>
    public static DebianGuest Boot(params string[] arguments)
    {
        DebianGuest guest = new(GuestSession.Start(arguments));
        try
        {
            guest.Session.Expect("lhype-debian login: ");
            guest.Session.Type("root\r");
            guest.Session.Expect(ShellPrompt);

            // Plain lines from here on: no line editor, no wrapping at the terminal's width.
            guest.Session.Type("exec bash --noediting\r");
            guest.Session.Expect(ShellPrompt);
            guest.Command("stty -echo");
            return guest;
        }
        catch
        {
            guest.Dispose();
            throw;
        }
    }

    /// <summary>Types a command and returns what it printed.</summary>
    public string Command(string line)
    {
        Session.Type(line + "\r");
        return Session.Expect(ShellPrompt);
    }

    /// <summary>Shuts the guest down in good order.</summary>
    public void PowerOff()
    {
        Session.Type("poweroff\r");
        Assert.Equal(0, Session.Wait());
    }

    public void Dispose() => Session.Dispose();
}
