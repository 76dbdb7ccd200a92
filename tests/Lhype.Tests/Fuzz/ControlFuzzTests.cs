// Random and damaged input to a control socket and to the parsers on both of its ends: whatever a client
// sends, the domain goes on serving the next one. A canary shows that this search would find a parser that
// throws. A failure prints the seed: repeat with CsCheck_Seed=SEED in the environment.

using System;
using System.Linq;
using System.Net.Sockets;
using System.Text;
using CsCheck;
using Lhype.Machine.Control;
using Lhype.Tests.Machine.Control;
using Xunit;

namespace Lhype.Tests.Fuzz;

public sealed class ControlFuzzTests
{
    private static readonly string[] Seeds =
    [
        "{\"command\":\"info\"}", "{\"command\":\"pause\"}", "{\"command\":\"resume\",\"serial\":true}",
        "{\"command\":\"resize\",\"columns\":80,\"rows\":25}", "{\"command\":\"console\"}",
        "{\"command\":\"power-button\"}", "{\"command\":\"kill\",\"columns\":-1}",
        "{\"ok\":true,\"domain\":{\"name\":\"x\",\"state\":\"running\",\"config\":{\"kernel\":\"/k\"}}}",
    ];

    private static readonly Gen<byte[]> Damaged =
        Gen.Select(
            Gen.Int[0, Seeds.Length - 1],
            Gen.Select(
                Gen.Int[0, 100],
                Gen.OneOf(Gen.Byte, PickByte("\"{}[]:,\\\n\0\x7Fue-0123456789"))).Array[0, 4],
            Gen.Int[0, 2000])
        .Select((seed, edits, keep) =>
        {
            byte[] bytes = Encoding.UTF8.GetBytes(Seeds[seed] + "\n");
            foreach ((int at, byte value) in edits)
            {
                bytes[at % bytes.Length] = value;
            }

            return keep < 200 ? bytes[..(keep % bytes.Length)] : bytes;
        });

    private static readonly Gen<byte[]> Input = Gen.OneOf(Damaged, Gen.Byte.Array[0, 300]);

    [Fact]
    public void ParsersNeverThrow()
    {
        Input.Sample(
            bytes =>
            {
                _ = ControlRequest.Parse(bytes, out _);
                _ = ControlReply.Parse(bytes);
                _ = DomainState.FromJson(Encoding.Latin1.GetString(bytes));
            },
            iter: 20_000, threads: 1);
    }

    [Fact]
    public void TheSearchFindsAParserThatThrows()
    {
        Assert.ThrowsAny<Exception>(() => Input.Sample(
            bytes =>
            {
                if (ControlRequest.Parse(bytes, out _) is { Columns: > 1 and not 80 })
                {
                    throw new InvalidOperationException("planted");
                }
            },
            iter: 200_000, threads: 1));
    }

    [Fact]
    public void WhateverAClientSendsTheNextIsServed()
    {
        using FakeDomain domain = new();
        Input.Array[1, 12].Sample(
            pieces =>
            {
                using (Socket socket = domain.ConnectRaw())
                {
                    Send(socket, pieces);
                }

                using DomainClient client = domain.Connect();
                string state = client.Ask(new ControlRequest { Command = ControlCommand.Info }).Domain!.State;
                Assert.Contains(state, (string[])["running", "paused"]);
            },
            iter: 300, threads: 1);
    }

    // The server may hang up in the middle, when it got a line too long.
    private static void Send(Socket socket, byte[][] pieces)
    {
        try
        {
            foreach (byte[] piece in pieces)
            {
                socket.Send(piece);
            }
        }
        catch (SocketException)
        {
        }
    }

    private static Gen<byte> PickByte(string letters) =>
        Gen.Int[0, letters.Length - 1].Select(index => (byte)letters.ElementAt(index));
}
