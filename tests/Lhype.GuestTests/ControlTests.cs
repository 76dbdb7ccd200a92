// Control of running guests as a user does it: list, info, console, stop, pause, resume and run --detach,
// with the published binary on pseudo terminals. Every test has a runtime directory of its own, so that it
// sees its guests only.

using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Text.Json;
using System.Threading;
using Xunit;

namespace Lhype.GuestTests;

public sealed class ControlTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("lhype-ctl-").FullName;
    private readonly List<GuestSession> _sessions = [];

    /// <summary>Nothing started here outlives its test.</summary>
    public void Dispose()
    {
        foreach (JsonElement guest in List().EnumerateArray())
        {
            Lhype("stop", "--force", guest.GetProperty("name").GetString()!);
        }

        _sessions.ForEach(session => session.Dispose());
        Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    public void A_detached_guest_is_listed_described_paused_and_stopped()
    {
        Assert.Equal("[]", Lhype("list", "--json").Output.Trim());
        Assert.Equal("web\n", Detach("--name", "web", "-m", "128M"));
        JsonElement web = Assert.Single(List().EnumerateArray());
        Assert.Equal("web", web.GetProperty("name").GetString());
        Assert.Equal(1001, web.GetProperty("id").GetInt32());
        Assert.Equal("running", web.GetProperty("state").GetString());
        Assert.Equal(128L << 20, web.GetProperty("memoryBytes").GetInt64());
        Assert.Equal("translator", web.GetProperty("engine").GetString());
        Assert.Contains("Linux 6.1", web.GetProperty("kernel").GetString(), StringComparison.Ordinal);
        Assert.True(web.GetProperty("cpuSeconds").GetDouble() > 0);
        Assert.Matches("(?m)^web +1001 +running +128M .* Linux 6.1", Lhype("list").Output);

        GuestSession console = Attach("web");
        console.Expect(GuestSession.Prompt);
        AssertDone(Lhype("pause", "web"));
        Assert.Equal("paused", Info("1001").GetProperty("state").GetString());
        console.Type("echo awake\r");
        Thread.Sleep(500);
        Assert.DoesNotContain("awake", console.Output, StringComparison.Ordinal);
        (int status, _, string error) = Lhype("stop", "web");
        Assert.Equal(1, status);
        Assert.Contains("it is paused", error, StringComparison.Ordinal);
        AssertDone(Lhype("resume", "web"));
        console.Expect("\nawake");
        Assert.Equal("running", Info("web").GetProperty("state").GetString());

        AssertDone(Lhype("stop", "web"));
        Assert.Equal("[]", Lhype("list", "--json").Output.Trim());
        console.Expect("the power button was pressed");
        console.Expect("web has ended");
        Assert.Equal(0, console.Wait());
    }

    [Fact]
    public void Info_is_the_configuration_that_runs_the_same_guest()
    {
        Detach("--name", "web", "--", "lhype.test=info");
        JsonElement config = Info("web").GetProperty("config");
        Assert.Contains("lhype.test=info", config.GetProperty("kernelCommandLine").GetString(),
            StringComparison.Ordinal);
        string file = Path.Combine(_directory, "config.json");
        File.WriteAllText(file, config.GetRawText());
        Assert.Equal("again\n", Detach("--config", file, "--name", "again"));
        Assert.Equal(2, List().GetArrayLength());
    }

    [Fact]
    public void Two_viewers_and_the_terminal_of_run_see_the_same_and_all_may_type()
    {
        GuestSession run = Start("run", "--name", "vm");
        run.Expect(GuestSession.Prompt);
        run.Type("echo before\r");
        run.Expect("\nbefore");
        GuestSession one = Attach("vm");
        GuestSession two = Attach("1001");
        one.Expect("\nbefore");
        two.Expect("\nbefore");
        one.Type("echo from-one\r");
        AllSee("\nfrom-one", run, one, two);
        two.Type("echo from-two\r");
        AllSee("\nfrom-two", run, one, two);
        run.Type("echo from-run\r");
        AllSee("\nfrom-run", run, one, two);
        Assert.Equal(2, Info("vm").GetProperty("viewers").GetInt32());

        one.Type("\x01" + "d");
        one.Expect("detached from vm");
        Assert.Equal(0, one.Wait());
        two.Type("\x01x");
        two.Expect("detached from vm");
        Assert.Equal(0, two.Wait());
        Assert.Equal(0, Info("vm").GetProperty("viewers").GetInt32());

        run.Type("echo still-here\r");
        run.Expect("\nstill-here");
        run.Type("poweroff -f\r");
        Assert.Equal(0, run.Wait());
    }

    [Fact]
    public void The_replayed_scroll_back_asks_the_terminal_nothing()
    {
        GuestSession run = Start("run", "--name", "vm");
        run.Expect(GuestSession.Prompt);
        run.Expect("\x1b[6n");      // ash asks where the cursor is
        GuestSession viewer = Attach("vm");
        viewer.Expect(GuestSession.Prompt);
        Thread.Sleep(200);
        Assert.DoesNotContain("\x1b[6n", viewer.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void Input_from_a_pipe_is_typed_and_output_goes_on_to_the_end()
    {
        Detach("--name", "vm");
        using GuestSession console = GuestSession.StartIn(Environment(), "console", "vm");
        console.Expect(GuestSession.Prompt);
        console.Type("echo $((6 * 7))-x\r");
        console.CloseInput();
        console.Expect("42-x");
        AssertDone(Lhype("stop", "vm"));
        Assert.Equal(0, console.Wait());
        Assert.Contains("vm has ended", console.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void A_virtio_console_on_the_socket_is_there_beside_the_serial_port()
    {
        Detach("--name", "vm", "--console", "socket", "--serial", "socket", "--", "console=ttyS0",
            "console=hvc0");
        GuestSession console = Attach("vm");
        console.Expect(GuestSession.Prompt);
        console.Type("stty size; echo to-serial > /dev/ttyS0\r");

        // GuestSession's terminals have 25 lines of 80 characters.
        console.Expect("\n25 80");
        using GuestSession serial = GuestSession.StartIn(Environment(), "console", "vm", "--serial");
        serial.CloseInput();
        serial.Expect("to-serial");
    }

    [Fact]
    public void Stop_says_so_when_the_guest_does_not_react_and_force_ends_it()
    {
        GuestSession run = Start("run", "--name", "vm");
        run.Expect(GuestSession.Prompt);
        // Whoever listens to the button comes beside the shell, maybe after it.
        run.Command("while [ -z \"$d\" ]; do for f in /proc/[0-9]*/fd/0; do case $(readlink $f) in "
            + "/dev/input/*) f=${f#/proc/}; kill -STOP ${f%%/*}; d=1;; esac; done; done");
        (int status, _, string error) = Lhype("stop", "vm", "--timeout", "2");
        Assert.Equal(1, status);
        Assert.Contains("vm has not powered off after 2 s", error, StringComparison.Ordinal);
        Assert.Equal("running", Info("vm").GetProperty("state").GetString());
        AssertDone(Lhype("stop", "vm", "--force"));
        Assert.Equal(3, run.Wait());
        Assert.Contains("was killed", run.Output, StringComparison.Ordinal);
        Assert.Equal("[]", Lhype("list", "--json").Output.Trim());
    }

    [Fact]
    public void A_guest_still_booting_is_stopped_once_it_listens()
    {
        Detach("--name", "vm");
        AssertDone(Lhype("stop", "vm"));
        Assert.Equal("[]", Lhype("list", "--json").Output.Trim());
    }

    [Fact]
    public void A_killed_process_leaves_nothing_behind()
    {
        Detach("--name", "vm");
        Process process = Process.GetProcessById(Info("vm").GetProperty("pid").GetInt32());
        GuestSession viewer = Attach("vm");
        viewer.Expect("attached");
        process.Kill();
        Assert.Equal("[]", Lhype("list", "--json").Output.Trim());
        viewer.Expect("vm has ended");
        Assert.Equal([Path.Combine(_directory, "lhype", "lock")],
            Directory.GetFileSystemEntries(Path.Combine(_directory, "lhype")));
        (int status, _, string error) = Lhype("info", "vm");
        Assert.Equal(1, status);
        Assert.Contains("No guest called \"vm\"", error, StringComparison.Ordinal);
        Assert.Equal("vm\n", Detach("--name", "vm"));
    }

    [Fact]
    public void A_stopped_process_is_listed_as_not_answering_and_can_be_forced()
    {
        Detach("--name", "vm");
        int pid = Info("vm").GetProperty("pid").GetInt32();
        DebianDisk.Run("kill", "-STOP", pid.ToString());
        Assert.Equal("not answering", List()[0].GetProperty("state").GetString());
        (int status, _, string error) = Lhype("stop", "--force", "vm");
        Assert.Equal(0, status);
        Assert.Contains("does not answer, killing", error, StringComparison.Ordinal);
        Assert.Equal("[]", Lhype("list", "--json").Output.Trim());
    }

    [Fact]
    public void Names_are_unique_and_a_detached_run_s_errors_are_ours()
    {
        Assert.Equal("debian-amd64\n", Detach());
        Assert.Equal("debian-amd64-2\n", Detach());
        (int status, string output, string error) = Lhype("run", "--detach", "--name", "debian-amd64-2");
        Assert.Equal((1, ""), (status, output));
        Assert.Contains("debian-amd64-2 is running already", error, StringComparison.Ordinal);
        (status, output, error) = Lhype("run", "--detach", "-d", "/nonexistent/disk");
        Assert.Equal((1, ""), (status, output));
        Assert.Contains("/nonexistent/disk", error, StringComparison.Ordinal);
        Assert.Equal(2, List().GetArrayLength());
    }

    [Fact]
    public void Another_user_can_neither_list_nor_control()
    {
        Detach("--name", "vm");
        if (System.Environment.UserName != "root")
        {
            return;     // only root can become another user
        }

        // Even where a careless root opened the way to the socket.
        foreach (string mode in (string[])["700", "755"])
        {
            DebianDisk.Run("chmod", mode, _directory);
            foreach (string command in (string[])["list", "info vm", "pause vm", "stop --force vm"])
            {
                (_, string said) = AsNobody($"{GuestProgram.Path} {command}");
                Assert.DoesNotContain("translator", said, StringComparison.Ordinal);
                Assert.DoesNotContain("256M", said, StringComparison.Ordinal);
            }
        }

        string socket = Path.Combine(_directory, "lhype", "1001.socket");
        (_, string direct) = AsNobody(Talk(socket));
        Assert.DoesNotContain("ok", direct, StringComparison.Ordinal);
        DebianDisk.Run("chmod", "777", Path.Combine(_directory, "lhype"), socket);
        (_, direct) = AsNobody(Talk(socket));
        Assert.Contains("connected", direct, StringComparison.Ordinal);
        Assert.DoesNotContain("ok", direct, StringComparison.Ordinal);
        DebianDisk.Run("chmod", "700", Path.Combine(_directory, "lhype"));
        Assert.Equal("running", Info("vm").GetProperty("state").GetString());
    }

    private static string Talk(string socket) =>
        "perl -MIO::Socket::UNIX -e 'my $s = IO::Socket::UNIX->new(Peer => shift) or die \"no way\\n\"; "
        + "print \"connected\\n\"; $s->autoflush; $SIG{PIPE} = q(IGNORE); "
        + $"print $s qq({{\"command\":\"info\"}}\\n); print <$s>' {socket}";

    private (int Status, string Output) AsNobody(string command) =>
        DebianDisk.Run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env",
            $"XDG_RUNTIME_DIR={_directory}", "HOME=/", "/bin/sh", "-c", command);

    private static void AllSee(string text, params GuestSession[] sessions)
    {
        foreach (GuestSession session in sessions)
        {
            session.Expect(text);
        }
    }

    private static void AssertDone((int Status, string Output, string Error) result) =>
        Assert.True(result is (0, "", ""), $"{result}");

    private Dictionary<string, string> Environment() => new() { ["XDG_RUNTIME_DIR"] = _directory };

    private GuestSession Start(params string[] arguments)
    {
        GuestSession session = GuestSession.StartOnTerminalIn(Environment(), arguments);
        _sessions.Add(session);
        return session;
    }

    private GuestSession Attach(string name) => Start("console", name);

    private (int Status, string Output, string Error) Lhype(params string[] arguments)
    {
        using GuestSession session = GuestSession.StartIn(Environment(), arguments);
        session.CloseInput();
        int status = session.Wait();
        return (status, session.Output, session.Error);
    }

    private string Detach(params string[] options)
    {
        (int status, string output, string error) = Lhype(["run", "--detach", .. options]);
        Assert.True(status == 0, error);
        return output;
    }

    private JsonElement List() => Parse(Lhype("list", "--json").Output);

    private JsonElement Info(string name) => Parse(Lhype("info", name).Output);

    private static JsonElement Parse(string json)
    {
        using JsonDocument document = JsonDocument.Parse(json);
        return document.RootElement.Clone();
    }
}
