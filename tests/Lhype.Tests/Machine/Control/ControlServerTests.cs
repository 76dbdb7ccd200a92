// Both ends of a control socket: every request, several viewers, and clients that are slow, silent, many or
// rude.

using System;
using System.Collections.Generic;
using System.Linq;
using System.Net.Sockets;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using Lhype.Host;
using Lhype.Machine.Control;
using Xunit;

namespace Lhype.Tests.Machine.Control;

public sealed class ControlServerTests : IDisposable
{
    private readonly FakeDomain _domain = new();

    public void Dispose() => _domain.Dispose();

    [Fact]
    public void EveryRequestIsCarriedOut()
    {
        using DomainClient client = _domain.Connect();
        Assert.Equal("running", Ask(client, ControlCommand.Info).Domain!.State);
        Ask(client, ControlCommand.Pause);
        DomainInfo paused = Ask(client, ControlCommand.Info).Domain!;
        Assert.Equal("paused", paused.State);
        Assert.Equal("/k", paused.Config!.Kernel);
        Ask(client, ControlCommand.Resume);
        Assert.False(_domain.Paused);
        Assert.False(Ask(client, ControlCommand.PowerButton).Pressed);
        Assert.True(Ask(client, ControlCommand.PowerButton).Pressed);
        Ask(client, ControlCommand.Kill);
        Assert.Equal(1, _domain.Kills);
        client.Ask(new ControlRequest { Command = ControlCommand.Resize, Columns = 132, Rows = 50 });
        Assert.Equal((132, 50), _domain.Size);
    }

    [Fact]
    public void WhatCannotBeDoneIsRefusedWithAReason()
    {
        using DomainClient client = _domain.Connect();
        Assert.Contains("no such command", Refusal(client, new() { Command = "fly" }),
            StringComparison.Ordinal);
        Assert.Contains("columns", Refusal(client, new() { Command = ControlCommand.Resize, Columns = 80 }),
            StringComparison.Ordinal);
        ControlRequest serial = new() { Command = ControlCommand.Console, Serial = true };
        Assert.Contains("serial port", Refusal(client, serial), StringComparison.Ordinal);

        // And the connection still serves.
        Assert.Equal("running", Ask(client, ControlCommand.Info).Domain!.State);
    }

    [Theory]
    [InlineData("", "not a request")]
    [InlineData("hello", "not a request")]
    [InlineData("null", "JSON object")]
    [InlineData("[]", "not a request")]
    [InlineData("{}", "not a request")]
    [InlineData("{\"command\":null}", "not a request")]
    [InlineData("{\"command\":\"info\",\"what\":1}", "not a request")]
    [InlineData("{\"command\":\"resize\",\"columns\":1e99}", "not a request")]
    public void ABadLineGetsAReasonAndTheNextOneIsServed(string line, string reason)
    {
        using Socket socket = _domain.ConnectRaw();
        socket.Send(Encoding.UTF8.GetBytes(line + "\n{\"command\":\"info\"}\n"));
        string[] replies = ReadLines(socket, 2);
        Assert.Contains("\"ok\":false", replies[0], StringComparison.Ordinal);
        Assert.Contains(reason, replies[0], StringComparison.Ordinal);
        Assert.Contains("\"ok\":true", replies[1], StringComparison.Ordinal);
    }

    [Fact]
    public void ALineWithoutEndIsCutOff()
    {
        using Socket socket = _domain.ConnectRaw();
        socket.Send(new byte[ControlRequest.MaxBytes + 1]);
        Assert.Contains("at most", ReadLines(socket, 1)[0], StringComparison.Ordinal);
        Assert.Equal(0, socket.Receive(new byte[1]));
    }

    [Fact]
    public void ViewersSeeTheSameAndAllMayType()
    {
        _domain.Guest.Print("booted\n"u8);
        using DomainClient one = _domain.Connect();
        using DomainClient two = _domain.Connect();
        Assert.Equal(7, one.AttachConsole(serial: false));
        Assert.Equal(7, two.AttachConsole(serial: false));
        _domain.Guest.Print("login: "u8);
        Assert.Equal("booted\nlogin: ", ReadConsole(one, 14));
        Assert.Equal("booted\nlogin: ", ReadConsole(two, 14));
        Assert.True(one.Type("ro"u8));
        Await(() => _domain.TypedText == "ro");
        Assert.True(two.Type("ot"u8));
        Await(() => _domain.TypedText == "root");

        one.Leave();
        Assert.True(one.ReadConsole().IsEmpty);
        Await(() => _domain.Console.Log.ReaderCount == 1);
        _domain.Guest.Print("x"u8);
        Assert.Equal("x", ReadConsole(two, 1));
    }

    [Fact]
    public void BytesBehindTheRequestAreTyped()
    {
        using Socket socket = _domain.ConnectRaw();
        socket.Send("{\"command\":\"console\"}\nls\r"u8);
        Await(() => _domain.TypedText == "ls\r");
    }

    [Fact]
    public async Task AtTheEndViewersGetTheLastWordsAndWaitersAreFreed()
    {
        FakeDomain domain = new();
        using DomainClient viewer = domain.Connect();
        using DomainClient waiter = domain.Connect();
        viewer.AttachConsole(serial: false);
        Ask(waiter, ControlCommand.Info);
        Assert.False(waiter.WaitForEnd(TimeSpan.FromMilliseconds(50)));
        domain.Guest.Print("Power down\n"u8);
        Task<bool> ended = Task.Run(() => waiter.WaitForEnd(TimeSpan.FromSeconds(30)));
        domain.Dispose();
        Assert.True(await ended);
        Assert.Equal("Power down\n", ReadConsole(viewer, 11));
        Assert.True(viewer.ReadConsole().IsEmpty);
    }

    [Fact]
    public void AViewerThatDoesNotReadLosesOutputAndHoldsNobodyUp()
    {
        using DomainClient slow = _domain.Connect();
        using DomainClient quick = _domain.Connect();
        slow.AttachConsole(serial: false);
        byte[] line = Encoding.ASCII.GetBytes(new string('y', 999) + "\n");
        long start = Environment.TickCount64;
        for (int i = 0; i < 20_000; i++)
        {
            _domain.Guest.Print(line);
        }

        Assert.InRange(Environment.TickCount64 - start, 0, 20_000);
        quick.AttachConsole(serial: false);
        _domain.Guest.Print("end"u8);
        Assert.EndsWith("end", ReadConsole(quick, ConsoleLog.ScrollBackBytes + 3), StringComparison.Ordinal);

        StringBuilder seen = new();
        while (!seen.ToString().EndsWith("end", StringComparison.Ordinal))
        {
            seen.Append(Encoding.Latin1.GetString(slow.ReadConsole()));
        }

        Assert.Contains("bytes not shown]", seen.ToString(), StringComparison.Ordinal);
        Assert.True(seen.Length < 2_000_000);
    }

    [Fact]
    public void ViewersThatDoNotReadDoNotDelayTheEnd()
    {
        FakeDomain domain = new();
        using DomainClient slow = domain.Connect();
        slow.AttachConsole(serial: false);
        domain.Guest.Print(new byte[1 << 20]);
        long start = Environment.TickCount64;
        domain.Dispose();
        Assert.InRange(Environment.TickCount64 - start, 0, 10_000);
    }

    [Fact]
    public void AGuestThatTakesNoKeysHoldsUpItsTypistOnly()
    {
        _domain.TakesInput = false;
        using Socket typist = _domain.ConnectRaw();
        typist.Send("{\"command\":\"console\"}\n"u8);
        typist.SendTimeout = 200;
        Assert.Throws<SocketException>(() =>
        {
            for (int i = 0; i < 1000; i++)
            {
                typist.Send(new byte[4096]);
            }
        });
        using DomainClient client = _domain.Connect();
        Assert.Equal(1, Ask(client, ControlCommand.Info).Domain!.Viewers);
    }

    [Fact]
    public void SilentClientsMakeRoomForNewOnes()
    {
        List<Socket> silent = [];
        try
        {
            for (int i = 0; i < 3 * ControlServer.MaxClients; i++)
            {
                silent.Add(_domain.ConnectRaw());
            }

            using DomainClient client = _domain.Connect();
            Assert.Equal("running", Ask(client, ControlCommand.Info).Domain!.State);
            Assert.Equal(0, silent[0].Receive(new byte[1]));
        }
        finally
        {
            silent.ForEach(socket => socket.Dispose());
        }
    }

    private static ControlReply Ask(DomainClient client, string command) =>
        client.Ask(new ControlRequest { Command = command });

    private static string Refusal(DomainClient client, ControlRequest request) =>
        Assert.Throws<LhypeException>(() => client.Ask(request)).Message;

    private static string ReadConsole(DomainClient client, int length)
    {
        StringBuilder text = new();
        while (text.Length < length)
        {
            ReadOnlySpan<byte> bytes = client.ReadConsole();
            Assert.False(bytes.IsEmpty, $"the console ended after: {text}");
            text.Append(Encoding.Latin1.GetString(bytes));
        }

        return text.ToString();
    }

    private static string[] ReadLines(Socket socket, int count)
    {
        StringBuilder text = new();
        byte[] one = new byte[1];
        while (text.ToString().Count(letter => letter == '\n') < count)
        {
            Assert.Equal(1, socket.Receive(one));
            text.Append((char)one[0]);
        }

        return text.ToString().TrimEnd('\n').Split('\n');
    }

    private static void Await(Func<bool> condition)
    {
        long end = Environment.TickCount64 + 10_000;
        while (!condition())
        {
            Assert.True(Environment.TickCount64 < end, "it did not happen");
            Thread.Sleep(2);
        }
    }
}
