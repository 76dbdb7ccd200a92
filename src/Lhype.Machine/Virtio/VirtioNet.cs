// The virtio network card (virtio 1.2, 5.1): eth0 and so on in a Linux guest. Made by NetworkCards for each
// --net around an INetworkBackend; works behind any transport, with legacy drivers too. One pair of queues
// and a control queue. Frames cross here between guest memory and a buffer of the card, so that a guest that
// changes a frame while it is being sent changes nothing that was checked.

using System;
using System.Buffers.Binary;
using System.IO;
using Lhype.Machine.Bus;
using Lhype.Machine.Net;

namespace Lhype.Machine.Virtio;

/// <summary>A virtio network card.</summary>
public sealed class VirtioNet : VirtioDevice, INetworkCard
{
    private const int QueueSize = 256;
    private const int ReceiveQueue = 0, SendQueue = 1, ControlQueue = 2;
    private const int StatusOffset = 6, MtuOffset = 10, ConfigurationBytes = 12;
    private const int LinkUp = 1;
    private const ushort Mtu = 1500;
    private const int NumBuffersOffset = FrameHeader.Bytes;

    /// <summary>Feature bits (5.1.3).</summary>
    private const int Csum = 0, GuestCsum = 1, MtuFeature = 3, MacFeature = 5, GuestTso4 = 7, GuestTso6 = 8,
        GuestEcn = 9, HostTso4 = 11, HostTso6 = 12, HostEcn = 13, MergeableBuffers = 15, StatusFeature = 16,
        ControlFeature = 17, ControlRx = 18, ControlMac = 23;

    private readonly INetworkBackend _backend;
    private readonly MacAddress _originalMac;
    private readonly bool _pageTransport;
    private readonly ReceiveFilter _filter = new();
    private readonly Segmentation _segmentation = new();
    private readonly DescriptorChain _firstChain;
    private readonly DescriptorChain _moreChain;
    private readonly byte[] _sendFrame = new byte[INetworkBackend.MaxFrame];
    private NetworkOffloads _accepted;
    private bool _starved = true;

    /// <summary>Makes a card with address <paramref name="mac"/> connected to <paramref name="backend"/>.
    /// <paramref name="pageTransport"/> leaves out what drivers of lguest's descriptor page do not know or
    /// get wrong: the control queue, and large received frames.</summary>
    public VirtioNet(GuestMemory memory, IInbox inbox, INetworkBackend backend, MacAddress mac,
        bool pageTransport = false)
        : base(memory, inbox, queueCount: pageTransport ? 2 : 3, QueueSize, ConfigurationBytes)
    {
        _backend = backend;
        _originalMac = mac;
        _pageTransport = pageTransport;
        _firstChain = Queues[ReceiveQueue].CreateChain();
        _moreChain = Queues[ReceiveQueue].CreateChain();
        mac.Write(Config);
        BinaryPrimitives.WriteUInt16LittleEndian(Config[StatusOffset..], LinkUp);
        BinaryPrimitives.WriteUInt16LittleEndian(Config[MtuOffset..], Mtu);
        backend.Connect(this);
    }

    /// <inheritdoc/>
    public override ushort Type => 1;

    /// <inheritdoc/>
    public override uint ClassCode => 0x020000;

    /// <inheritdoc/>
    public MacAddress Mac => MacAddress.Read(Config);

    /// <inheritdoc/>
    public override ulong DeviceFeatures
    {
        get
        {
            ulong features = Bit(MacFeature) | Bit(StatusFeature) | Bit(GuestCsum);
            NetworkOffloads send = _backend.SendOffloads;
            features |= Bit(Csum, send.HasFlag(NetworkOffloads.Checksum));
            features |= Bit(HostTso4, send.HasFlag(NetworkOffloads.Tso4));
            features |= Bit(HostTso6, send.HasFlag(NetworkOffloads.Tso6));
            features |= Bit(HostEcn, send.HasFlag(NetworkOffloads.TsoEcn));
            return _pageTransport ? features : features | Bit(GuestTso4) | Bit(GuestTso6) | Bit(GuestEcn)
                | Bit(MergeableBuffers) | Bit(MtuFeature) | Bit(ControlFeature) | Bit(ControlRx)
                | Bit(ControlMac);
        }
    }

    /// <summary>The header before each frame has num_buffers, except for legacy drivers that did not ask for
    /// it (5.1.6.1). The oldest lack hdr_len too; they are offered nothing a header could say.</summary>
    private int HeaderBytes => Negotiated(VirtioFeature.Version1) || Negotiated(MergeableBuffers)
        ? FrameHeader.Bytes + 2
        : OldestHeaders ? FrameHeader.Bytes - 2 : FrameHeader.Bytes;

    /// <inheritdoc/>
    public bool Receive(in FrameHeader header, ReadOnlySpan<byte> frame)
    {
        Virtqueue queue = Queues[ReceiveQueue];
        if (!Running || !queue.Enabled)
        {
            return true;
        }

        // What is left of a frame taken earlier goes first.
        if (!DeliverSegments(queue))
        {
            return false;
        }

        if (frame.Length is < INetworkBackend.MinFrame or > INetworkBackend.MaxFrame
            || header.Required(frame.Length) is not { } required
            || (Negotiated(ControlRx) && !_filter.Accepts(MacAddress.Read(frame), Mac)))
        {
            return true;
        }

        if ((required & ~Accepted()) == 0)
        {
            bool plain = header.GsoType == FrameHeader.GsoNone;
            return (plain && frame.Length > INetworkBackend.MaxPlainFrame) || Deliver(queue, header, frame);
        }

        if (_segmentation.Start(header, frame))
        {
            // Taken, whether or not all of it finds buffers now.
            DeliverSegments(queue);
        }

        return true;
    }

    /// <inheritdoc/>
    public void EndReceive() => Queues[ReceiveQueue].Signal();

    /// <inheritdoc/>
    public void SetLink(bool up)
    {
        if (Config[StatusOffset] != (up ? LinkUp : 0))
        {
            Config[StatusOffset] = (byte)(up ? LinkUp : 0);
            ConfigChanged();
        }
    }

    /// <inheritdoc/>
    public override void WriteConfig(int offset, int size, uint value)
    {
        // The address may be written only the legacy way (5.1.4.1); others use the control queue.
        if (Negotiated(VirtioFeature.Version1) || offset + size > MacAddress.Bytes)
        {
            return;
        }

        for (int i = 0; i < size; i++)
        {
            Config[offset + i] = (byte)(value >> (8 * i));
        }

        _backend.MacChanged();
    }

    /// <inheritdoc/>
    public override void Save(BinaryWriter writer)
    {
        base.Save(writer);
        _filter.Save(writer);
    }

    /// <inheritdoc/>
    public override void Restore(BinaryReader reader)
    {
        base.Restore(reader);
        _filter.Restore(reader);
        _starved = true;
        _backend.MacChanged();
    }

    /// <inheritdoc/>
    protected override void DeviceReset()
    {
        _starved = true;
        _segmentation.Drop();
        _filter.Reset();
        SetMac(_originalMac);
        if (_accepted != NetworkOffloads.None)
        {
            _accepted = NetworkOffloads.None;
            _backend.AcceptedOffloads(_accepted);
        }
    }

    /// <inheritdoc/>
    protected override void QueueNotified(Virtqueue queue)
    {
        switch (queue.Index)
        {
            case ReceiveQueue:
                BuffersAdded(queue);
                break;
            case SendQueue:
                Drain(queue);
                _backend.EndSend();
                break;
            default:
                Drain(queue);
                break;
        }
    }

    /// <inheritdoc/>
    protected override long Serve(Virtqueue queue, DescriptorChain chain)
    {
        if (queue.Index == ControlQueue)
        {
            byte answer = Control(chain) ? (byte)0 : (byte)1;
            queue.Complete(chain, (uint)chain.Write(new ReadOnlySpan<byte>(in answer)));
            return 0;
        }

        int length = Gather(chain, out FrameHeader header);
        if (length != 0)
        {
            _backend.Send(header, _sendFrame.AsSpan(0, length));
        }

        queue.Complete(chain, 0);
        return length;
    }

    private static ulong Bit(int feature, bool present = true) => present ? 1UL << feature : 0;

    private NetworkOffloads Offloads(int checksum, int tso4, int tso6, int ecn)
    {
        if (!Negotiated(checksum))
        {
            return NetworkOffloads.None;
        }

        return NetworkOffloads.Checksum
            | (Negotiated(tso4) ? NetworkOffloads.Tso4 : NetworkOffloads.None)
            | (Negotiated(tso6) ? NetworkOffloads.Tso6 : NetworkOffloads.None)
            | (Negotiated(ecn) ? NetworkOffloads.TsoEcn : NetworkOffloads.None);
    }

    private NetworkOffloads Accepted() => Offloads(GuestCsum, GuestTso4, GuestTso6, GuestEcn);

    /// <summary>Copies a frame to send out of guest memory. Returns its length, or 0 for one that cannot
    /// be.</summary>
    private int Gather(DescriptorChain chain, out FrameHeader header)
    {
        int headerBytes = HeaderBytes;
        Span<byte> raw = stackalloc byte[FrameHeader.Bytes + 2];
        raw.Clear();
        header = default;
        if (chain.ReadableBytes < (ulong)(headerBytes + INetworkBackend.MinFrame)
            || chain.ReadableBytes > (ulong)(headerBytes + INetworkBackend.MaxFrame))
        {
            return 0;
        }

        chain.Read(raw[..headerBytes]);
        int length = chain.Read(_sendFrame.AsSpan(0, (int)chain.ReadableBytes - headerBytes));
        header = FrameHeader.Read(raw);
        NetworkOffloads allowed = Offloads(Csum, HostTso4, HostTso6, HostEcn);
        bool fits = header.GsoType != FrameHeader.GsoNone || length <= INetworkBackend.MaxPlainFrame;
        return fits && header.Required(length) is { } required && (required & ~allowed) == 0 ? length : 0;
    }

    /// <summary>The driver gave buffers, or started.</summary>
    private void BuffersAdded(Virtqueue queue)
    {
        NetworkOffloads accepted = Accepted();
        if (accepted != _accepted)
        {
            _accepted = accepted;
            _backend.AcceptedOffloads(accepted);
        }

        if (_starved)
        {
            _starved = false;
            if (DeliverSegments(queue))
            {
                _backend.CardReady();
            }

            queue.Signal();
        }
    }

    private bool DeliverSegments(Virtqueue queue)
    {
        while (_segmentation.Next(out ReadOnlySpan<byte> segment))
        {
            if (!Deliver(queue, default, segment))
            {
                return false;
            }

            _segmentation.Done();
        }

        return true;
    }

    /// <summary>Puts a frame into the driver's buffers. False if there are too few; the driver's next one
    /// then calls <see cref="BuffersAdded"/>.</summary>
    private bool Deliver(Virtqueue queue, in FrameHeader header, ReadOnlySpan<byte> frame)
    {
        queue.SuppressNotifications();
        while (true)
        {
            switch (Scatter(queue, header, frame, out int seen))
            {
                case Outcome.Delivered:
                case Outcome.Dropped:
                    return true;
                default:
                    // Another buffer may have come between the look and the wish to be told.
                    if (queue.ResumeNotifications(seen))
                    {
                        _starved = true;
                        return !Running;
                    }

                    break;
            }
        }
    }

    private enum Outcome
    {
        Delivered,
        Dropped,
        NoBuffers,
    }

    /// <summary>Puts a frame into buffers if they suffice; <paramref name="seen"/> receives how many there
    /// are if not.</summary>
    private Outcome Scatter(Virtqueue queue, in FrameHeader header, ReadOnlySpan<byte> frame, out int seen)
    {
        seen = 0;
        Span<byte> raw = stackalloc byte[FrameHeader.Bytes + 2];
        int headerBytes = HeaderBytes;
        header.Write(raw);
        raw[NumBuffersOffset] = 1;
        raw[NumBuffersOffset + 1] = 0;
        raw = raw[..headerBytes];
        if (!queue.TryPop(_firstChain))
        {
            return Outcome.NoBuffers;
        }

        // A buffer must hold the header (5.1.6.3.1); without merging, the whole frame as well.
        bool merge = Negotiated(MergeableBuffers);
        int needed = headerBytes + (merge ? 0 : frame.Length);
        if (_firstChain.WritableBytes < (ulong)needed)
        {
            queue.PutBack(1);
            return Outcome.Dropped;
        }

        _firstChain.Write(raw);
        int done = _firstChain.Write(frame);
        queue.Stage(_firstChain, (uint)(headerBytes + done));
        int buffers = 1;
        for (; done < frame.Length; buffers++)
        {
            if (!queue.TryPop(_moreChain))
            {
                queue.PutBack(buffers);
                seen = buffers;
                return buffers == queue.Size ? Outcome.Dropped : Outcome.NoBuffers;
            }

            int wrote = _moreChain.Write(frame[done..]);
            queue.Stage(_moreChain, (uint)wrote);
            done += wrote;
        }

        if (buffers > 1)
        {
            _firstChain.WriteAt(NumBuffersOffset, (byte)buffers);
            _firstChain.WriteAt(NumBuffersOffset + 1, (byte)(buffers >> 8));
        }

        queue.Publish();
        return Outcome.Delivered;
    }

    /// <summary>Obeys a command (5.1.6.5). False: refused.</summary>
    private bool Control(DescriptorChain chain)
    {
        const byte ClassReceive = 0, ClassMac = 1, MacTableSet = 0, MacAddressSet = 1;
        Span<byte> command = stackalloc byte[2];
        if (chain.Read(command) != 2)
        {
            return false;
        }

        switch (command[0], command[1])
        {
            case (ClassReceive, _) when Negotiated(ControlRx):
                byte on = 0;
                return chain.Read(new Span<byte>(ref on)) == 1 && _filter.SetMode(command[1], on != 0);
            case (ClassMac, MacTableSet) when Negotiated(ControlRx):
                return _filter.SetTable(chain);
            case (ClassMac, MacAddressSet) when Negotiated(ControlMac):
                Span<byte> address = stackalloc byte[MacAddress.Bytes];
                if (chain.Read(address) != MacAddress.Bytes || !MacAddress.Read(address).IsStation)
                {
                    return false;
                }

                SetMac(MacAddress.Read(address));
                return true;
            default:
                return false;
        }
    }

    private void SetMac(MacAddress mac)
    {
        if (mac != Mac)
        {
            mac.Write(Config);
            _backend.MacChanged();
        }
    }
}
