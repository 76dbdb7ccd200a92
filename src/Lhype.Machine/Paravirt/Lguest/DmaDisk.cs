// Dialect A's disk (/dev/lgba and so on): the request stands in the device's page, SEND_DMA starts it with
// the data to write or with nothing, and the answer comes in the buffer bound to the same key. Made by
// LguestDevices for each disk.

using System;
using System.Buffers.Binary;
using Lhype.Machine.Block;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Paravirt.Lguest;

/// <summary>A disk of the old bus.</summary>
internal sealed class DmaDisk : DmaDevice
{
    /// <summary>The page: request type, first sector, bytes; result; number of sectors.</summary>
    private const int TypeOffset = 0, SectorOffset = 4, BytesOffset = 8, ResultOffset = 12,
        CapacityOffset = 16;

    private const uint Done = 1, Failed = 2;

    /// <summary>The feature that says that the interrupt's timing is fairly random.</summary>
    private const ushort RandomTiming = 0x8000;

    private readonly GuestMemory _memory;
    private readonly IBlockBackend _disk;
    private readonly byte[] _data = new byte[DmaList.MaxBytes];

    internal DmaDisk(GuestMemory memory, IBlockBackend disk)
    {
        _memory = memory;
        _disk = disk;
    }

    internal override ushort Type => 3;

    internal override ushort Features => RandomTiming;

    internal override void Place()
    {
        long sectors = Math.Min(_disk.Length / IBlockBackend.SectorBytes, uint.MaxValue);
        _memory.TryWriteUInt32(Page + CapacityOffset, (uint)sectors);
    }

    internal override int Send(DmaList data)
    {
        _memory.TryReadUInt32(Page + TypeOffset, out uint type);
        _memory.TryReadUInt32(Page + SectorOffset, out uint sector);
        _memory.TryReadUInt32(Page + BytesOffset, out uint bytes);
        if (!Bus.TryTake(Key, out DmaBuffer reply))
        {
            Bus.Kill("a disk request without a bound buffer for the answer");
            return 0;
        }

        bool write = type != 0;
        int length = write ? data.Gather(_data) : Bus.Buffer.TotalBytes;
        long offset = (long)sector * IBlockBackend.SectorBytes;
        bool good = length == bytes && length % IBlockBackend.SectorBytes == 0
            && offset <= _disk.Length && length <= _disk.Length - offset
            && (length == 0 || (write ? Write(offset, length) : Read(offset, length)));

        // The result before the interrupt: the handler looks for it.
        _memory.TryWriteUInt32(Page + ResultOffset, good ? Done : Failed);
        Bus.Complete(reply, write || !good ? 0 : length);
        return 0;
    }

    // This driver knows no flush: its writes must be durable when they are done.
    private bool Write(long offset, int length) =>
        !_disk.ReadOnly && _disk.Write(offset, _data.AsSpan(0, length)) && _disk.Flush();

    private bool Read(long offset, int length)
    {
        Span<byte> data = _data.AsSpan(0, length);
        bool good = _disk.Read(offset, data);
        if (good)
        {
            Bus.Buffer.Scatter(data);
        }

        return good;
    }
}
