// A port of a hub in a process of its own, to be killed: the test assembly run as a program.

using System;
using System.Diagnostics;
using Lhype.Machine.Net;

namespace Lhype.Tests.Machine.Net;

internal static class HubChild
{
    private const string Command = "hub-child";

    /// <summary>Starts a port that floods everybody with large and small frames for ever.</summary>
    public static Process Start(string file, int number)
    {
        // The tests run in a host of their own; this is the runtime that started it.
        string runtime = Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet";
        ProcessStartInfo start = new(runtime,
            ["exec", typeof(HubChild).Assembly.Location, Command, file, $"{number}"]);
        return Process.Start(start)!;
    }

    /// <summary>What the child does. False: this process is none.</summary>
    public static bool Run(string[] arguments)
    {
        if (arguments is not [Command, string file, string number])
        {
            return false;
        }

        using HubPort port = new(file, int.Parse(number));
        for (int i = 0; i >= 0; i++)
        {
            port.Send(MacAddress.Broadcast, i, i % 2 == 0 ? 3000 : 61);
        }

        return true;
    }
}

/// <summary>Entry point for <see cref="HubChild"/>; the test runner does not use it.</summary>
internal static class TestProgram
{
    private static int Main(string[] arguments) => HubChild.Run(arguments) ? 0 : 1;
}
