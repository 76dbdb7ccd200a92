// The virtio disk: every request type, every refusal, and data laid out as awkwardly as the specification
// allows.

using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Linq;
using Lhype.Machine.Block;
using Lhype.Machine.Virtio;
using Xunit;

namespace Lhype.Tests.Machine.Virtio;

public sealed class VirtioBlockTests
{
    private const byte Ok = 0, IoError = 1, Unsupported = 2;
    private const uint In = 0, Out = 1, Flush = 4, GetId = 8, Discard = 11, WriteZeroes = 13;

    private readonly MemoryDisk _disk = new(1 << 20);
    private readonly VirtioRig _rig;
    private readonly MockDriver _driver;
    private readonly ulong _page;
    private DriverQueue _queue;

    public VirtioBlockTests()
    {
        _rig = new VirtioRig(
            rig => new VirtioBlock(rig.Memory, rig.Inbox, _disk, "a name longer than twenty bytes"));
        _driver = new MockDriver(_rig);
        _queue = _driver.Start()[0];
        _page = _driver.AllocatePage(64);
    }

    [Fact]
    public void ConfigurationDescribesTheDisk()
    {
        Assert.Equal(2048ul, _driver.Read(4, 0, 8));
        Assert.Equal(2048ul, _driver.Read(4, 0, 4));
        Assert.Equal(254ul, _driver.Read(4, 12, 4));
        Assert.Equal(512ul, _driver.Read(4, 20, 4));
        Assert.Equal(3ul, _driver.Read(4, 24, 1));
        _driver.Write(4, 0, 4, 1);
        Assert.Equal(2048ul, _driver.Read(4, 0, 8));
        Assert.Equal(256, _queue.Size);
        Assert.Equal(2u, _rig.Transport.ReadConfig(2, 2) - 0x1040);
    }

    [Fact]
    public void WritesAndReadsBack()
    {
        byte[] data = Pattern(4096);
        Assert.True(_rig.Memory.TryWrite(_page + 4096, data));
        Assert.Equal(Ok, Request(Out, 7, new DriverBuffer(_page + 4096, 4096, false)));
        Assert.Equal(data, _disk.Bytes.AsSpan(7 * 512, 4096).ToArray());
        Assert.Equal(Ok, Request(In, 7, new DriverBuffer(_page + 0x4000, 4096, true)));
        Assert.Equal(data, Read(_page + 0x4000, 4096));
        Assert.Contains((_page + 0x4000, 4096ul), _rig.WrittenRanges);
        Assert.True(_queue.TryTakeUsed(out _, out uint written));
        Assert.Equal(1u, written);
        Assert.True(_queue.TryTakeUsed(out _, out written));
        Assert.Equal(4097u, written);
    }

    [Fact]
    public void SectorsMayBeSplitAnyhow()
    {
        byte[] data = Pattern(1536);
        Assert.True(_rig.Memory.TryWrite(_page + 4096, data));
        Assert.Equal(Ok, Request(Out, 1,
            new DriverBuffer(_page + 4096, 100, false),
            new DriverBuffer(_page + 4196, 1, false),
            new DriverBuffer(_page + 4197, 1435, false)));
        Assert.Equal(data, _disk.Bytes.AsSpan(512, 1536).ToArray());
        Assert.Equal(Ok, Request(In, 1,
            new DriverBuffer(_page + 0x4000, 700, true),
            new DriverBuffer(_page + 0x5000, 836, true)));
        Assert.Equal(data, Read(_page + 0x4000, 700).Concat(Read(_page + 0x5000, 836)));
    }

    [Fact]
    public void HeaderMayShareABufferWithData()
    {
        byte[] request = new byte[16 + 512];
        request[0] = 1;
        request[8] = 3;
        Pattern(512).CopyTo(request, 16);
        Assert.True(_rig.Memory.TryWrite(_page, request));
        _queue.AddIndirect(new DriverBuffer(_page, 5, false), new DriverBuffer(_page + 5, 523, false),
            new DriverBuffer(_page + 4000, 1, true));
        _queue.Notify();
        Assert.Equal(Pattern(512), _disk.Bytes.AsSpan(3 * 512, 512).ToArray());
        Assert.Equal(Ok, Read(_page + 4000, 1)[0]);
    }

    [Fact]
    public void LongestIndirectRequestLinuxMakesIsServed()
    {
        DriverBuffer[] buffers = new DriverBuffer[254];
        for (int i = 0; i < buffers.Length; i++)
        {
            buffers[i] = new DriverBuffer(_page + 4096 + (512 * (ulong)(i % 8)), 512, true);
        }

        Assert.Equal(Ok, Request(In, 0, buffers, indirect: true));
    }

    [Theory]
    [InlineData(2048ul, 512u, IoError)]
    [InlineData(2047ul, 512u, Ok)]
    [InlineData(2047ul, 1024u, IoError)]
    [InlineData(ulong.MaxValue, 512u, IoError)]
    [InlineData(ulong.MaxValue / 512, 1024u, IoError)]
    [InlineData(0ul, 511u, IoError)]
    [InlineData(0ul, 513u, IoError)]
    public void PlaceMustBeWholeSectorsOnTheDisk(ulong sector, uint bytes, byte status)
    {
        Assert.Equal(status, Request(In, sector, new DriverBuffer(_page + 4096, bytes, true)));
        Assert.Equal(status, Request(Out, sector, new DriverBuffer(_page + 4096, bytes, false)));
        Assert.False(_driver.Broken);
    }

    [Fact]
    public void IdIsTwentyBytes()
    {
        Assert.Equal(Ok, Request(GetId, 0, new DriverBuffer(_page + 4096, 20, true)));
        Assert.Equal("a name longer than t"u8.ToArray(), Read(_page + 4096, 20));
        Assert.Equal(IoError, Request(GetId, 0, new DriverBuffer(_page + 4096, 19, true)));
    }

    [Theory]
    [InlineData(2u)]
    [InlineData(10u)]
    [InlineData(14u)]
    [InlineData(0xFFFF_FFFFu)]
    public void UnknownTypesAreUnsupported(uint type) => Assert.Equal(Unsupported, Request(type, 0));

    [Fact]
    public void FlushReachesTheBackEnd()
    {
        Assert.Equal(Ok, Request(Flush, 0));
        Assert.Equal(1, _disk.Flushes);
        _disk.Broken = true;
        Assert.Equal(IoError, Request(Flush, 0));
        Assert.Equal(IoError, Request(In, 0, new DriverBuffer(_page + 4096, 512, true)));
        Assert.Equal(IoError, Request(Out, 0, new DriverBuffer(_page + 4096, 512, false)));
    }

    [Fact]
    public void WithoutTheFlushFeatureWritesAreDurable()
    {
        _queue = _driver.Start(1UL << VirtioFeature.Version1)[0];
        Assert.Equal(Ok, Request(Out, 0, new DriverBuffer(_page + 4096, 512, false)));
        Assert.Equal(1, _disk.Flushes);
    }

    [Fact]
    public void RangesAreDiscardedAndZeroed()
    {
        Array.Fill(_disk.Bytes, (byte)0xAA);
        Assert.Equal(Ok, RangeRequest(WriteZeroes, (8, 2, 0), (16, 1, 1)));
        Assert.All(_disk.Bytes[4096..5120], value => Assert.Equal(0, value));
        Assert.Equal(0xAA, _disk.Bytes[5120]);
        Assert.Equal(0, _disk.Bytes[16 * 512]);
        Assert.Equal(Ok, RangeRequest(Discard, (32, 8, 0)));
        Assert.Equal([(32 * 512L, 4096L)], _disk.Discards);
        Assert.Equal(Unsupported, RangeRequest(Discard, (0, 8, 1)));
        Assert.Equal(Unsupported, RangeRequest(WriteZeroes, (0, 8, 2)));
        Assert.Equal(IoError, RangeRequest(WriteZeroes, (2047, 2, 0)));
        Assert.Equal(IoError, RangeRequest(Discard, (ulong.MaxValue, uint.MaxValue, 0)));
        Assert.Equal(IoError, RangeRequest(Discard));
        Assert.Equal(IoError, RangeRequest(Discard, Enumerable.Repeat((0ul, 1u, 0u), 17).ToArray()));
        Assert.Equal(IoError, Request(Discard, 0, new DriverBuffer(_page + 4096, 15, false)));
        Assert.Equal(0xAA, _disk.Bytes[0]);
    }

    [Fact]
    public void ReadOnlyDiskRefusesEveryChange()
    {
        _disk.ReadOnly = true;
        _queue = _driver.Start()[0];
        Assert.NotEqual(0ul, _driver.Features & (1 << 5));
        Assert.Equal(0ul, _driver.Features & ((1 << 13) | (1 << 14)));
        Assert.Equal(IoError, Request(Out, 0, new DriverBuffer(_page + 4096, 512, false)));
        Assert.Equal(IoError, RangeRequest(Discard, (0, 8, 0)));
        Assert.Equal(IoError, RangeRequest(WriteZeroes, (0, 8, 0)));
        Assert.Equal(Ok, Request(In, 0, new DriverBuffer(_page + 4096, 512, true)));
        Assert.Equal(0, _disk.Writes);
    }

    [Fact]
    public void RequestWithoutHeaderOrStatusNeedsReset()
    {
        _queue.Add(new DriverBuffer(_page, 15, false), new DriverBuffer(_page + 64, 1, true));
        _queue.Notify();
        Assert.True(_driver.Broken);
        _queue = _driver.Start()[0];
        _queue.Add(new DriverBuffer(_page, 16, false));
        _queue.Notify();
        Assert.True(_driver.Broken);
    }

    [Fact]
    public void HugeRequestIsRefusedNotServed()
    {
        // 256 descriptors over the same RAM would be gigabytes; the limit told to the driver holds.
        DriverBuffer[] buffers = new DriverBuffer[200];
        Array.Fill(buffers, new DriverBuffer(_page + 4096, 512 << 10, true));
        Assert.Equal(IoError, Request(In, 0, buffers, indirect: true));
        Assert.Equal(0, _disk.Reads);
    }

    [Fact]
    public void ServingRequestsAllocatesNothing()
    {
        _rig.WrittenRanges.EnsureCapacity(10000);
        Assert.Equal(Ok, Request(In, 0, new DriverBuffer(_page + 4096, 4096, true)));
        for (int i = 0; i < 50; i++)
        {
            _queue.AddIndirect(new DriverBuffer(_page, 16, false), new DriverBuffer(_page + 4096, 4096, true),
                new DriverBuffer(_page + 64, 1, true));
        }

        long before = GC.GetAllocatedBytesForCurrentThread();
        _queue.Notify();
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
        Assert.Equal(51, _queue.UsedIndex);
    }

    private byte Request(uint type, ulong sector, params DriverBuffer[] data) =>
        Request(type, sector, data, false);

    private byte Request(uint type, ulong sector, DriverBuffer[] data, bool indirect)
    {
        Assert.True(_rig.Memory.TryWriteUInt64(_page, type));
        Assert.True(_rig.Memory.TryWriteUInt64(_page + 8, sector));
        Assert.True(_rig.Memory.TryWrite(_page + 64, [0x77]));
        DriverBuffer[] all = [new(_page, 16, false), .. data, new(_page + 64, 1, true)];
        if (indirect)
        {
            _queue.AddIndirect(all);
        }
        else
        {
            _queue.Add(all);
        }

        ushort before = _queue.UsedIndex;
        _queue.Notify();
        Assert.Equal((ushort)(before + 1), _queue.UsedIndex);
        return Read(_page + 64, 1)[0];
    }

    private byte RangeRequest(uint type, params (ulong Sector, uint Count, uint Flags)[] ranges)
    {
        byte[] bytes = new byte[16 * ranges.Length];
        for (int i = 0; i < ranges.Length; i++)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(16 * i), ranges[i].Sector);
            BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan((16 * i) + 8), ranges[i].Count);
            BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan((16 * i) + 12), ranges[i].Flags);
        }

        Assert.True(_rig.Memory.TryWrite(_page + 4096, bytes));
        return ranges.Length == 0
            ? Request(type, 0)
            : Request(type, 0, new DriverBuffer(_page + 4096, (uint)bytes.Length, false));
    }

    private byte[] Read(ulong gpa, int length)
    {
        byte[] bytes = new byte[length];
        Assert.True(_rig.Memory.TryRead(gpa, bytes));
        return bytes;
    }

    private static byte[] Pattern(int length) =>
        Enumerable.Range(0, length).Select(i => (byte)(i * 7)).ToArray();
}

/// <summary>A disk in memory that counts and can fail.</summary>
internal sealed class MemoryDisk(int length) : IBlockBackend
{
    public byte[] Bytes { get; } = new byte[length];

    public bool Broken { get; set; }

    public int Reads { get; private set; }

    public int Writes { get; private set; }

    public int Flushes { get; private set; }

    public List<(long Offset, long Length)> Discards { get; } = [];

    public long Length => Bytes.Length;

    public bool ReadOnly { get; set; }

    public bool Read(long offset, Span<byte> destination)
    {
        Check(offset, destination.Length);
        Reads++;
        Bytes.AsSpan((int)offset, destination.Length).CopyTo(destination);
        return !Broken;
    }

    public bool Write(long offset, ReadOnlySpan<byte> source)
    {
        Check(offset, source.Length);
        Writes++;
        source.CopyTo(Bytes.AsSpan((int)offset));
        return !Broken;
    }

    public bool Flush()
    {
        Flushes++;
        return !Broken;
    }

    public bool Discard(long offset, long count)
    {
        Check(offset, count);
        Discards.Add((offset, count));
        return !Broken;
    }

    public bool WriteZeroes(long offset, long count, bool mayUnmap)
    {
        Check(offset, count);
        Bytes.AsSpan((int)offset, (int)count).Clear();
        return !Broken;
    }

    public void Dispose()
    {
    }

    // The contract of IBlockBackend: whole sectors inside the disk.
    private void Check(long offset, long count)
    {
        Assert.True(offset >= 0 && count > 0 && offset + count <= Length);
        Assert.True(offset % 512 == 0 && count % 512 == 0);
    }
}
