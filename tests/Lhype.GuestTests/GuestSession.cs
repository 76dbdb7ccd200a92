// A running lhype on a terminal of its own, driven the way a person drives it: type, wait for what appears,
// look at the exit status. The terminal is made by script(1), which every Debian has; without one (pipes) the
// same class serves the tests of redirected use.

using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Text;
using System.Threading;
using System.Threading.Tasks;

namespace Lhype.GuestTests;

/// <summary>One run of the published binary.</summary>
internal sealed class GuestSession : IDisposable
{
    /// <summary>The prompt of the busybox guests; what ash asks the terminal comes behind it.</summary>
    public const string Prompt = "lhype:/root# ";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(120);

    private readonly Process _process;
    private readonly StringBuilder _output = new();
    private readonly StringBuilder _error = new();
    private readonly Task _readers;
    private int _seen;

    private GuestSession(ProcessStartInfo start)
    {
        start.RedirectStandardInput = true;
        start.RedirectStandardOutput = true;
        start.RedirectStandardError = true;
        start.StandardOutputEncoding = Encoding.Latin1;
        _process = Process.Start(start)!;
        _readers = Task.WhenAll(
            Task.Run(() => Collect(_process.StandardOutput, _output)),
            Task.Run(() => Collect(_process.StandardError, _error)));
    }

    /// <summary>Starts lhype with pipes.</summary>
    public static GuestSession Start(params string[] arguments) => StartIn([], arguments);

    /// <summary>As <see cref="Start"/>, with environment variables of its own.</summary>
    public static GuestSession StartIn(Dictionary<string, string> environment, params string[] arguments) =>
        new(With(environment, new ProcessStartInfo(GuestProgram.Path, arguments)));

    /// <summary>Starts lhype with a pseudo terminal as standard input, output and error.</summary>
    public static GuestSession StartOnTerminal(params string[] arguments) =>
        StartOnTerminalIn([], arguments);

    /// <summary>As <see cref="StartOnTerminal"/>, with environment variables of its own.</summary>
    public static GuestSession StartOnTerminalIn(
        Dictionary<string, string> environment, params string[] arguments)
    {
        List<string> words = [GuestProgram.Path, .. arguments];
        string command =
            string.Join(' ',
                words.ConvertAll(word => $"'{word.Replace("'", "'\\''", StringComparison.Ordinal)}'"));

        // -e passes the exit status on, -f writes at once.
        ProcessStartInfo start =
            new("script", ["-q", "-e", "-f", "-c", $"stty rows 25 cols 80; {command}", "/dev/null"]);
        start.Environment["SHELL"] = "/bin/sh";
        return new GuestSession(With(environment, start));
    }

    private static ProcessStartInfo With(Dictionary<string, string> environment, ProcessStartInfo start)
    {
        foreach ((string name, string value) in environment)
        {
            start.Environment[name] = value;
        }

        return start;
    }

    /// <summary>Everything on standard output so far (on a terminal, standard error too).</summary>
    public string Output
    {
        get
        {
            lock (_output)
            {
                return _output.ToString();
            }
        }
    }

    /// <summary>Everything on standard error so far.</summary>
    public string Error
    {
        get
        {
            lock (_error)
            {
                return _error.ToString();
            }
        }
    }

    /// <summary>Waits until <paramref name="text"/> appears after what was waited for before; returns what
    /// came between. Throws with the transcript when it does not come.</summary>
    public string Expect(string text)
    {
        long deadline = Environment.TickCount64 + (long)Patience.TotalMilliseconds;
        while (true)
        {
            bool ended = _readers.IsCompleted;
            string output = Output;
            int found = output.IndexOf(text, _seen, StringComparison.Ordinal);
            if (found >= 0)
            {
                string between = output[_seen..found];
                _seen = found + text.Length;
                return between;
            }

            if (ended || Environment.TickCount64 > deadline)
            {
                throw new InvalidOperationException(
                    $"'{text}' did not appear ({(ended ? "ended" : "running")}):\n{output}\n{Error}");
            }

            Thread.Sleep(5);
        }
    }

    /// <summary>Types <paramref name="text"/> as it is.</summary>
    public void Type(string text)
    {
        _process.StandardInput.Write(text);
        _process.StandardInput.Flush();
    }

    /// <summary>Types a command at the guest's prompt and returns what it printed.</summary>
    public string Command(string line)
    {
        Type(line + "\r");
        Expect("\n");
        string printed = Expect(Prompt);
        return printed.Replace("\r", "", StringComparison.Ordinal);
    }

    /// <summary>Closes standard input.</summary>
    public void CloseInput() => _process.StandardInput.Close();

    /// <summary>Waits for the end and returns the exit status.</summary>
    public int Wait()
    {
        if (!_process.WaitForExit(Patience))
        {
            throw new InvalidOperationException($"lhype did not end. Transcript:\n{Output}\n{Error}");
        }

        _readers.Wait(Patience);
        return _process.ExitCode;
    }

    /// <summary>Runs lhype to its end with closed standard input.</summary>
    public static (int Status, string Output, string Error) Run(params string[] arguments)
    {
        using GuestSession session = Start(arguments);
        session.CloseInput();
        int status = session.Wait();
        return (status, session.Output, session.Error);
    }

    /// <summary>Ends what still runs.</summary>
    public void Dispose()
    {
        if (!_process.HasExited)
        {
            _process.Kill(entireProcessTree: true);
            _process.WaitForExit();
        }

        _process.Dispose();
    }

    private static void Collect(StreamReader reader, StringBuilder text)
    {
        char[] buffer = new char[4096];
        for (int count; (count = reader.Read(buffer, 0, buffer.Length)) > 0;)
        {
            lock (text)
            {
                text.Append(buffer, 0, count);
            }
        }
    }
}
