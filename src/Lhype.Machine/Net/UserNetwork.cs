// The back end of --net user: joins a card to a SlirpStack, which has a thread of its own. The guest finds a
// router and the host itself at 10.0.2.2, a name server at 10.0.2.3, and gets 10.0.2.15 by DHCP. Made by
// NetworkCards.

using System;
using System.Collections.Generic;
using Lhype.Host;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Net;

/// <summary>The host's network through address translation, as any user.</summary>
public sealed class UserNetwork : INetworkBackend
{
    private readonly SlirpStack _stack;
    private readonly IInbox _inbox;
    private readonly Action _framesCame;
    private readonly FragmentJoin _fragments = new();
    private readonly SegmentJoin _join = new();
    private INetworkCard? _card;
    private NetworkOffloads _accepted;

    private UserNetwork(SlirpStack stack, IInbox inbox)
    {
        _stack = stack;
        _inbox = inbox;
        _framesCame = FramesCame;
    }

    /// <summary>The library looks at every checksum, so they are completed here; it takes TCP segments of any
    /// length.</summary>
    public NetworkOffloads SendOffloads => NetworkOffloads.Checksum | NetworkOffloads.Tso4;

    /// <summary>Makes the network, with the ports of the host that <paramref name="forwards"/> (rules of
    /// <see cref="PortForward"/>) lead into it, and the socket limit of <see cref="SlirpStack"/>. Throws
    /// LhypeException.</summary>
    public static UserNetwork Open(IEnumerable<string> forwards, IInbox inbox, int? maxSockets = null)
    {
        List<SlirpForward> rules = [];
        foreach (string rule in forwards)
        {
            rules.Add(PortForward.Parse(rule));
        }

        return new UserNetwork(new SlirpStack(rules, maxSockets), inbox);
    }

    /// <inheritdoc/>
    public void Connect(INetworkCard card)
    {
        _card = card;
        _stack.Start(() => _inbox.Post(_framesCame));
    }

    /// <inheritdoc/>
    public void Send(in FrameHeader header, ReadOnlySpan<byte> frame)
    {
        if (FragmentJoin.IsFragment(frame))
        {
            frame = _fragments.Add(frame);
        }

        if (!UserFrameCheck.Passes(frame) || !_stack.TryReserve(frame.Length, out Span<byte> copy))
        {
            return;
        }

        frame.CopyTo(copy);
        if ((header.Flags & FrameHeader.NeedsChecksum) != 0)
        {
            UserFrameCheck.Complete(copy);
        }

        _stack.Send();
    }

    /// <inheritdoc/>
    public void EndSend() => _stack.Flush();

    /// <inheritdoc/>
    public void CardReady() => Deliver();

    /// <inheritdoc/>
    public void AcceptedOffloads(NetworkOffloads offloads) => _accepted = offloads;

    /// <inheritdoc/>
    public void Dispose() => _stack.Dispose();

    private void FramesCame()
    {
        _stack.StartReceiving();
        Deliver();
    }

    // What the guest has no buffer for stays in the stack's ring, which drops what comes when it is full.
    private void Deliver()
    {
        bool joins = _accepted.HasFlag(NetworkOffloads.Tso4);
        while (_stack.TryPeek(out ReadOnlySpan<byte> frame))
        {
            if ((joins || _join.IsEmpty) && _join.TryAdd(frame))
            {
                _stack.Received();
            }
            else if (!Offer())
            {
                break;
            }
        }

        if (!_join.IsEmpty)
        {
            Offer();
        }

        _card!.EndReceive();
    }

    private bool Offer()
    {
        ReadOnlySpan<byte> frame = _join.Peek(out FrameHeader header);
        if (!_accepted.HasFlag(NetworkOffloads.Checksum))
        {
            header = header with { Flags = (byte)(header.Flags & ~FrameHeader.DataValid) };
        }

        bool taken = _card!.Receive(header, frame);
        if (taken)
        {
            _join.Clear();
        }

        return taken;
    }
}
