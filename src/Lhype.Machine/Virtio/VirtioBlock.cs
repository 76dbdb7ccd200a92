// The virtio disk (virtio 1.2, 5.2): /dev/vda and so on in a Linux guest. Made by MachineBuilder for each
// --disk around an IBlockBackend. A request is first decoded, then executed against the back end, then
// completed; only the last step touches the queue, so execution can move to a worker that posts the
// completion through IInbox.

using System;
using System.Buffers.Binary;
using System.Text;
using Lhype.Machine.Block;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Virtio;

/// <summary>A virtio block device.</summary>
public sealed class VirtioBlock : VirtioDevice
{
    private const int QueueSize = 256;
    private const int IdBytes = 20;
    private const int HeaderBytes = 16, OldestHeaderBytes = 24;
    private const int RangeBytes = 16;

    /// <summary>Limits told to the driver: they bound one request at 31.75 MiB, and so the time it
    /// takes.</summary>
    private const uint MaxSegments = QueueSize - 2, MaxSegmentBytes = 128 << 10;
    private const long MaxDataBytes = (long)MaxSegments * MaxSegmentBytes;
    private const uint MaxRanges = 16, MaxDiscardSectors = 1 << 22, MaxZeroSectors = 1 << 13;

    /// <summary>Feature bits (5.2.3).</summary>
    private const int Barrier = 0, SizeMax = 1, SegMax = 2, ReadOnlyDisk = 5, BlkSize = 6, FlushCommand = 9,
        Topology = 10, DiscardCommand = 13, WriteZeroesCommand = 14;

    /// <summary>Request types (5.2.6).</summary>
    private const uint TypeIn = 0, TypeOut = 1, TypeFlush = 4, TypeGetId = 8, TypeDiscard = 11,
        TypeWriteZeroes = 13;

    /// <summary>Legacy bit of the type (5.2.6.1): all earlier writes must be durable before this one, and
    /// this one before all later ones.</summary>
    private const uint TypeBarrier = 0x8000_0000;

    private const uint RangeUnmap = 1;

    private readonly IBlockBackend _disk;
    private readonly byte[] _id = new byte[IdBytes];

    /// <summary>Makes a disk around <paramref name="disk"/>. <paramref name="id"/> is what the guest sees as
    /// its serial number: the first 20 bytes count.</summary>
    public VirtioBlock(GuestMemory memory, IInbox inbox, IBlockBackend disk, string id)
        : base(memory, inbox, queueCount: 1, QueueSize, configBytes: 60)
    {
        _disk = disk;
        byte[] name = Encoding.UTF8.GetBytes(id);
        name.AsSpan(0, Math.Min(name.Length, IdBytes)).CopyTo(_id);

        // 5.2.4. Sectors are always 512 bytes here; the topology asks for 4 KiB alignment, what host disks
        // like best.
        Span<byte> config = Config;
        BinaryPrimitives.WriteUInt64LittleEndian(config, (ulong)disk.Length / IBlockBackend.SectorBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(config[8..], MaxSegmentBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(config[12..], MaxSegments);
        BinaryPrimitives.WriteUInt32LittleEndian(config[20..], IBlockBackend.SectorBytes);
        config[24] = 3;
        BinaryPrimitives.WriteUInt16LittleEndian(config[26..], 8);
        BinaryPrimitives.WriteUInt32LittleEndian(config[36..], MaxDiscardSectors);
        BinaryPrimitives.WriteUInt32LittleEndian(config[40..], MaxRanges);
        BinaryPrimitives.WriteUInt32LittleEndian(config[44..], 8);
        BinaryPrimitives.WriteUInt32LittleEndian(config[48..], MaxZeroSectors);
        BinaryPrimitives.WriteUInt32LittleEndian(config[52..], MaxRanges);
        config[56] = 1;
    }

    private enum Outcome : byte
    {
        Ok = 0,
        IoError = 1,
        Unsupported = 2,
    }

    /// <inheritdoc/>
    public override ushort Type => 2;

    /// <inheritdoc/>
    public override uint ClassCode => 0x010000;

    /// <inheritdoc/>
    public override ulong DeviceFeatures =>
        (1UL << SizeMax) | (1UL << SegMax) | (1UL << BlkSize) | (1UL << FlushCommand) | (1UL << Topology)
        | (_disk.ReadOnly ? 1UL << ReadOnlyDisk : (1UL << DiscardCommand) | (1UL << WriteZeroesCommand));

    /// <inheritdoc/>
    public override ulong LegacyFeatures => 1UL << Barrier;

    /// <inheritdoc/>
    protected override long Serve(Virtqueue queue, DescriptorChain chain)
    {
        Span<byte> header = stackalloc byte[OldestHeaderBytes];
        header = header[..(OldestHeaders ? OldestHeaderBytes : HeaderBytes)];
        if (chain.Read(header) != header.Length || chain.WritableBytes == 0)
        {
            Fail("a block request has no header or no status byte");
            return 0;
        }

        uint type = BinaryPrimitives.ReadUInt32LittleEndian(header);
        ulong sector = BinaryPrimitives.ReadUInt64LittleEndian(header[8..]);
        ulong bytes = chain.ReadableBytes - (ulong)header.Length;
        long moved = 0;
        Outcome outcome = Negotiated(Barrier) && (type & TypeBarrier) != 0
            ? ExecuteBetweenFlushes(chain, type & ~TypeBarrier, sector, bytes, ref moved)
            : Execute(chain, type, sector, bytes, ref moved);
        Finish(queue, chain, outcome);
        return moved;
    }

    private static void Finish(Virtqueue queue, DescriptorChain chain, Outcome outcome)
    {
        chain.WriteLast((byte)outcome);

        // 2.7.8.2: the length counts what was surely written from the start on. After an error that is at
        // most the status byte, and only if no data buffer stands before it.
        bool whole = outcome == Outcome.Ok || chain.WritableBytes == 1;
        queue.Complete(chain, whole ? (uint)Math.Min(chain.WritableBytes, uint.MaxValue) : 0);
    }

    private Outcome ExecuteBetweenFlushes(
        DescriptorChain chain, uint type, ulong sector, ulong bytes, ref long moved)
    {
        Outcome outcome = _disk.Flush() ? Execute(chain, type, sector, bytes, ref moved) : Outcome.IoError;
        return outcome != Outcome.Ok || _disk.Flush() ? outcome : Outcome.IoError;
    }

    /// <summary>Carries out a request; <paramref name="bytes"/> of readable data follow its
    /// header.</summary>
    private Outcome Execute(DescriptorChain chain, uint type, ulong sector, ulong bytes, ref long moved)
    {
        switch (type)
        {
            case TypeIn:
                return ReadData(chain, sector, ref moved);
            case TypeOut:
                return WriteData(chain, sector, bytes, ref moved);
            case TypeFlush:
                return _disk.Flush() ? Outcome.Ok : Outcome.IoError;
            case TypeGetId:
                if (chain.WritableBytes != IdBytes + 1)
                {
                    return Outcome.IoError;
                }

                chain.Write(_id);
                return Outcome.Ok;
            case TypeDiscard:
            case TypeWriteZeroes:
                return ClearRanges(chain, type == TypeDiscard, bytes, ref moved);
            default:
                return Outcome.Unsupported;
        }
    }

    private Outcome ReadData(DescriptorChain chain, ulong sector, ref long moved)
    {
        if (!TryLocate(sector, chain.WritableBytes - 1, MaxDataBytes, out long offset, out long length))
        {
            return Outcome.IoError;
        }

        moved = length;
        Span<byte> bounce = stackalloc byte[IBlockBackend.SectorBytes];
        for (long end = offset + length; offset < end;)
        {
            // The host reads straight into guest RAM, except where the driver split a sector (2.7.4.1 lets
            // it).
            scoped Span<byte> piece = chain.NextWritable((int)(end - offset));
            piece = piece[..(piece.Length & -IBlockBackend.SectorBytes)];
            bool direct = !piece.IsEmpty;
            if (!direct)
            {
                piece = bounce;
            }

            if (!_disk.Read(offset, piece))
            {
                return Outcome.IoError;
            }

            offset += piece.Length;
            if (direct)
            {
                chain.Wrote(piece.Length);
            }
            else
            {
                chain.Write(piece);
            }
        }

        return Outcome.Ok;
    }

    private Outcome WriteData(DescriptorChain chain, ulong sector, ulong bytes, ref long moved)
    {
        if (_disk.ReadOnly || !TryLocate(sector, bytes, MaxDataBytes, out long offset, out long length))
        {
            return Outcome.IoError;
        }

        moved = length;
        Span<byte> bounce = stackalloc byte[IBlockBackend.SectorBytes];
        for (long end = offset + length; offset < end;)
        {
            scoped ReadOnlySpan<byte> piece = chain.NextReadable((int)(end - offset));
            piece = piece[..(piece.Length & -IBlockBackend.SectorBytes)];
            if (piece.IsEmpty)
            {
                chain.Read(bounce);
                piece = bounce;
            }
            else
            {
                chain.Consumed(piece.Length);
            }

            if (!_disk.Write(offset, piece))
            {
                return Outcome.IoError;
            }

            offset += piece.Length;
        }

        return SettleWrite();
    }

    private Outcome ClearRanges(DescriptorChain chain, bool discard, ulong bytes, ref long moved)
    {
        if (_disk.ReadOnly || bytes == 0 || bytes % RangeBytes != 0 || bytes / RangeBytes > MaxRanges)
        {
            return Outcome.IoError;
        }

        long limit = (long)(discard ? MaxDiscardSectors : MaxZeroSectors) * IBlockBackend.SectorBytes;
        Span<byte> range = stackalloc byte[RangeBytes];
        for (ulong done = 0; done < bytes; done += RangeBytes)
        {
            chain.Read(range);
            ulong sector = BinaryPrimitives.ReadUInt64LittleEndian(range);
            uint sectors = BinaryPrimitives.ReadUInt32LittleEndian(range[8..]);
            uint flags = BinaryPrimitives.ReadUInt32LittleEndian(range[12..]);

            // 5.2.6.2: unknown flags, and unmap for a discard, are unsupported.
            if ((flags & ~RangeUnmap) != 0 || (discard && flags != 0))
            {
                return Outcome.Unsupported;
            }

            ulong length = (ulong)sectors * IBlockBackend.SectorBytes;
            if (!TryLocate(sector, length, limit, out long at, out long count))
            {
                return Outcome.IoError;
            }

            moved += discard ? 0 : count;
            if (count != 0 && !(discard
                ? _disk.Discard(at, count)
                : _disk.WriteZeroes(at, count, (flags & RangeUnmap) != 0)))
            {
                return Outcome.IoError;
            }
        }

        return SettleWrite();
    }

    /// <summary>A driver that took neither the flush command nor barriers must find its writes durable
    /// (5.2.6.2).</summary>
    private Outcome SettleWrite() =>
        Negotiated(FlushCommand) || Negotiated(Barrier) || _disk.Flush() ? Outcome.Ok : Outcome.IoError;

    /// <summary>Turns a sector and a byte count into a place on the disk, if it is whole sectors inside
    /// it.</summary>
    private bool TryLocate(ulong sector, ulong bytes, long limit, out long offset, out long length)
    {
        ulong sectors = (ulong)_disk.Length / IBlockBackend.SectorBytes;
        bool ok = bytes % IBlockBackend.SectorBytes == 0 && bytes <= (ulong)limit
            && sector <= sectors && bytes / IBlockBackend.SectorBytes <= sectors - sector;
        offset = ok ? (long)(sector * IBlockBackend.SectorBytes) : 0;
        length = ok ? (long)bytes : 0;
        return ok;
    }
}
