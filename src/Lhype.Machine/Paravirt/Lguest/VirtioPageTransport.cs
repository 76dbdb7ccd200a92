// One virtio device of a guest that finds its devices on a descriptor page (dialects B to E): the entry on
// the page, the rings behind it and what NOTIFY means to them. The host lays out the rings (legacy layout,
// virtio 1.2, 2.7.2), so a driver has nothing to configure: it reads where they are and uses them. Made by
// VirtioPage.
//
// What the guest later writes over the entry's numbers means nothing: only the status byte and the accepted
// features are ever read back.

using System;
using System.Buffers.Binary;
using System.IO;
using Lhype.Machine.Bus;
using Lhype.Machine.Virtio;

namespace Lhype.Machine.Paravirt.Lguest;

/// <summary>A virtio device with its entry on the descriptor page.</summary>
internal sealed class VirtioPageTransport : IVirtioTransport, ISaveable
{
    internal const int PageBytes = 4096;

    private const byte StatusFailed = 0x80;
    private const int FeatureBytes = 4;

    /// <summary>Dialect B: types of fields. The guest sets bit 7 of a type once it has used the
    /// field.</summary>
    private const byte FieldQueue = 2, FieldFeatures = 0x40;

    private readonly VirtioDevice _device;
    private readonly LguestBoard _board;
    private readonly ulong _rings;
    private readonly int _firstInterrupt;
    private readonly byte[] _entry;
    private readonly int _statusOffset;
    private readonly int _configOffset;
    private readonly int _acceptedOffset;
    private readonly ulong _offered;
    private ulong _features;
    private State _state;

    /// <summary>Gives <paramref name="device"/> an entry at <paramref name="entryAddress"/>, rings from
    /// <paramref name="rings"/> on and one interrupt per queue from <paramref name="firstInterrupt"/>
    /// on.</summary>
    internal VirtioPageTransport(
        VirtioDevice device, LguestBoard board, ulong entryAddress, ulong rings, int firstInterrupt)
    {
        _device = device;
        _board = board;
        _rings = rings;
        _firstInterrupt = firstInterrupt;
        EntryAddress = entryAddress;
        bool tagged = board.Dialect.Devices == LguestDeviceModel.TaggedPage;
        OldestHeaders = tagged;
        _offered = tagged ? device.LegacyFeatures : OfferedOnPage(device);
        _entry = tagged ? BuildTagged(out _acceptedOffset) : Build(out _configOffset, out _acceptedOffset);
        _statusOffset = tagged ? 2 : 4;
        device.Attach(this);
    }

    private enum State : byte
    {
        /// <summary>After a reset: the rings are zero.</summary>
        Reset,
        /// <summary>The driver uses the queues.</summary>
        Started,
        /// <summary>The driver gave up.</summary>
        Failed,
        /// <summary>The driver broke a rule; the guest is being killed.</summary>
        Broken,
    }

    /// <summary>Guest-physical address of the entry: what NOTIFY is called with when the status
    /// changed.</summary>
    internal ulong EntryAddress { get; }

    /// <summary>Length of the entry.</summary>
    internal int EntryBytes => _entry.Length;

    /// <summary>Pages of all rings.</summary>
    internal int RingPages => RingPagesOf(_device);

    /// <summary>The device's queues.</summary>
    internal int QueueCount => _device.Queues.Length;

    /// <inheritdoc/>
    public bool Running => _state == State.Started;

    /// <inheritdoc/>
    public ulong Features => _features;

    /// <inheritdoc/>
    public bool OldestHeaders { get; }

    /// <summary>Pages the rings of <paramref name="device"/> take.</summary>
    internal static int RingPagesOf(VirtioDevice device)
    {
        int pages = 0;
        foreach (Virtqueue queue in device.Queues)
        {
            pages += PagesOf(queue);
        }

        return pages;
    }

    /// <summary>Guest-physical address of a queue's ring: what NOTIFY is called with as a kick.</summary>
    internal ulong RingAddress(int index)
    {
        ulong address = _rings;
        for (int i = 0; i < index; i++)
        {
            address += (ulong)PagesOf(_device.Queues[i]) * PageBytes;
        }

        return address;
    }

    /// <summary>Writes the entry.</summary>
    internal void Place() => _board.Memory.TryWrite(EntryAddress, _entry);

    /// <summary>NOTIFY with the entry's address: the driver changed the status byte.</summary>
    internal void StatusChanged()
    {
        Span<byte> status = stackalloc byte[1];
        if (_state == State.Broken || !_board.Memory.TryRead(EntryAddress + (ulong)_statusOffset, status))
        {
            return;
        }

        if (status[0] == 0)
        {
            Reset();
        }
        else if ((status[0] & StatusFailed) != 0)
        {
            _state = State.Failed;
        }
        else if (_state == State.Reset)
        {
            Start();
        }
    }

    /// <summary>NOTIFY with the address of a ring. Drivers that do not announce their start (B, and C before
    /// it learned to) start with their first kick.</summary>
    internal void Kick(int queue)
    {
        if (_state == State.Reset)
        {
            Start();
        }

        _device.Notify(queue);
    }

    /// <inheritdoc/>
    public void InterruptQueue(int index) => _board.RaiseInterrupt(_firstInterrupt + index);

    /// <inheritdoc/>
    public void ConfigChanged()
    {
        // There is no interrupt for it: a driver sees the change when it next looks.
        if (_configOffset != 0)
        {
            CopyConfig(_entry.AsSpan(_configOffset));
            _board.Memory.TryWrite(EntryAddress + (ulong)_configOffset, _entry.AsSpan(_configOffset));
        }
    }

    /// <inheritdoc/>
    public void Fail(string reason)
    {
        _state = State.Broken;
        _board.Machine.Kill($"the driver of virtio device type {_device.Type} broke the rules: {reason}");
    }

    /// <inheritdoc/>
    public void Save(BinaryWriter writer)
    {
        writer.Write((byte)_state);
        writer.Write(_features);
        foreach (Virtqueue queue in _device.Queues)
        {
            queue.Save(writer);
        }

        _device.Save(writer);
    }

    /// <inheritdoc/>
    public void Restore(BinaryReader reader)
    {
        _device.Reset();
        State state = (State)reader.ReadByte();
        ulong features = reader.ReadUInt64();
        if (state > State.Broken || (features & ~_offered) != 0)
        {
            throw new InvalidDataException("A saved virtio device has an impossible state or feature.");
        }

        _state = state;
        _features = features;
        foreach (Virtqueue queue in _device.Queues)
        {
            queue.Restore(reader);
        }

        _device.Restore(reader);
        NotifyAll();
    }

    /// <summary>What the page offers of a device's features. A console's emergency register needs a
    /// configuration space that notices writes, which memory does not.</summary>
    private static ulong OfferedOnPage(VirtioDevice device)
    {
        const ulong AnyDevice = 0xFF_FFFF, ConsoleSize = 1 << 0;
        ulong mask = device.Type == 3 ? ConsoleSize : AnyDevice;
        return (device.DeviceFeatures & mask) | device.LegacyFeatures
            | (1UL << VirtioFeature.AnyLayout) | (1UL << VirtioFeature.IndirectDesc)
            | (1UL << VirtioFeature.EventIdx);
    }

    private static int DriverAreaOf(Virtqueue queue) => 16 * queue.MaxSize;

    // Flags, index, ring and used_event of the available ring, then the used ring on the next page boundary.
    private static int DeviceAreaOf(Virtqueue queue) =>
        RoundUp(DriverAreaOf(queue) + 6 + (2 * queue.MaxSize));

    private static int PagesOf(Virtqueue queue) =>
        RoundUp(DeviceAreaOf(queue) + 6 + (8 * queue.MaxSize)) / PageBytes;

    private static int RoundUp(int bytes) => (bytes + PageBytes - 1) & -PageBytes;

    /// <summary>The entry of dialects C to E: type, numbers of queues and of feature and configuration bytes,
    /// status; then the queues, the offered and the accepted features, the configuration space.</summary>
    private byte[] Build(out int configOffset, out int acceptedOffset)
    {
        const int Header = 5, QueueBytes = 8;
        int queues = _device.Queues.Length;
        int features = Header + (queues * QueueBytes);
        acceptedOffset = features + FeatureBytes;
        configOffset = acceptedOffset + FeatureBytes;
        byte[] entry = new byte[configOffset + _device.ConfigBytes];
        entry[0] = (byte)_device.Type;
        entry[1] = (byte)queues;
        entry[2] = FeatureBytes;
        entry[3] = (byte)_device.ConfigBytes;
        for (int i = 0; i < queues; i++)
        {
            WriteQueue(entry.AsSpan(Header + (i * QueueBytes)), i);
        }

        BinaryPrimitives.WriteUInt32LittleEndian(entry.AsSpan(features), (uint)_offered);
        CopyConfig(entry.AsSpan(configOffset));
        return entry;
    }

    /// <summary>The entry of dialect B: type, length of the fields, status; then fields of type, length,
    /// value: the queues, the features (offered, accepted), the parts of the configuration space.</summary>
    private byte[] BuildTagged(out int acceptedOffset)
    {
        const int Header = 3;
        Span<byte> entry = stackalloc byte[Header + 255];
        entry.Clear();
        int at = Header;
        for (int i = 0; i < _device.Queues.Length; i++)
        {
            WriteQueue(Field(entry, ref at, FieldQueue, 8), i);
        }

        acceptedOffset = 0;
        if (_offered != 0)
        {
            Field(entry, ref at, FieldFeatures, 2)[0] = ToTaggedFeatures(_offered);
            acceptedOffset = at - 1;
        }

        // A type of field for each part of the configuration space, numbered from 0x41 in its order.
        ReadOnlySpan<int> parts = _device.Type switch
        {
            1 => [0, 6],
            2 => [0, 8, 12, 16],
            _ => [],
        };
        for (int i = 0; i + 1 < parts.Length; i++)
        {
            Span<byte> value = Field(entry, ref at, (byte)(FieldFeatures + 1 + i), parts[i + 1] - parts[i]);
            for (int k = 0; k < value.Length; k++)
            {
                value[k] = _device.ReadConfig(parts[i] + k);
            }
        }

        entry[0] = (byte)_device.Type;
        entry[1] = (byte)(at - Header);
        return entry[..at].ToArray();
    }

    private static Span<byte> Field(Span<byte> entry, ref int at, byte type, int length)
    {
        entry[at] = type;
        entry[at + 1] = (byte)length;
        at += 2 + length;
        return entry.Slice(at - length, length);
    }

    // Dialect B numbers features anew for each type of device; barriers of disks are bit 1 there.
    private static byte ToTaggedFeatures(ulong features) => (byte)(features << 1);

    private static ulong FromTaggedFeatures(byte features) => (ulong)features >> 1;

    private void WriteQueue(Span<byte> at, int index)
    {
        BinaryPrimitives.WriteUInt16LittleEndian(at, (ushort)_device.Queues[index].MaxSize);
        BinaryPrimitives.WriteUInt16LittleEndian(at[2..], (ushort)(_firstInterrupt + index));
        BinaryPrimitives.WriteUInt32LittleEndian(at[4..], (uint)(RingAddress(index) / PageBytes));
    }

    private void CopyConfig(Span<byte> destination)
    {
        for (int i = 0; i < destination.Length; i++)
        {
            destination[i] = _device.ReadConfig(i);
        }
    }

    private void Start()
    {
        if (!TryReadAccepted(out _features))
        {
            Fail("it accepted features that were not offered");
            return;
        }

        for (int i = 0; i < _device.Queues.Length; i++)
        {
            Virtqueue queue = _device.Queues[i];
            ulong ring = RingAddress(i);
            queue.SetAddress(VirtqueueArea.Descriptor, 0, ring);
            queue.SetAddress(VirtqueueArea.Driver, 0, ring + (ulong)DriverAreaOf(queue));
            queue.SetAddress(VirtqueueArea.Device, 0, ring + (ulong)DeviceAreaOf(queue));
            queue.Enable();
        }

        _state = State.Started;
        NotifyAll();
    }

    private bool TryReadAccepted(out ulong features)
    {
        features = 0;
        if (_acceptedOffset == 0)
        {
            return true;
        }

        ulong at = EntryAddress + (ulong)_acceptedOffset;
        if (OldestHeaders)
        {
            Span<byte> tagged = stackalloc byte[1];
            _board.Memory.TryRead(at, tagged);
            features = FromTaggedFeatures(tagged[0]);
            return ToTaggedFeatures(features) == tagged[0] && (features & ~_offered) == 0;
        }

        _board.Memory.TryReadUInt32(at, out uint accepted);
        features = accepted;
        return (features & ~_offered) == 0;
    }

    private void Reset()
    {
        _device.Reset();
        _state = State.Reset;
        _features = 0;
        int length = RingPages * PageBytes;
        if (_board.Memory.TryGetSpan(_rings, length, out Span<byte> rings))
        {
            rings.Clear();
            _board.Memory.Written(_rings, (ulong)length);
        }
    }

    private void NotifyAll()
    {
        for (int i = 0; i < _device.Queues.Length; i++)
        {
            _device.Notify(i);
        }
    }
}
