// Connects a network card to a tap interface of the host (--net tap=NAME), for those with the right to. The
// host's kernel takes and gives unfinished frames, so large TCP packets pass in one piece.

using System;
using System.Net;
using System.Net.Sockets;
using Lhype.Host;

namespace Lhype.Machine.Net;

/// <summary>A card's tap interface.</summary>
public sealed class TapBackend : INetworkBackend
{
    private readonly TapInterface _tap;
    private readonly NetworkHost _host;
    private readonly Action _drain;
    private readonly byte[] _frame = new byte[TapInterface.HeaderBytes + INetworkBackend.MaxFrame];
    private INetworkCard? _card;
    private int _held;              // bytes of a frame that the card had no room for, or 0

    private TapBackend(TapInterface tap, NetworkHost host)
    {
        _tap = tap;
        _host = host;
        _drain = Drain;
        tap.SetOffloads(0);
    }

    /// <inheritdoc/>
    public NetworkOffloads SendOffloads => NetworkOffloads.All;

    /// <summary>Attaches to the interface that <paramref name="network"/> names, and sets it up as it says.
    /// Throws LhypeException.</summary>
    public static TapBackend Open(NetworkConfig network, NetworkHost host)
    {
        TapInterface tap = TapInterface.Open(network.Target ?? "");
        try
        {
            if (network.HostAddress is { } text)
            {
                HostInterface.SetAddress(tap.Name, IPAddress.TryParse(text, out IPAddress? address)
                    && address.AddressFamily == AddressFamily.InterNetwork
                    ? address
                    : throw new LhypeException($"--net tap: address={text} is no IPv4 address."));
            }

            if (network.Bridge is { } bridge)
            {
                HostInterface.AddToBridge(tap.Name, bridge);
            }

            return new TapBackend(tap, host);
        }
        catch
        {
            tap.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public void Connect(INetworkCard card)
    {
        _card = card;
        _tap.Watch(() => _host.Inbox.Post(_drain));
    }

    /// <inheritdoc/>
    public void Send(in FrameHeader header, ReadOnlySpan<byte> frame)
    {
        Span<byte> raw = stackalloc byte[TapInterface.HeaderBytes];
        header.Write(raw);
        _tap.Write(raw, frame);
    }

    /// <inheritdoc/>
    public void CardReady()
    {
        if (_held != 0)
        {
            Drain();
        }
    }

    /// <inheritdoc/>
    public void AcceptedOffloads(NetworkOffloads offloads) => _tap.SetOffloads((int)offloads);

    /// <inheritdoc/>
    public void Dispose() => _tap.Dispose();

    /// <summary>Gives the card what there is to read, as far as it has room.</summary>
    private void Drain()
    {
        if (_card == null)
        {
            return;
        }

        while (_held != 0 || (_held = _tap.Read(_frame)) > 0)
        {
            ReadOnlySpan<byte> frame = _frame.AsSpan(0, _held);
            if (_held > TapInterface.HeaderBytes
                && !_card.Receive(FrameHeader.Read(frame), frame[TapInterface.HeaderBytes..]))
            {
                _card.EndReceive();
                return;
            }

            _held = 0;
        }

        _card.EndReceive();
        _tap.Rearm();
    }
}
