// A real tap interface where the user may have one (root, or CAP_NET_ADMIN): the host's own network stack
// answers. Elsewhere, the sentence that says what to do.

using System;
using System.Buffers.Binary;
using System.Diagnostics;
using System.Linq;
using Lhype.Host;
using Lhype.Machine;
using Lhype.Machine.Net;
using Lhype.Tests.Machine.Devices;
using Xunit;

namespace Lhype.Tests.Machine.Net;

public sealed class TapTests
{
    private static readonly MacAddress Mac = MacAddress.ForDomain("tap", 0);

    [Fact]
    public void TheHostAnswersOrSaysWhatToDo()
    {
        string name = $"lhype{Environment.ProcessId % 100_000}";
        using ThreadInbox inbox = new();
        NetworkHost host = new(inbox, new FakeClock().Clock, Assert.Fail);
        TapBackend tap;
        try
        {
            tap = TapBackend.Open(Tap(name), host);
        }
        catch (LhypeException error)
        {
            Assert.Contains($"ip tuntap add {name} mode tap", error.Message, StringComparison.Ordinal);
            return;
        }

        using (tap)
        {
            TestCard card = new(Mac);
            tap.Connect(card);
            tap.AcceptedOffloads(NetworkOffloads.All);

            // 198.51.100.0/24 is for documentation: nobody's route.
            if (Ip($"address add 198.51.100.1/30 dev {name}") && Ip($"link set {name} up"))
            {
                Ask(tap, inbox, card);
            }

            Assert.Throws<LhypeException>(() => TapBackend.Open(Tap(name), host));
        }
    }

    [Fact]
    public void AnInterfaceWithoutNameGetsOneAndTheAddress()
    {
        using ThreadInbox inbox = new();
        NetworkHost host = new(inbox, new FakeClock().Clock, Assert.Fail);
        NetworkConfig network = new() { Kind = NetworkKind.Tap, HostAddress = "198.51.100.1" };
        TapBackend tap;
        try
        {
            tap = TapBackend.Open(network, host);
        }
        catch (LhypeException error)
        {
            Assert.EndsWith(".", error.Message, StringComparison.Ordinal);
            return;
        }

        using (tap)
        {
            TestCard card = new(Mac);
            tap.Connect(card);
            tap.AcceptedOffloads(NetworkOffloads.All);
            Ask(tap, inbox, card);
        }

        LhypeException refused = Assert.Throws<LhypeException>(() => TapBackend.Open(
            new NetworkConfig { Kind = NetworkKind.Tap, Bridge = "lhype-nobridge" }, host));
        Assert.Contains("the bridge lhype-nobridge", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void WhatIsNoTapIsRefused()
    {
        NetworkHost host = new(new ThreadInbox(), new FakeClock().Clock, Assert.Fail);
        LhypeException error = Assert.Throws<LhypeException>(() => TapBackend.Open(Tap("lo"), host));
        Assert.Contains("lo", error.Message, StringComparison.Ordinal);
        Assert.Throws<LhypeException>(() => TapBackend.Open(Tap("a-name-longer-than-fifteen"), host));
    }

    /// <summary>ARP, then ICMP echo with a checksum left for the host to add.</summary>
    private static void Ask(TapBackend tap, ThreadInbox inbox, TestCard card)
    {
        byte[] who = Convert.FromHexString("FFFFFFFFFFFF" + "000000000000" + "0806"
            + "0001080006040001" + "000000000000" + "C6336402" + "000000000000" + "C6336401");
        Mac.Write(who.AsSpan(6));
        Mac.Write(who.AsSpan(22));
        tap.Send(default, who);
        Assert.True(inbox.RunUntil(() => card.Frames.Any(frame => IsArpReply(frame.Bytes))));
        byte[] reply = card.Frames.First(frame => IsArpReply(frame.Bytes)).Bytes;
        Assert.Equal(Mac, MacAddress.Read(reply));

        // UDP to a port where nobody listens: the host's stack sees it only if it adds the checksum, and
        // answers with ICMP port unreachable (type 3, code 3).
        byte[] datagram = Convert.FromHexString("000000000000" + "000000000000" + "0800"
            + "4500002000010000401100" + "00" + "C6336402C6336401"
            + "3039000900" + "0C0000" + "DEADBEEF");
        reply.AsSpan(6, 6).CopyTo(datagram);
        Mac.Write(datagram.AsSpan(6));
        ushort ipChecksum = InternetChecksum.Fold(InternetChecksum.Sum(datagram.AsSpan(14, 20)));
        BinaryPrimitives.WriteUInt16LittleEndian(datagram.AsSpan(24), ipChecksum);
        uint pseudo = 0xC633 + 0x6402 + 0xC633 + 0x6401 + 17 + 12;
        pseudo = (pseudo & 0xFFFF) + (pseudo >> 16);
        BinaryPrimitives.WriteUInt16BigEndian(datagram.AsSpan(40), (ushort)pseudo);
        tap.Send(new FrameHeader(FrameHeader.NeedsChecksum, 0, 0, 0, 34, 6), datagram);
        Assert.True(inbox.RunUntil(() => card.Frames.Any(frame => frame.Bytes is [.., _] bytes
            && bytes.Length >= 42 && bytes[12] == 8 && bytes[13] == 0 && bytes[23] == 1
            && bytes[34] == 3 && bytes[35] == 3)));
    }

    private static NetworkConfig Tap(string name) => new() { Kind = NetworkKind.Tap, Target = name };

    private static bool IsArpReply(byte[] frame) => frame.Length >= 42
        && BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(12)) == 0x0806 && frame[21] == 2;

    private static bool Ip(string arguments)
    {
        try
        {
            using Process process = Process.Start("ip", arguments);
            process.WaitForExit();
            return process.ExitCode == 0;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return false;
        }
    }
}
