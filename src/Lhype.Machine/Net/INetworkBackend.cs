// The boundary between a network card (VirtioNet) and what it is connected to (hub file, tap, user network).
// Both sides are called on the vCPU's thread only; a back end with threads of its own posts to the machine's
// inbox. A frame is a span that is good during the call: whoever wants to keep it copies it, into memory it
// allocated at set-up.
//
// Frames may be unfinished in the way virtio_net_hdr describes (FrameHeader): the checksum missing, or a TCP
// packet larger than the wire allows. A back end gets such frames only within what its SendOffloads say. It
// may deliver any: a card whose guest did not agree to one finishes it in software (Segmentation).

using System;

namespace Lhype.Machine.Net;

/// <summary>What may be left undone in a frame.</summary>
[Flags]
public enum NetworkOffloads
{
    /// <summary>Frames are complete, at most <see cref="INetworkBackend.MaxPlainFrame"/> bytes.</summary>
    None = 0,
    /// <summary>The TCP or UDP checksum may be missing.</summary>
    Checksum = 1,
    /// <summary>TCP over IPv4 may be unsegmented. Implies <see cref="Checksum"/>.</summary>
    Tso4 = 2,
    /// <summary>TCP over IPv6 may be unsegmented. Implies <see cref="Checksum"/>.</summary>
    Tso6 = 4,
    /// <summary>Unsegmented TCP may have the congestion bit CWR set.</summary>
    TsoEcn = 8,
    /// <summary>All of these.</summary>
    All = Checksum | Tso4 | Tso6 | TsoEcn,
}

/// <summary>The card's side: what a back end sees of the card it feeds.</summary>
public interface INetworkCard
{
    /// <summary>The card's address now; the guest may change it.</summary>
    MacAddress Mac { get; }

    /// <summary>Gives the guest one frame, Ethernet header first, without its checksum sequence. Both the
    /// header and the frame may come from a hostile stranger. False: the guest has no buffers now, nothing
    /// was taken; offer the frame again at <see cref="INetworkBackend.CardReady"/>, or drop it. True: taken,
    /// or dropped for good (malformed, filtered, too large). Call <see cref="EndReceive"/> after one or
    /// several.</summary>
    bool Receive(in FrameHeader header, ReadOnlySpan<byte> frame);

    /// <summary>Interrupts the guest, if it wants, for the frames received since the last call.</summary>
    void EndReceive();

    /// <summary>Tells the guest whether the cable is plugged in. It is, until told otherwise.</summary>
    void SetLink(bool up);
}

/// <summary>What a network card is connected to.</summary>
public interface INetworkBackend : IDisposable
{
    /// <summary>The smallest frame: an Ethernet header.</summary>
    const int MinFrame = 14;

    /// <summary>The largest frame with no segmentation left to do: 1500 bytes behind an Ethernet header with
    /// two VLAN tags.</summary>
    const int MaxPlainFrame = 1522;

    /// <summary>The largest frame of all: an IP packet of 64 KiB behind such a header, rounded up.</summary>
    const int MaxFrame = 65536 + 64;

    /// <summary>What may be left undone in frames given to <see cref="Send"/>. Constant.</summary>
    NetworkOffloads SendOffloads { get; }

    /// <summary>Plugs the back end into its card, once, before anything else.</summary>
    void Connect(INetworkCard card);

    /// <summary>The guest sends a frame of <see cref="MinFrame"/> to <see cref="MaxFrame"/> bytes, Ethernet
    /// header first. The offsets in <paramref name="header"/> lie inside the frame and its flags within
    /// <see cref="SendOffloads"/>: the card has checked. Never waits and never throws; what cannot be sent
    /// is dropped.</summary>
    void Send(in FrameHeader header, ReadOnlySpan<byte> frame);

    /// <summary>The guest has nothing more to send now: wake whoever must hear of the frames.</summary>
    void EndSend()
    {
    }

    /// <summary>The card has room again after <see cref="INetworkCard.Receive"/> gave false.</summary>
    void CardReady();

    /// <summary>The guest's driver started (or started again) and takes frames with these left undone; other
    /// frames cost the card work. <see cref="NetworkOffloads.None"/> after a reset of the card.</summary>
    void AcceptedOffloads(NetworkOffloads offloads)
    {
    }

    /// <summary>The guest changed <see cref="INetworkCard.Mac"/>.</summary>
    void MacChanged()
    {
    }
}
