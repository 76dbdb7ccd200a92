// Dialect A's network card. The device's page is an array of Ethernet addresses, one per peer; a peer's key
// is the page plus four times its number. In 2007 that page was a file all guests of a segment mapped, and
// each sent to every peer's key itself. Here the segment is what --net names (the hub file carries guests of
// every kind): peer 0 stands for all the others and wants every frame, the guest is peer 1. Made by
// LguestDevices.

using System;
using System.IO;
using Lhype.Machine.Bus;
using Lhype.Machine.Net;

namespace Lhype.Machine.Paravirt.Lguest;

/// <summary>A network card of the old bus.</summary>
internal sealed class DmaNet : DmaDevice, INetworkCard
{
    private const ushort GuestSlot = 1;

    /// <summary>The feature that says that the interrupt's timing is fairly random. The other one, frames
    /// without checksums, is not offered: frames leave for guests that check.</summary>
    private const ushort RandomTiming = 0x8000;

    /// <summary>In the first byte of a peer's address: it wants all frames.</summary>
    private const byte Promiscuous = 1, LocallyAdministered = 2;

    private readonly GuestMemory _memory;
    private readonly INetworkBackend _backend;
    private readonly Segmentation _segmentation = new();
    private readonly byte[] _frame = new byte[DmaList.MaxBytes];
    private bool _starved;

    internal DmaNet(GuestMemory memory, INetworkBackend backend, MacAddress mac)
    {
        _memory = memory;
        _backend = backend;
        Mac = mac;
        backend.Connect(this);
    }

    /// <inheritdoc/>
    public MacAddress Mac { get; private set; }

    internal override ushort Type => 2;

    internal override ushort Features => GuestSlot | RandomTiming;

    private uint ReceiveKey => Page + (4 * GuestSlot);

    /// <inheritdoc/>
    public bool Receive(in FrameHeader header, ReadOnlySpan<byte> frame)
    {
        if (!Bus.IsBound(ReceiveKey))
        {
            return true;
        }

        // What is left of a frame taken earlier goes first.
        if (!DeliverSegments())
        {
            return false;
        }

        if (frame.Length is < INetworkBackend.MinFrame or > INetworkBackend.MaxFrame
            || header.Required(frame.Length) is not { } required)
        {
            return true;
        }

        if (required == NetworkOffloads.None)
        {
            return Deliver(frame);
        }

        if (_segmentation.Start(header, frame))
        {
            DeliverSegments();
        }

        return true;
    }

    /// <inheritdoc/>
    public void EndReceive()
    {
    }

    /// <inheritdoc/>
    public void SetLink(bool up)
    {
    }

    /// <inheritdoc/>
    public override void Save(BinaryWriter writer) => writer.Write(Mac.Bits);

    /// <inheritdoc/>
    public override void Restore(BinaryReader reader)
    {
        Mac = new MacAddress(reader.ReadUInt64() & MacAddress.Broadcast.Bits);
        _segmentation.Drop();
        _starved = true;
        _backend.MacChanged();
    }

    internal override void Place() => _memory.TryWrite(Page, [LocallyAdministered | Promiscuous]);

    internal override int Send(DmaList data)
    {
        int length = data.Gather(_frame);
        if (length is < INetworkBackend.MinFrame or > INetworkBackend.MaxPlainFrame)
        {
            return 0;
        }

        _backend.Send(default, _frame.AsSpan(0, length));
        _backend.EndSend();
        return length;
    }

    internal override void BindingsChanged(uint key)
    {
        if (key != ReceiveKey)
        {
            return;
        }

        // The driver publishes its address in its slot, then binds its buffers.
        Span<byte> address = stackalloc byte[MacAddress.Bytes];
        _memory.TryRead(Page + (GuestSlot * MacAddress.Bytes), address);
        address[0] &= 0xFF ^ Promiscuous;
        MacAddress mac = MacAddress.Read(address);
        if (mac.IsStation && mac != Mac)
        {
            Mac = mac;
            _backend.MacChanged();
        }

        _starved = true;
        Retry();
    }

    internal override void Retry()
    {
        if (_starved)
        {
            _starved = false;
            if (DeliverSegments())
            {
                _backend.CardReady();
            }
        }
    }

    private bool DeliverSegments()
    {
        while (_segmentation.Next(out ReadOnlySpan<byte> segment))
        {
            if (!Deliver(segment))
            {
                return false;
            }

            _segmentation.Done();
        }

        return true;
    }

    private bool Deliver(ReadOnlySpan<byte> frame)
    {
        if (!Bus.IsBound(ReceiveKey))
        {
            return true;
        }

        if (!Bus.TryTake(ReceiveKey, out DmaBuffer buffer))
        {
            _starved = true;
            Bus.RetryLater();
            return false;
        }

        // A buffer that is too small stays free for a frame that fits.
        if (frame.Length <= Bus.Buffer.TotalBytes)
        {
            Bus.Buffer.Scatter(frame);
            Bus.Complete(buffer, frame.Length);
        }

        return true;
    }
}
