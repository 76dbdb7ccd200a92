// The driver side: finds the virtio structures through the capability list as Linux's virtio_pci_modern does,
// negotiates, and builds split rings in guest RAM.

using System;
using System.Collections.Generic;
using Lhype.Machine.Bus;
using Lhype.Machine.Virtio;
using Xunit;

namespace Lhype.Tests.Machine.Virtio;

internal sealed class MockDriver
{
    public const ulong AllFeatures = ulong.MaxValue;
    public const byte NeedsReset = 64;

    private readonly VirtioRig _rig;
    private readonly Dictionary<int, (uint Bar, uint Offset, uint Length)> _structures = [];
    private readonly uint _notifyMultiplier;
    private ulong _nextPage;

    /// <summary>A driver whose rings and buffers lie from <paramref name="firstPage"/> on.</summary>
    public MockDriver(VirtioRig rig, ulong firstPage = 0x10_0000)
    {
        _rig = rig;
        _nextPage = firstPage;
        Config16(4, 0x0006);
        int at = 0x33;
        while ((at = (int)rig.Transport.ReadConfig(at + 1, 1)) != 0)
        {
            uint id = rig.Transport.ReadConfig(at, 1);
            if (id == 0x11)
            {
                MsixCapability = at;
                continue;
            }

            int kind = (int)rig.Transport.ReadConfig(at + 3, 1);
            uint bar = rig.Transport.ReadConfig(at + 4, 1);
            uint offset = rig.Transport.ReadConfig(at + 8, 4);
            _structures.Add(kind, (bar, offset, rig.Transport.ReadConfig(at + 12, 4)));
            if (kind == 2)
            {
                _notifyMultiplier = rig.Transport.ReadConfig(at + 16, 4);
            }
            else if (kind == 5)
            {
                WindowCapability = at;
            }
        }
    }

    public int MsixCapability { get; }

    public int WindowCapability { get; }

    public ulong Features { get; private set; }

    public byte Status => (byte)Common(0x14, 1);

    public bool Broken => (Status & NeedsReset) != 0;

    public bool HasStructure(int kind) => _structures.ContainsKey(kind);

    public uint StructureLength(int kind) => _structures[kind].Length;

    /// <summary>The guest-physical address of a BAR now.</summary>
    public ulong Bar(uint index) => _rig.Transport.ReadConfig(0x10 + (4 * (int)index), 4) & ~15U;

    public ulong Read(int kind, uint offset, int size) => _rig.Bus.ReadMmio(Address(kind, offset), size);

    public void Write(int kind, uint offset, int size, ulong value) =>
        _rig.Bus.WriteMmio(Address(kind, offset), size, value);

    public ulong Common(uint offset, int size) => Read(1, offset, size);

    public void SetCommon(uint offset, int size, ulong value) => Write(1, offset, size, value);

    public byte ReadIsr() => (byte)Read(3, 0, 1);

    public void Config16(int offset, uint value) => _rig.Transport.WriteConfig(offset, 2, value);

    /// <summary>Reset to FEATURES_OK, as 3.1.1 orders it.</summary>
    public bool Negotiate(ulong wanted)
    {
        SetCommon(0x14, 1, 0);
        Assert.Equal(0, Status);
        SetCommon(0x14, 1, 1);
        SetCommon(0x14, 1, 3);
        SetCommon(0x00, 4, 0);
        ulong offered = Common(0x04, 4);
        SetCommon(0x00, 4, 1);
        offered |= Common(0x04, 4) << 32;
        Features = offered & wanted;
        SetCommon(0x08, 4, 0);
        SetCommon(0x0C, 4, (uint)Features);
        SetCommon(0x08, 4, 1);
        SetCommon(0x0C, 4, Features >> 32);
        SetCommon(0x14, 1, 0x0B);
        return (Status & 8) != 0;
    }

    public void DriverOk() => SetCommon(0x14, 1, 0x0F);

    /// <summary>All of the above, with queues of the sizes the device offers.</summary>
    public DriverQueue[] Start(ulong wanted = AllFeatures, int size = 0)
    {
        Assert.True(Negotiate(wanted));
        DriverQueue[] queues = new DriverQueue[(int)Common(0x12, 2)];
        for (int i = 0; i < queues.Length; i++)
        {
            queues[i] = SetUpQueue(i, size);
        }

        DriverOk();
        return queues;
    }

    public DriverQueue SetUpQueue(int index, int size = 0)
    {
        SetCommon(0x16, 2, (uint)index);
        if (size != 0)
        {
            SetCommon(0x18, 2, (uint)size);
        }

        int actual = (int)Common(0x18, 2);
        uint notify = (uint)(Common(0x1E, 2) * _notifyMultiplier);
        ulong at = AllocatePage(4);
        Assert.True(_rig.Memory.TryWrite(at, new byte[0x4000]));
        DriverQueue queue = new(_rig.Memory, actual, at, at + 0x1000, at + 0x2000,
            () => Write(2, notify, 2, 0), AllocatePage);
        SetCommon(0x20, 4, (uint)queue.Descriptors);
        SetCommon(0x24, 4, queue.Descriptors >> 32);
        SetCommon(0x28, 4, (uint)queue.Available);
        SetCommon(0x2C, 4, queue.Available >> 32);
        SetCommon(0x30, 4, (uint)queue.Used);
        SetCommon(0x34, 4, queue.Used >> 32);
        SetCommon(0x1C, 2, 1);
        return queue;
    }

    /// <summary>Turns MSI-X on; vector i sends data 0x40 + i.</summary>
    public void EnableMsix()
    {
        uint control = _rig.Transport.ReadConfig(MsixCapability + 2, 2);
        Config16(MsixCapability + 2, control | 0x8000);
        for (uint i = 0; i <= (control & 0x7FF); i++)
        {
            _rig.Bus.WriteMmio(Bar(1) + (16 * i), 4, 0xFEE0_1000);
            _rig.Bus.WriteMmio(Bar(1) + (16 * i) + 4, 4, 0);
            _rig.Bus.WriteMmio(Bar(1) + (16 * i) + 8, 4, 0x40 + i);
            _rig.Bus.WriteMmio(Bar(1) + (16 * i) + 12, 4, 0);
        }
    }

    public ulong AllocatePage(ulong pages = 1)
    {
        ulong page = _nextPage;
        _nextPage += pages * 4096;
        return page;
    }

    private ulong Address(int kind, uint offset) =>
        Bar(_structures[kind].Bar) + _structures[kind].Offset + offset;
}

/// <summary>One buffer of a request; several chained make the request.</summary>
internal readonly record struct DriverBuffer(ulong Address, uint Length, bool DeviceWrites);

/// <summary>The driver's half of a split virtqueue.</summary>
internal sealed class DriverQueue
{
    private readonly GuestMemory _memory;
    private readonly Action _notify;
    private readonly Func<ulong, ulong> _allocatePages;
    private ushort _nextDescriptor;
    private ushort _seenUsed;

    /// <summary>Uses the three zeroed areas.</summary>
    public DriverQueue(GuestMemory memory, int size, ulong descriptors, ulong available, ulong used,
        Action notify, Func<ulong, ulong> allocatePages)
    {
        _memory = memory;
        _notify = notify;
        _allocatePages = allocatePages;
        Size = size;
        Descriptors = descriptors;
        Available = available;
        Used = used;
    }

    public int Size { get; }

    public ulong Descriptors { get; }

    public ulong Available { get; }

    public ulong Used { get; }

    public ushort AvailableIndex
    {
        get => Read16(Available + 2);
        set => Write16(Available + 2, value);
    }

    public ushort UsedIndex => Read16(Used + 2);

    public ushort UsedFlags => Read16(Used);

    public ushort AvailEvent => Read16(Used + 4 + (8 * (ulong)Size));

    public void SetNoInterrupt(bool value) => Write16(Available, value ? (ushort)1 : (ushort)0);

    public void SetUsedEvent(ushort value) => Write16(Available + 4 + (2 * (ulong)Size), value);

    public void Notify() => _notify();

    public void WriteDescriptor(ulong table, int index, ulong address, uint length, int flags, int next)
    {
        ulong at = table + (16 * (ulong)index);
        Assert.True(_memory.TryWriteUInt64(at, address));
        Assert.True(_memory.TryWriteUInt32(at + 8, length));
        Write16(at + 12, (ushort)flags);
        Write16(at + 14, (ushort)next);
    }

    /// <summary>Puts a descriptor head into the available ring.</summary>
    public void Publish(ushort head)
    {
        ushort index = AvailableIndex;
        Write16(Available + 4 + (2 * (ulong)(index & (Size - 1))), head);
        AvailableIndex = (ushort)(index + 1);
    }

    /// <summary>Writes a chain and publishes it, without a notification. Returns its head.</summary>
    public ushort Add(params DriverBuffer[] buffers)
    {
        ushort head = _nextDescriptor;
        for (int i = 0; i < buffers.Length; i++)
        {
            int next = (_nextDescriptor + 1) & (Size - 1);
            bool last = i == buffers.Length - 1;
            WriteDescriptor(Descriptors, _nextDescriptor, buffers[i].Address, buffers[i].Length,
                (buffers[i].DeviceWrites ? 2 : 0) | (last ? 0 : 1), next);
            _nextDescriptor = (ushort)next;
        }

        Publish(head);
        return head;
    }

    /// <summary>As <see cref="Add"/>, through an indirect table.</summary>
    public ushort AddIndirect(params DriverBuffer[] buffers)
    {
        ulong table = _allocatePages(((ulong)buffers.Length / 256) + 1);
        for (int i = 0; i < buffers.Length; i++)
        {
            bool last = i == buffers.Length - 1;
            WriteDescriptor(table, i, buffers[i].Address, buffers[i].Length,
                (buffers[i].DeviceWrites ? 2 : 0) | (last ? 0 : 1), i + 1);
        }

        ushort head = _nextDescriptor;
        WriteDescriptor(Descriptors, head, table, 16 * (uint)buffers.Length, 4, 0);
        _nextDescriptor = (ushort)((head + 1) & (Size - 1));
        Publish(head);
        return head;
    }

    /// <summary>Takes the next used entry, if there is one.</summary>
    public bool TryTakeUsed(out uint head, out uint written)
    {
        head = written = 0;
        if (_seenUsed == UsedIndex)
        {
            return false;
        }

        ulong slot = Used + 4 + (8 * (ulong)(_seenUsed & (Size - 1)));
        Assert.True(_memory.TryReadUInt32(slot, out head));
        Assert.True(_memory.TryReadUInt32(slot + 4, out written));
        _seenUsed++;
        return true;
    }

    private ushort Read16(ulong gpa)
    {
        Assert.True(_memory.TryReadUInt16(gpa, out ushort value));
        return value;
    }

    private void Write16(ulong gpa, ushort value) => Assert.True(_memory.TryWriteUInt16(gpa, value));
}
