// Stands between a card and any back end and writes every frame that passes, in either direction, to a pcap
// file. Made by NetworkCards for --pcap. Frames are recorded as they pass: one that is not segmented yet
// shows as one large packet, a checksum not computed yet as a wrong one.

using System;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Net;

/// <summary>A back end whose frames are recorded.</summary>
public sealed class CapturedBackend : INetworkBackend, INetworkCard
{
    private readonly INetworkBackend _inner;
    private readonly PcapFile _file;
    private readonly VirtualClock _clock;
    private INetworkCard? _card;

    /// <summary>Records what passes to and from <paramref name="inner"/>; owns both it and
    /// <paramref name="file"/>.</summary>
    public CapturedBackend(INetworkBackend inner, PcapFile file, VirtualClock clock)
    {
        _inner = inner;
        _file = file;
        _clock = clock;
    }

    /// <inheritdoc/>
    public NetworkOffloads SendOffloads => _inner.SendOffloads;

    /// <inheritdoc/>
    public MacAddress Mac => _card?.Mac ?? default;

    /// <inheritdoc/>
    public void Connect(INetworkCard card)
    {
        _card = card;
        _inner.Connect(this);
    }

    /// <inheritdoc/>
    public void Send(in FrameHeader header, ReadOnlySpan<byte> frame)
    {
        _file.Write(_clock.WallNs, frame);
        _inner.Send(header, frame);
    }

    /// <inheritdoc/>
    public void EndSend()
    {
        _inner.EndSend();
        _file.Flush();
    }

    /// <inheritdoc/>
    public void CardReady() => _inner.CardReady();

    /// <inheritdoc/>
    public void AcceptedOffloads(NetworkOffloads offloads) => _inner.AcceptedOffloads(offloads);

    /// <inheritdoc/>
    public void MacChanged() => _inner.MacChanged();

    /// <inheritdoc/>
    public bool Receive(in FrameHeader header, ReadOnlySpan<byte> frame)
    {
        // Not before it is taken: a frame that has to wait is offered again.
        bool taken = _card == null || _card.Receive(header, frame);
        if (taken)
        {
            _file.Write(_clock.WallNs, frame);
        }

        return taken;
    }

    /// <inheritdoc/>
    public void EndReceive()
    {
        _card?.EndReceive();
        _file.Flush();
    }

    /// <inheritdoc/>
    public void SetLink(bool up) => _card?.SetLink(up);

    /// <inheritdoc/>
    public void Dispose()
    {
        _inner.Dispose();
        _file.Dispose();
    }
}
