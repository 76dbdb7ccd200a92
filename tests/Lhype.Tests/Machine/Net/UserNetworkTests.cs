// The user network as a guest meets it, frame by frame, with real sockets of the host at the other end.

using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Lhype.Host;
using Lhype.Machine.Net;
using Xunit;

namespace Lhype.Tests.Machine.Net;

public sealed class UserNetworkTests
{
    private const int GuestPort = 40_000;
    private const uint FirstSequence = 1000;

    [Fact]
    public void The_gateway_answers_arp()
    {
        using HandMadeGuest guest = new();
        guest.SendArp(HandMadeGuest.Gateway);
        byte[] answer = guest.Expect(frame => HandMadeGuest.IsArp(frame, 2));
        Assert.Equal([10, 0, 2, 2], answer[28..32]);
        Assert.Equal([0x52, 0x55, 10, 0, 2, 2], answer[22..28]);
    }

    [Fact]
    public void Dhcp_gives_address_router_and_name_server()
    {
        using HandMadeGuest guest = new();
        byte[] offer = AskDhcp(guest, [53, 1, 1]);
        Assert.Equal(2, DhcpOption(offer, 53)[0]);
        Assert.Equal([10, 0, 2, 15], offer[16..20]);
        byte[] acknowledge = AskDhcp(guest, [53, 1, 3, 50, 4, 10, 0, 2, 15]);
        Assert.Equal(5, DhcpOption(acknowledge, 53)[0]);
        Assert.Equal([255, 255, 255, 0], DhcpOption(acknowledge, 1));
        Assert.Equal([10, 0, 2, 2], DhcpOption(acknowledge, 3));
        Assert.Equal([10, 0, 2, 3], DhcpOption(acknowledge, 6));
    }

    [Fact]
    public void A_tcp_connection_to_the_gateway_reaches_the_host_s_loopback()
    {
        using TcpListener listener = new(IPAddress.Loopback, 0);
        listener.Start();
        int port = ((IPEndPoint)listener.LocalEndpoint).Port;
        using HandMadeGuest guest = new();
        uint theirs = Connect(guest, port);
        using Socket server = listener.AcceptSocket();
        guest.SendTcp(GuestPort, port, FirstSequence + 1, theirs, HandMadeGuest.Ack | HandMadeGuest.Psh,
            "hello host"u8.ToArray());
        Assert.Equal("hello host", Read(server, 10));

        server.Send("hello guest"u8);
        HandMadeGuest.Segment data = guest.ExpectTcp(GuestPort, HandMadeGuest.Psh);
        Assert.Equal("hello guest", Encoding.ASCII.GetString(data.Payload));
        theirs = data.Sequence + 11;
        guest.SendTcp(GuestPort, port, FirstSequence + 11, theirs, HandMadeGuest.Ack | HandMadeGuest.Fin);
        Assert.Equal("", Read(server, 1));
    }

    [Fact]
    public void Unfinished_frames_of_the_guest_are_finished()
    {
        using TcpListener listener = new(IPAddress.Loopback, 0);
        listener.Start();
        int port = ((IPEndPoint)listener.LocalEndpoint).Port;
        using HandMadeGuest guest = new();
        uint theirs = Connect(guest, port);
        using Socket server = listener.AcceptSocket();
        byte[] payload = new byte[20_000];
        new Random(1).NextBytes(payload);
        byte[] frame =
            HandMadeFrames.Tcp(GuestPort, port, FirstSequence + 1, theirs, HandMadeGuest.Ack, payload);
        frame[50] ^= 0x55;
        Assert.True(guest.Network.SendOffloads.HasFlag(NetworkOffloads.Checksum | NetworkOffloads.Tso4));
        guest.Send(frame, new FrameHeader(FrameHeader.NeedsChecksum, FrameHeader.GsoTcp4, 54, 1460, 34, 16));
        Assert.Equal(Encoding.Latin1.GetString(payload), Read(server, payload.Length));
    }

    [Fact]
    public void A_guest_that_takes_large_frames_gets_them()
    {
        using TcpListener listener = new(IPAddress.Loopback, 0);
        listener.Start();
        int port = ((IPEndPoint)listener.LocalEndpoint).Port;
        using HandMadeGuest guest = new();
        guest.Network.AcceptedOffloads(NetworkOffloads.Checksum | NetworkOffloads.Tso4);
        uint theirs = Connect(guest, port);
        using Socket server = listener.AcceptSocket();
        byte[] payload = new byte[300_000];
        new Random(2).NextBytes(payload);
        server.SendAsync(payload);

        // Their first window is one segment; it grows with each acknowledgement.
        using MemoryStream received = new();
        int largest = 0;
        while (received.Length < payload.Length)
        {
            HandMadeGuest.Segment segment = guest.ExpectTcp(GuestPort, HandMadeGuest.Ack);
            Assert.Equal(theirs, segment.Sequence);
            received.Write(segment.Payload);
            theirs += (uint)segment.Payload.Length;
            guest.SendTcp(GuestPort, port, FirstSequence + 1, theirs, HandMadeGuest.Ack);
            if (segment.Payload.Length > largest)
            {
                largest = segment.Payload.Length;
                byte type = largest > 1460 ? FrameHeader.GsoTcp4 : FrameHeader.GsoNone;
                Assert.Equal(type, guest.LastHeader.GsoType);
            }
        }

        Assert.Equal(payload, received.ToArray());
        Assert.InRange(largest, 3 * 1460, 65_535);
    }

    [Fact]
    public void A_refused_connection_is_reset()
    {
        using Socket bound = new(SocketType.Stream, ProtocolType.Tcp);
        bound.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        int port = ((IPEndPoint)bound.LocalEndPoint!).Port;
        using HandMadeGuest guest = new();
        guest.SendTcp(GuestPort, port, FirstSequence, 0, HandMadeGuest.Syn);
        guest.ExpectTcp(GuestPort, HandMadeGuest.Rst);
    }

    [Fact]
    public void Udp_goes_there_and_back()
    {
        using Socket server = new(SocketType.Dgram, ProtocolType.Udp);
        server.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        server.ReceiveTimeout = 10_000;
        int port = ((IPEndPoint)server.LocalEndPoint!).Port;
        using HandMadeGuest guest = new();
        guest.SendUdp(GuestPort, port, "question"u8.ToArray());
        byte[] buffer = new byte[100];
        EndPoint peer = new IPEndPoint(IPAddress.Any, 0);
        int count = server.ReceiveFrom(buffer, ref peer);
        Assert.Equal("question", Encoding.ASCII.GetString(buffer, 0, count));
        server.SendTo("answer"u8, peer);
        (int from, byte[] payload) = guest.ExpectUdp(GuestPort);
        Assert.Equal(port, from);
        Assert.Equal("answer", Encoding.ASCII.GetString(payload));
    }

    [Fact]
    public void A_datagram_in_fragments_arrives_whole()
    {
        using Socket server = new(SocketType.Dgram, ProtocolType.Udp);
        server.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        server.ReceiveTimeout = 10_000;
        int port = ((IPEndPoint)server.LocalEndPoint!).Port;
        using HandMadeGuest guest = new();
        byte[] payload = new byte[65_507];
        new Random(5).NextBytes(payload);
        List<byte[]> fragments = HandMadeFrames.Fragments(
            HandMadeFrames.Udp(GuestPort, port, payload, HandMadeGuest.Gateway), identification: 7);

        // First with a hole, of which nothing may come.
        fragments.Where((_, index) => index != 3).ToList().ForEach(fragment => guest.Send(fragment));
        fragments.ForEach(fragment => guest.Send(fragment));
        byte[] buffer = new byte[70_000];
        int count = server.Receive(buffer);
        Assert.Equal(payload, buffer[..count]);
        Assert.False(server.Poll(100_000, SelectMode.SelectRead));
    }

    [Fact]
    public void A_forwarded_tcp_port_leads_to_the_guest()
    {
        int port = FreePort(ProtocolType.Tcp);
        using HandMadeGuest guest = new($"tcp:127.0.0.1:{port}-:22");
        Greet(guest, port);
    }

    [Fact]
    public void A_forwarded_udp_port_leads_to_the_guest()
    {
        int port = FreePort(ProtocolType.Udp);
        using HandMadeGuest guest = new($"udp:127.0.0.1:{port}-10.0.2.15:53");
        guest.SendArp(HandMadeGuest.Gateway);
        using Socket client = new(SocketType.Dgram, ProtocolType.Udp);
        client.ReceiveTimeout = 10_000;
        client.Connect(IPAddress.Loopback, port);
        client.Send("question"u8);
        (int from, byte[] payload) = guest.ExpectUdp(53);
        Assert.Equal("question", Encoding.ASCII.GetString(payload));
        guest.SendUdp(53, from, "answer"u8.ToArray());
        Assert.Equal("answer", Read(client, 6));
    }

    [Fact]
    public void A_port_that_is_taken_is_an_error_with_option_and_port()
    {
        using TcpListener listener = new(IPAddress.Loopback, 0);
        listener.Start();
        int port = ((IPEndPoint)listener.LocalEndpoint).Port;
        LhypeException error = Assert.Throws<LhypeException>(() =>
            new HandMadeGuest($"tcp:127.0.0.1:{port}-:22"));
        Assert.Equal($"--net user,hostfwd=tcp:127.0.0.1:{port}-:22: TCP port {port} of the host is in use; "
            + "choose another.", error.Message);
    }

    [Theory]
    [InlineData("")]
    [InlineData("2222-22")]
    [InlineData("tcp:2222-:22")]
    [InlineData("tcp::2222")]
    [InlineData("tcp::2222-22")]
    [InlineData("icmp::2222-:22")]
    [InlineData("tcp::0-:22")]
    [InlineData("tcp::65536-:22")]
    [InlineData("tcp::+1-:22")]
    [InlineData("tcp::2222-:")]
    [InlineData("tcp:localhost:2222-:22")]
    [InlineData("tcp:1:2222-:22")]
    [InlineData("tcp::2222-::1:22")]
    [InlineData("tcp::2222-:22-:23")]
    public void A_bad_rule_is_an_error_that_names_it(string rule)
    {
        LhypeException error = Assert.Throws<LhypeException>(() => PortForward.Parse(rule));
        Assert.Contains($"hostfwd={rule}", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Parts_of_a_rule_may_be_left_out()
    {
        Assert.Equal(new SlirpForward(false, 0, 2222, 0, 22, "::2222-:22"), PortForward.Parse("::2222-:22"));
        string full = "udp:127.0.0.1:53-10.0.2.15:54";
        Assert.Equal(new SlirpForward(true, 0x0100_007F, 53, 0x0F02_000A, 54, full), PortForward.Parse(full));
    }

    [Fact]
    public void Frames_wait_for_a_guest_without_buffers()
    {
        using HandMadeGuest guest = new() { Room = 1 };
        guest.SendArp(HandMadeGuest.Gateway);
        guest.Expect(frame => HandMadeGuest.IsArp(frame, 2));
        guest.SendArp(HandMadeGuest.Gateway);
        Assert.True(guest.Work(10_000));
        Assert.Equal(0, guest.FramesWaiting);
        guest.Room = 1;
        guest.Network.CardReady();
        Assert.Equal(1, guest.FramesWaiting);
    }

    [Fact]
    public void After_its_end_no_socket_is_left_and_the_next_machine_gets_the_same_port()
    {
        int port = FreePort(ProtocolType.Tcp);
        for (int life = 0; life < 3; life++)
        {
            using HandMadeGuest guest = new($"tcp:127.0.0.1:{port}-:22");
            using Socket client = Greet(guest, port);
            guest.Dispose();
            Assert.Equal("", Read(client, 1));
        }

        using Socket late = new(SocketType.Stream, ProtocolType.Tcp);
        Assert.Throws<SocketException>(() => late.Connect(IPAddress.Loopback, port));
    }

    [Fact]
    public void What_the_guest_sent_last_still_arrives()
    {
        using Socket server = new(SocketType.Dgram, ProtocolType.Udp);
        server.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        server.ReceiveTimeout = 10_000;
        HandMadeGuest guest = new();
        for (int i = 0; i < 200; i++)
        {
            guest.SendUdp(GuestPort, ((IPEndPoint)server.LocalEndPoint!).Port, [(byte)i]);
        }

        guest.Dispose();
        byte[] buffer = new byte[10];
        for (int i = 0; i < 200; i++)
        {
            server.Receive(buffer);
            Assert.Equal(i, buffer[0]);
        }
    }

    [Fact]
    public void Damaged_frames_harm_nobody()
    {
        using Socket udp = new(SocketType.Dgram, ProtocolType.Udp);
        udp.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        using TcpListener tcp = new(IPAddress.Loopback, 0);
        tcp.Start();
        using HandMadeGuest guest = new();
        DamagedFrames frames = new(seed: 3, ((IPEndPoint)udp.LocalEndPoint!).Port,
            ((IPEndPoint)tcp.LocalEndpoint).Port);
        for (int i = 0; i < 20_000; i++)
        {
            guest.Send(frames.Next());
            while (guest.Work(0))
            {
            }
        }

        guest.SendArp(HandMadeGuest.Gateway);
        guest.Expect(frame => HandMadeGuest.IsArp(frame, 2) && frame[31] == 2);
    }

    [Fact]
    public void A_guest_cannot_use_up_the_process_s_descriptors()
    {
        using Socket server = new(SocketType.Dgram, ProtocolType.Udp);
        server.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        int port = ((IPEndPoint)server.LocalEndPoint!).Port;
        using HandMadeGuest guest = new(maxSockets: 100);
        for (int from = 1024; from < 4096; from++)
        {
            guest.SendUdp(from, port, [1]);
        }

        guest.SendArp(HandMadeGuest.Gateway);
        guest.Expect(frame => HandMadeGuest.IsArp(frame, 2));
        HashSet<int> ports = [];
        byte[] buffer = new byte[10];
        EndPoint peer = new IPEndPoint(IPAddress.Any, 0);
        while (server.Poll(100_000, SelectMode.SelectRead))
        {
            server.ReceiveFrom(buffer, ref peer);
            ports.Add(((IPEndPoint)peer).Port);
        }

        // The limit is looked at between batches.
        Assert.InRange(ports.Count, 90, 100 + 64);
    }

    // The guest's side of a connection to GuestPort of ours; returns the sequence number of their first byte.
    private static uint Connect(HandMadeGuest guest, int port)
    {
        guest.SendTcp(GuestPort, port, FirstSequence, 0, HandMadeGuest.Syn);
        HandMadeGuest.Segment answer = guest.ExpectTcp(GuestPort, HandMadeGuest.Syn | HandMadeGuest.Ack);
        Assert.Equal(FirstSequence + 1, answer.Acknowledge);
        guest.SendTcp(GuestPort, port, FirstSequence + 1, answer.Sequence + 1, HandMadeGuest.Ack);
        return answer.Sequence + 1;
    }

    // A connection from the host to port 22 of the guest, which sends a line as an SSH server does.
    private static Socket Greet(HandMadeGuest guest, int port)
    {
        guest.SendArp(HandMadeGuest.Gateway);
        Socket client = new(SocketType.Stream, ProtocolType.Tcp) { ReceiveTimeout = 10_000 };
        client.Connect(IPAddress.Loopback, port);
        HandMadeGuest.Segment syn = guest.ExpectTcp(22, HandMadeGuest.Syn);
        guest.SendTcp(22, syn.From, FirstSequence, syn.Sequence + 1, HandMadeGuest.Syn | HandMadeGuest.Ack);
        guest.ExpectTcp(22, HandMadeGuest.Ack);
        guest.SendTcp(22, syn.From, FirstSequence + 1, syn.Sequence + 1,
            HandMadeGuest.Ack | HandMadeGuest.Psh, "SSH-2.0-lhype"u8.ToArray());
        Assert.Equal("SSH-2.0-lhype", Read(client, 13));
        return client;
    }

    private static byte[] AskDhcp(HandMadeGuest guest, byte[] options)
    {
        byte[] message = new byte[300];
        message[0] = 1;
        message[1] = 1;
        message[2] = 6;
        message[4] = 0x77;
        byte[] mac = [0x02, 0, 0, 1, 0, 0];
        mac.CopyTo(message, 28);
        byte[] cookie = [99, 130, 83, 99, .. options, 255];
        cookie.CopyTo(message, 236);
        guest.SendUdp(68, 67, message, HandMadeGuest.Broadcast);
        (int from, byte[] answer) = guest.ExpectUdp(68);
        Assert.Equal(67, from);
        Assert.Equal(0x77, answer[4]);
        return answer;
    }

    private static byte[] DhcpOption(byte[] message, int wanted)
    {
        for (int i = 240; message[i] != 255; i += 2 + message[i + 1])
        {
            if (message[i] == wanted)
            {
                return message[(i + 2)..(i + 2 + message[i + 1])];
            }
        }

        throw new InvalidOperationException($"DHCP option {wanted} is missing.");
    }

    private static string Read(Socket socket, int count)
    {
        socket.ReceiveTimeout = 10_000;
        byte[] buffer = new byte[count];
        int done = 0;
        for (int part = 1; part > 0 && done < count; done += part)
        {
            part = socket.Receive(buffer, done, count - done, SocketFlags.None);
        }

        return Encoding.Latin1.GetString(buffer, 0, done);
    }

    private static int FreePort(ProtocolType protocol)
    {
        SocketType type = protocol == ProtocolType.Tcp ? SocketType.Stream : SocketType.Dgram;
        using Socket socket = new(AddressFamily.InterNetwork, type, protocol);
        socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        return ((IPEndPoint)socket.LocalEndPoint!).Port;
    }
}
