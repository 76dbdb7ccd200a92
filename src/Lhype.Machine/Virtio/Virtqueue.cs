// The device side of one split virtqueue (virtio 1.2, 2.7): takes requests from the available ring, returns
// them through the used ring and decides when the driver wants to be interrupted. Devices pop and complete;
// the transport configures. A driver that breaks the rules stops its own device (DEVICE_NEEDS_RESET), nothing
// else.

using System;
using System.Buffers.Binary;
using System.IO;
using System.Threading;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Virtio;

/// <summary>One split virtqueue, seen from the device.</summary>
public sealed class Virtqueue
{
    private const ushort AvailNoInterrupt = 1;
    private const ushort UsedNoNotify = 1;

    private readonly VirtioDevice _device;
    private readonly GuestMemory _memory;
    private ushort _nextAvail;
    private ushort _nextUsed;
    private ushort _signalledUsed;
    private ushort _staged;

    internal Virtqueue(VirtioDevice device, GuestMemory memory, int index, int maxSize)
    {
        _device = device;
        _memory = memory;
        Index = index;
        MaxSize = maxSize;
        Size = maxSize;
    }

    /// <summary>Number of this queue in its device.</summary>
    public int Index { get; }

    /// <summary>The most entries this queue can have; a power of two.</summary>
    public int MaxSize { get; }

    /// <summary>Entries, a power of two; chosen by the driver before it enables the queue.</summary>
    public int Size { get; private set; }

    /// <summary>True from when the driver enabled the queue until the device is reset.</summary>
    public bool Enabled { get; private set; }

    /// <summary>Guest-physical address of the descriptor table.</summary>
    public ulong DescriptorArea { get; private set; }

    /// <summary>Guest-physical address of the available ring.</summary>
    public ulong DriverArea { get; private set; }

    /// <summary>Guest-physical address of the used ring.</summary>
    public ulong DeviceArea { get; private set; }

    /// <summary>Makes a chain large enough for every request this queue accepts.</summary>
    public DescriptorChain CreateChain() => new(MaxSize);

    /// <summary>Takes the next request, if there is one. The same <paramref name="chain"/> may be used again
    /// after <see cref="Complete"/>.</summary>
    public bool TryPop(DescriptorChain chain)
    {
        if (!Enabled || !_device.Running
            || !TryReadAvailIndex(out ushort availIndex) || availIndex == _nextAvail)
        {
            return false;
        }

        // A driver cannot have more requests outstanding than the ring has entries.
        if ((ushort)(availIndex - _nextUsed) > Size)
        {
            return Broken("the available index jumped");
        }

        ulong slot = DriverArea + 4 + (2 * (ulong)(_nextAvail & (Size - 1)));
        if (!_memory.TryReadUInt16(slot, out ushort head))
        {
            return Broken("the available ring is not in RAM");
        }

        bool indirect = _device.Negotiated(VirtioFeature.IndirectDesc);
        string? wrong = chain.Load(_memory, DescriptorArea, Size, head, indirect);
        if (wrong != null)
        {
            return Broken(wrong);
        }

        _nextAvail++;
        return true;
    }

    /// <summary>Returns a request to the driver. <paramref name="written"/>: bytes the device wrote, counted
    /// from the first writable one. Call <see cref="Signal"/> after one or several.</summary>
    public void Complete(DescriptorChain chain, uint written)
    {
        Stage(chain, written);
        Publish();
    }

    /// <summary>As <see cref="Complete"/>, but the driver sees nothing of it before <see cref="Publish"/>:
    /// for several requests that only make sense together.</summary>
    public void Stage(DescriptorChain chain, uint written)
    {
        if (!Enabled || !_device.Running)
        {
            return;
        }

        Span<byte> entry = stackalloc byte[8];
        BinaryPrimitives.WriteUInt32LittleEndian(entry, chain.Head);
        BinaryPrimitives.WriteUInt32LittleEndian(entry[4..], written);
        ulong slot = DeviceArea + 4 + (8 * (ulong)((_nextUsed + _staged) & (Size - 1)));
        _staged++;
        if (!_memory.TryWrite(slot, entry))
        {
            Broken("the used ring is not in RAM");
        }
    }

    /// <summary>Shows the driver what was staged.</summary>
    public void Publish()
    {
        // The index last: a driver on another CPU may look at any time, and x86 keeps stores in order.
        _nextUsed += _staged;
        _staged = 0;
        if (Enabled && _device.Running && !_memory.TryWriteUInt16(DeviceArea + 2, _nextUsed))
        {
            Broken("the used ring is not in RAM");
        }
    }

    /// <summary>Puts the last <paramref name="requests"/> taken back, to be taken again, and forgets what was
    /// staged.</summary>
    public void PutBack(int requests)
    {
        _nextAvail -= (ushort)requests;
        _staged = 0;
    }

    /// <summary>Interrupts the driver if requests were completed since the last call and it wants to hear of
    /// them.</summary>
    public void Signal()
    {
        if (!Enabled || !_device.Running || _nextUsed == _signalledUsed)
        {
            return;
        }

        // The used index must be visible before the driver's wish is read, or both sides could wait for the
        // other.
        Interlocked.MemoryBarrier();
        bool wanted;
        if (_device.Negotiated(VirtioFeature.EventIdx))
        {
            _memory.TryReadUInt16(DriverArea + 4 + (2 * (ulong)Size), out ushort usedEvent);
            wanted = (ushort)(_nextUsed - usedEvent - 1) < (ushort)(_nextUsed - _signalledUsed);
        }
        else
        {
            _memory.TryReadUInt16(DriverArea, out ushort flags);
            wanted = (flags & AvailNoInterrupt) == 0;
        }

        _signalledUsed = _nextUsed;
        if (wanted)
        {
            _device.InterruptQueue(Index);
        }
    }

    /// <summary>Tells the driver that the device is at work and needs no notifications. With EVENT_IDX the
    /// event index that was passed already says so.</summary>
    public void SuppressNotifications()
    {
        if (Enabled && _device.Running && !_device.Negotiated(VirtioFeature.EventIdx))
        {
            _memory.TryWriteUInt16(DeviceArea, UsedNoNotify);
        }
    }

    /// <summary>Asks for a notification of the next request. False if one came in meanwhile: take it first.
    /// <paramref name="seen"/> requests that were put back count as known.</summary>
    public bool ResumeNotifications(int seen = 0)
    {
        ushort next = (ushort)(_nextAvail + seen);
        if (!Enabled || !_device.Running)
        {
            return true;
        }

        if (_device.Negotiated(VirtioFeature.EventIdx))
        {
            _memory.TryWriteUInt16(DeviceArea + 4 + (8 * (ulong)Size), next);
        }
        else
        {
            _memory.TryWriteUInt16(DeviceArea, 0);
        }

        Interlocked.MemoryBarrier();
        return !TryReadAvailIndex(out ushort availIndex) || availIndex == next;
    }

    /// <summary>The driver writes queue_size: accepted if it is a power of two the device can
    /// serve.</summary>
    internal void SetSize(uint size)
    {
        if (!Enabled && size != 0 && size <= MaxSize && (size & (size - 1)) == 0)
        {
            Size = (int)size;
        }
    }

    /// <summary>The driver writes one of the three addresses, half by half.</summary>
    internal void SetAddress(VirtqueueArea area, ulong keep, ulong value)
    {
        if (Enabled)
        {
            return;
        }

        switch (area)
        {
            case VirtqueueArea.Descriptor:
                DescriptorArea = (DescriptorArea & keep) | value;
                break;
            case VirtqueueArea.Driver:
                DriverArea = (DriverArea & keep) | value;
                break;
            default:
                DeviceArea = (DeviceArea & keep) | value;
                break;
        }
    }

    /// <summary>The driver sets queue_enable. All three areas must lie in RAM, aligned as 2.7
    /// demands.</summary>
    internal void Enable()
    {
        if (Enabled)
        {
            return;
        }

        ulong size = (ulong)Size;
        if (((DescriptorArea & 15) | (DriverArea & 1) | (DeviceArea & 3)) != 0
            || !_memory.Contains(DescriptorArea, 16 * size)
            || !_memory.Contains(DriverArea, 6 + (2 * size))
            || !_memory.Contains(DeviceArea, 6 + (8 * size)))
        {
            Broken("a ring is misaligned or not in RAM");
            return;
        }

        Enabled = true;
    }

    internal void Reset()
    {
        Enabled = false;
        Size = MaxSize;
        DescriptorArea = DriverArea = DeviceArea = 0;
        _nextAvail = _nextUsed = _signalledUsed = _staged = 0;
    }

    internal void Save(BinaryWriter writer)
    {
        writer.Write(Enabled);
        writer.Write(Size);
        writer.Write(DescriptorArea);
        writer.Write(DriverArea);
        writer.Write(DeviceArea);
        writer.Write(_nextAvail);
        writer.Write(_nextUsed);
        writer.Write(_signalledUsed);
    }

    internal void Restore(BinaryReader reader)
    {
        Reset();
        bool enabled = reader.ReadBoolean();
        int size = reader.ReadInt32();
        SetSize((uint)size);
        DescriptorArea = reader.ReadUInt64();
        DriverArea = reader.ReadUInt64();
        DeviceArea = reader.ReadUInt64();
        _nextAvail = reader.ReadUInt16();
        _nextUsed = reader.ReadUInt16();
        _signalledUsed = reader.ReadUInt16();
        if (enabled)
        {
            Enable();
        }

        if (Size != size || Enabled != enabled)
        {
            throw new InvalidDataException("A saved virtqueue has an impossible size or address.");
        }
    }

    private bool TryReadAvailIndex(out ushort index) => _memory.TryReadUInt16(DriverArea + 2, out index);

    private bool Broken(string reason)
    {
        _device.Fail(reason);
        return false;
    }
}

/// <summary>The three parts of a split virtqueue.</summary>
internal enum VirtqueueArea
{
    /// <summary>The descriptor table.</summary>
    Descriptor,
    /// <summary>The available ring, written by the driver.</summary>
    Driver,
    /// <summary>The used ring, written by the device.</summary>
    Device,
}
