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
    private INetworkCard? _card;

    private UserNetwork(SlirpStack stack, IInbox inbox)
    {
        _stack = stack;
        _inbox = inbox;
        _framesCame = FramesCame;
    }

    /// <inheritdoc/>
    public NetworkOffloads SendOffloads => NetworkOffloads.None;

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
        if (UserFrameCheck.Passes(frame))
        {
            _stack.TrySend(frame);
        }
    }

    /// <inheritdoc/>
    public void EndSend() => _stack.Flush();

    /// <inheritdoc/>
    public void CardReady() => Deliver();

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
        while (_stack.TryPeek(out ReadOnlySpan<byte> frame) && _card!.Receive(default, frame))
        {
            _stack.Received();
        }

        _card!.EndReceive();
    }
}
