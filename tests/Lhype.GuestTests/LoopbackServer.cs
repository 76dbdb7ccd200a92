// A web server on the host's loopback with one page, and what a test of forwarded ports needs of the host.

using System;
using System.IO;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Threading.Tasks;

namespace Lhype.GuestTests;

/// <summary>Answers every connection with the same page, by HTTP 1.0.</summary>
internal sealed class LoopbackServer : IDisposable
{
    private const int PatienceMs = 60_000;

    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly byte[] _page;

    public LoopbackServer(byte[] page)
    {
        _page = page;
        _listener.Start();
        _ = Task.Run(ServeAll);
    }

    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    /// <summary>A TCP port of the loopback that nobody uses now.</summary>
    public static int FreePort()
    {
        using Socket socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        return ((IPEndPoint)socket.LocalEndPoint!).Port;
    }

    /// <summary>Connects to a port of the loopback, sends a line and returns everything that comes
    /// back.</summary>
    public static byte[] Ask(int port, string line)
    {
        using TcpClient client = new() { ReceiveTimeout = PatienceMs, SendTimeout = PatienceMs };
        client.Connect(IPAddress.Loopback, port);
        using NetworkStream stream = client.GetStream();
        stream.Write(Encoding.ASCII.GetBytes(line));
        using MemoryStream answer = new();
        stream.CopyTo(answer);
        return answer.ToArray();
    }

    public void Dispose() => _listener.Dispose();

    private async Task ServeAll()
    {
        while (true)
        {
            try
            {
                using TcpClient client = await _listener.AcceptTcpClientAsync();
                await Serve(client.GetStream());
            }
            catch (IOException)
            {
                // The guest hung up.
            }
            catch (Exception error) when (error is SocketException or ObjectDisposedException)
            {
                return;
            }
        }
    }

    private async Task Serve(NetworkStream stream)
    {
        using StreamReader request = new(stream, Encoding.ASCII, leaveOpen: true);
        while (await request.ReadLineAsync() is { Length: > 0 })
        {
        }

        string header = $"HTTP/1.0 200 OK\r\nContent-Length: {_page.Length}\r\n\r\n";
        await stream.WriteAsync(Encoding.ASCII.GetBytes(header));
        await stream.WriteAsync(_page);
    }
}
