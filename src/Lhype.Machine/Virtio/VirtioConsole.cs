// The virtio console (virtio 1.2, 5.3) with one port: /dev/hvc0 in a Linux guest. Made by MachineBuilder for
// --console. Output goes to a sink at once; input waits here until the driver has given a buffer for it.

using System;
using System.Buffers.Binary;
using System.IO;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Virtio;

/// <summary>Takes bytes the guest wrote to a console. Called on the vCPU thread; the span is good during the
/// call.</summary>
public delegate void ConsoleSink(ReadOnlySpan<byte> bytes);

/// <summary>A virtio console device.</summary>
public sealed class VirtioConsole : VirtioDevice
{
    /// <summary>The most one request may print. Drivers send a page or less; beyond this it is abuse, and
    /// dropped.</summary>
    private const int MaxRequestBytes = 1 << 20;

    private const int ReceiveQueue = 0;
    private const int PendingBytes = 4096;

    /// <summary>Feature bits (5.3.3).</summary>
    private const int SizeFeature = 0, EmergencyWrite = 2;

    private const int EmergencyOffset = 8;

    private readonly ConsoleSink _sink;
    private readonly DescriptorChain _receiveChain;
    private readonly byte[] _pending = new byte[PendingBytes];
    private int _pendingStart;
    private int _pendingCount;
    private bool _refused;
    private bool _sizeTold;

    /// <summary>Makes a console of <paramref name="columns"/> by <paramref name="rows"/> characters that
    /// prints to
    /// <paramref name="sink"/>.</summary>
    public VirtioConsole(GuestMemory memory, IInbox inbox, ConsoleSink sink, int columns = 80, int rows = 25)
        : base(memory, inbox, queueCount: 2, queueSize: 64, configBytes: 12)
    {
        _sink = sink;
        _receiveChain = Queues[ReceiveQueue].CreateChain();
        SetSizeFields(columns, rows);
        BinaryPrimitives.WriteUInt32LittleEndian(Config[4..], 1);
    }

    /// <inheritdoc/>
    public override ushort Type => 3;

    /// <inheritdoc/>
    public override uint ClassCode => 0x078000;

    /// <inheritdoc/>
    public override ulong DeviceFeatures => (1UL << SizeFeature) | (1UL << EmergencyWrite);

    /// <summary>Called when there is room for input again, after <see cref="Receive"/> took less than
    /// offered.</summary>
    public Action? RoomAvailable { get; set; }

    /// <summary>Bytes <see cref="Receive"/> would take now.</summary>
    public int Room => PendingBytes - _pendingCount;

    /// <summary>Gives the guest input. Returns how many bytes were taken; offer the rest at
    /// <see cref="RoomAvailable"/>.</summary>
    public int Receive(ReadOnlySpan<byte> bytes)
    {
        // Each round hands on what it can, which may make room for more. RoomAvailable is not called
        // meanwhile.
        _refused = false;
        int taken = 0;
        for (int count = 1; count > 0 && taken < bytes.Length;)
        {
            count = Math.Min(bytes.Length - taken, Room);
            for (int i = 0; i < count; i++)
            {
                _pending[(_pendingStart + _pendingCount++) % PendingBytes] = bytes[taken++];
            }

            Notify(ReceiveQueue);
        }

        _refused = taken < bytes.Length;
        return taken;
    }

    /// <summary>Tells the guest that the terminal has another size.</summary>
    public void Resize(int columns, int rows)
    {
        SetSizeFields(columns, rows);
        ConfigChanged();
    }

    /// <inheritdoc/>
    public override void WriteConfig(int offset, int size, uint value)
    {
        // 5.3.4: works before the driver set anything up; the lowest byte is the character.
        if (offset == EmergencyOffset)
        {
            byte character = (byte)value;
            _sink(new ReadOnlySpan<byte>(in character));
        }
    }

    /// <inheritdoc/>
    public override void Save(BinaryWriter writer)
    {
        base.Save(writer);
        writer.Write(_pendingCount);
        for (int i = 0; i < _pendingCount; i++)
        {
            writer.Write(_pending[(_pendingStart + i) % PendingBytes]);
        }

        writer.Write(_sizeTold);
    }

    /// <inheritdoc/>
    public override void Restore(BinaryReader reader)
    {
        base.Restore(reader);
        int count = reader.ReadInt32();
        if (count is < 0 or > PendingBytes || reader.Read(_pending, 0, count) != count)
        {
            throw new InvalidDataException("A saved virtio console has impossible input.");
        }

        _pendingStart = 0;
        _pendingCount = count;
        _sizeTold = reader.ReadBoolean();
    }

    /// <inheritdoc/>
    protected override void DeviceReset() => _sizeTold = false;

    /// <inheritdoc/>
    protected override void QueueNotified(Virtqueue queue)
    {
        if (queue.Index == ReceiveQueue)
        {
            Deliver(queue);
        }
        else
        {
            Drain(queue);
        }
    }

    /// <inheritdoc/>
    protected override long Serve(Virtqueue queue, DescriptorChain chain)
    {
        // Linux reads the size when it is told of a change and has a console in use, never before.
        if (!_sizeTold)
        {
            _sizeTold = true;
            ConfigChanged();
        }

        int done = 0;
        while (done < MaxRequestBytes)
        {
            ReadOnlySpan<byte> piece = chain.NextReadable(MaxRequestBytes - done);
            if (piece.IsEmpty)
            {
                break;
            }

            _sink(piece);
            chain.Consumed(piece.Length);
            done += piece.Length;
        }

        queue.Complete(chain, 0);
        return done;
    }

    /// <summary>Puts waiting input into the driver's buffers. Notifications stay on only while input
    /// waits.</summary>
    private void Deliver(Virtqueue queue)
    {
        if (_pendingCount == 0)
        {
            queue.SuppressNotifications();
            return;
        }

        do
        {
            while (_pendingCount > 0 && queue.TryPop(_receiveChain))
            {
                queue.Complete(_receiveChain, (uint)FillFromPending(_receiveChain));
            }
        }
        while (_pendingCount > 0 && !queue.ResumeNotifications());

        queue.Signal();
        if (_refused && Room > 0)
        {
            _refused = false;
            RoomAvailable?.Invoke();
        }
    }

    private int FillFromPending(DescriptorChain chain)
    {
        int done = 0;
        while (_pendingCount > 0)
        {
            int run = Math.Min(_pendingCount, PendingBytes - _pendingStart);
            int wrote = chain.Write(_pending.AsSpan(_pendingStart, run));
            if (wrote == 0)
            {
                break;
            }

            _pendingStart = (_pendingStart + wrote) % PendingBytes;
            _pendingCount -= wrote;
            done += wrote;
        }

        return done;
    }

    private void SetSizeFields(int columns, int rows)
    {
        BinaryPrimitives.WriteUInt16LittleEndian(Config, (ushort)Math.Clamp(columns, 1, ushort.MaxValue));
        BinaryPrimitives.WriteUInt16LittleEndian(Config[2..], (ushort)Math.Clamp(rows, 1, ushort.MaxValue));
    }
}
