// Dialect A's bus, driven as Linux 2.6.23 drives it: descriptors, DMA structures, keys.

using System;
using System.Linq;
using System.Text;
using Lhype.Machine;
using Lhype.Machine.Net;
using Lhype.Machine.Paravirt.Lguest;
using Lhype.Tests.Machine.Devices;
using Xunit;

namespace Lhype.Tests.Machine.Paravirt.Lguest;

public sealed class DmaBusTests : IDisposable
{
    private const uint Descriptors = LguestRig.MemoryTop;
    private const uint DiskPage = Descriptors + 0x1000, NetPage = Descriptors + 0x2000;
    private const byte DiskIrq = 1, NetIrq = 2, ConsoleIrq = 3;

    private readonly LguestRig _rig = new(LguestGeneration.A);
    private readonly uint _buffers;
    private readonly uint _dma;

    public DmaBusTests()
    {
        _buffers = (uint)_rig.AllocatePages(2);
        _dma = (uint)_rig.AllocatePages();
    }

    public void Dispose() => _rig.Dispose();

    [Fact]
    public void PageListsDevices()
    {
        Assert.Equal([3, 0, 0x00, 0x80, 0, 0, 1, 0], _rig.Read(Descriptors, 8));
        Assert.Equal(DiskPage >> 12, _rig.Read32(Descriptors + 8));
        Assert.Equal([2, 0, 0x01, 0x80, 0, 0, 1, 0], _rig.Read(Descriptors + 12, 8));
        Assert.Equal(NetPage >> 12, _rig.Read32(Descriptors + 20));
        Assert.Equal([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], _rig.Read(Descriptors + 24, 12));
        Assert.Equal(0, _rig.Read(Descriptors + 36, 1)[0]);
        Assert.Equal(128u, _rig.Read32(DiskPage + 16));
        Assert.Equal([3, 0, 0, 0, 0, 0, 0], _rig.Read(NetPage, 7));
    }

    [Fact]
    public void ConsolePrintsPieces()
    {
        uint text = (uint)_rig.AllocatePages(2);
        _rig.Write(text + 4093, "abc"u8);
        _rig.Write(text + 4096, "def"u8);
        Build(_dma, 77, (text + 4093, 3), (text + 4096, 3));
        _rig.Devices.SendDma(0, _dma);
        Assert.Equal("abcdef", _rig.Printed);
        Assert.Equal(6u, _rig.Read32(_dma));
    }

    [Fact]
    public void ConsoleInputWaitsForTheBufferToBeFree()
    {
        uint input = (uint)_rig.AllocatePages();
        Build(_buffers, 0, (input, 256));
        Type("first");
        Assert.True(_rig.Devices.BindDma(0, _buffers, 1, ConsoleIrq));
        Assert.Equal(1u << ConsoleIrq, _rig.TakeInterrupts());
        Assert.Equal("first", Encoding.ASCII.GetString(_rig.Read(input, (int)_rig.Read32(_buffers))));
        Type("second");
        Assert.Equal(0u, _rig.TakeInterrupts());
        Assert.Equal(5u, _rig.Read32(_buffers));

        // The guest frees the buffer without telling anybody.
        _rig.Write32(_buffers, 0);
        _rig.Clock.Advance(2_000_000);
        Assert.Equal(1u << ConsoleIrq, _rig.TakeInterrupts());
        Assert.Equal("second", Encoding.ASCII.GetString(_rig.Read(input, (int)_rig.Read32(_buffers))));
    }

    [Fact]
    public void NoTimerRunsWhileNothingWaits()
    {
        Build(_buffers, 0, ((uint)_rig.AllocatePages(), 256));
        Assert.True(_rig.Devices.BindDma(0, _buffers, 1, ConsoleIrq));
        Type("x");
        Assert.Equal(ulong.MaxValue, _rig.Clock.Clock.NextDeadlineNs);
    }

    [Fact]
    public void LongConsoleInputLosesNothing()
    {
        uint input = (uint)_rig.AllocatePages();
        Build(_buffers, 0, (input, 256));
        Assert.True(_rig.Devices.BindDma(0, _buffers, 1, ConsoleIrq));
        string text = string.Concat(Enumerable.Range(0, 3000).Select(i => $"{i} "));
        Type(text);
        StringBuilder got = new();
        for (int i = 0; i < 200 && got.Length < text.Length; i++)
        {
            got.Append(Encoding.ASCII.GetString(_rig.Read(input, (int)_rig.Read32(_buffers))));
            _rig.Write32(_buffers, 0);
            _rig.Clock.Advance(1_000_000);
        }

        Assert.Equal(text, got.ToString());
    }

    [Fact]
    public void DiskWritesAndReadsBack()
    {
        uint data = (uint)_rig.AllocatePages(2);
        byte[] pattern = [.. Enumerable.Range(0, 1024).Select(i => (byte)(i * 3))];
        _rig.Write(data, pattern);
        Build(_buffers, 0);
        Assert.True(_rig.Devices.BindDma(DiskPage, _buffers, 1, DiskIrq));
        Build(_dma, 0, (data, 512), (data + 512, 512));
        Assert.Equal(1u, DiskRequest(write: true, sector: 5, bytes: 1024));
        Assert.Equal(1u << DiskIrq, _rig.TakeInterrupts());
        Assert.Equal(pattern, _rig.Disks[0].Bytes[2560..3584]);
        Assert.True(_rig.Disks[0].Flushes > 0);
        Assert.Equal(0u, _rig.Read32(_buffers));

        Build(_buffers, 0, (data + 4096, 600), (data + 4096 + 1000, 424));
        Build(_dma, 0);
        Assert.Equal(1u, DiskRequest(write: false, sector: 5, bytes: 1024));
        Assert.Equal(1024u, _rig.Read32(_buffers));
        Assert.Equal(pattern[..600], _rig.Read(data + 4096, 600));
        Assert.Equal(pattern[600..], _rig.Read(data + 4096 + 1000, 424));
    }

    [Fact]
    public void DiskRefusals()
    {
        uint data = (uint)_rig.AllocatePages();
        Assert.True(_rig.Devices.BindDma(DiskPage, _buffers, 1, DiskIrq));
        Build(_dma, 0);
        Build(_buffers, 0, (data, 512));
        Assert.Equal(2u, DiskRequest(write: false, sector: 128, bytes: 512));
        Build(_buffers, 0, (data, 512));
        Assert.Equal(2u, DiskRequest(write: false, sector: 0xFFFF_FFFF, bytes: 512));
        Build(_buffers, 0, (data, 512));
        Assert.Equal(2u, DiskRequest(write: false, sector: 0, bytes: 1024));
        Build(_buffers, 0, (data, 100));
        Assert.Equal(2u, DiskRequest(write: false, sector: 0, bytes: 100));
        Build(_buffers, 0);
        Build(_dma, 0, (data, 512));
        _rig.Disks[0].ReadOnly = true;
        Assert.Equal(2u, DiskRequest(write: true, sector: 0, bytes: 512));
        _rig.Disks[0].ReadOnly = false;
        _rig.Disks[0].Broken = true;
        Assert.Equal(2u, DiskRequest(write: true, sector: 0, bytes: 512));
        Assert.Null(_rig.Death);
    }

    [Fact]
    public void DiskRequestWithoutABufferForTheAnswerKills()
    {
        Build(_dma, 0);
        DiskRequest(write: false, sector: 0, bytes: 0);
        Assert.Contains("disk request", _rig.Death, StringComparison.Ordinal);
    }

    [Fact]
    public void CardSendsToTheSegment()
    {
        uint data = (uint)_rig.AllocatePages(2);
        byte[] frame = Frame(1514);
        _rig.Write(data + 4000, frame);
        Build(_dma, 0, (data + 4000, 96), (data + 4096, 1514 - 96));
        _rig.Devices.SendDma(NetPage, _dma);
        Assert.Equal(frame, Assert.Single(_rig.Wires[0].Sent));
        Assert.Equal(1514u, _rig.Read32(_dma));

        // A peer that is not there: nothing happens, and the sender can see it.
        Build(_dma, 0, (data, 100));
        _rig.Devices.SendDma(NetPage + 8, _dma);
        Assert.Equal(0u, _rig.Read32(_dma));

        // Neither stumps nor giants leave.
        Build(_dma, 0, (data, 13));
        _rig.Devices.SendDma(NetPage, _dma);
        Build(_dma, 0, (data, 1523));
        _rig.Devices.SendDma(NetPage, _dma);
        Assert.Single(_rig.Wires[0].Sent);
        Assert.Null(_rig.Death);
    }

    [Fact]
    public void CardReceivesIntoEightBuffersAndHoldsTheRest()
    {
        uint room = (uint)_rig.AllocatePages(8);
        for (uint i = 0; i < 8; i++)
        {
            Build(_buffers + (100 * i), 0, (room + (4096 * i) + 3000, 1096), (room + (4096 * i), 418));
        }

        _rig.Wires[0].Arrive(Frame(60));
        Assert.Empty(_rig.Wires[0].Waiting);
        _rig.Write(NetPage + 6, 3, 0, 9, 0, 0, 0);
        Assert.True(_rig.Devices.BindDma(NetPage + 4, _buffers, 8, NetIrq));
        Assert.Equal("02:00:09:00:00:00", _rig.Wires[0].Mac.ToString());
        for (int i = 0; i < 10; i++)
        {
            _rig.Wires[0].Arrive(Frame(1500 + i, (byte)i));
        }

        Assert.Equal(1u << NetIrq, _rig.TakeInterrupts());
        Assert.Equal(2, _rig.Wires[0].Waiting.Count);
        for (uint i = 0; i < 8; i++)
        {
            Assert.Equal(1500 + i, _rig.Read32(_buffers + (100 * i)));
            byte[] got = [.. _rig.Read(room + (4096 * i) + 3000, 1096), .. _rig.Read(room + (4096 * i), 418)];
            Assert.Equal(Frame((int)(1500 + i), (byte)i), got[..(int)(1500 + i)]);
        }

        _rig.Write32(_buffers, 0);
        _rig.Write32(_buffers + 300, 0);
        _rig.Clock.Advance(2_000_000);
        Assert.Empty(_rig.Wires[0].Waiting);
        Assert.Equal(1508u, _rig.Read32(_buffers));
        Assert.Equal(1509u, _rig.Read32(_buffers + 300));

        Assert.True(_rig.Devices.BindDma(NetPage + 4, _buffers, 8, 0));
        _rig.Wires[0].Arrive(Frame(60));
        Assert.Empty(_rig.Wires[0].Waiting);
    }

    [Fact]
    public void CardFinishesFramesOfOtherGuests()
    {
        uint room = (uint)_rig.AllocatePages(2);
        Build(_buffers, 0, (room, 1514));
        Assert.True(_rig.Devices.BindDma(NetPage + 4, _buffers, 1, NetIrq));
        byte[] frame = Frame(60);
        frame[40] = frame[41] = 0;
        FrameHeader header = new(FrameHeader.NeedsChecksum, 0, 0, 0, 34, 6);
        Assert.True(_rig.Wires[0].Arrive(header, frame));
        byte[] got = _rig.Read(room, 60);
        Assert.NotEqual(0, got[40] | got[41]);

        // The sum over what it covers is all ones now.
        int sum = 0;
        for (int i = 34; i < 60; i += 2)
        {
            sum += (got[i] << 8) | got[i + 1];
        }

        Assert.Equal(0xFFFF, (sum & 0xFFFF) + (sum >> 16));
    }

    [Theory]
    [InlineData("1", 0x0100)]
    [InlineData("258", 0x0201)]
    public void GuestIdMakesTheAddressOfTheDomain(string id, ushort expected)
    {
        MachineConfig config = new() { Kernel = "kernel", Id = id };
        Assert.Equal(expected, LguestDevices.GuestIdOf(config));
    }

    [Fact]
    public void BindingsAreLimitedAndUnboundByKeyAndAddress()
    {
        for (uint i = 0; i < 32; i++)
        {
            Assert.True(_rig.Devices.BindDma(4 * i, _buffers, 1, 5));
        }

        Assert.False(_rig.Devices.BindDma(0x1000, _buffers, 1, 5));
        Assert.False(_rig.Devices.BindDma(4, _buffers + 4, 1, 0));
        Assert.True(_rig.Devices.BindDma(4, _buffers, 1, 0));
        Assert.False(_rig.Devices.BindDma(4, _buffers, 1, 0));
        Assert.True(_rig.Devices.BindDma(0x1000, _buffers, 1, 5));
        Assert.True(_rig.Devices.BindDma(0x1000, _buffers, 1, 0));
        Assert.False(_rig.Devices.BindDma(0x1000, _buffers, 1, 32));
        Assert.Null(_rig.Death);
    }

    [Fact]
    public void BrokenRulesKill()
    {
        Kills("crosses a page", rig => Build(rig, _dma, 0, (0x10_1FFFu, 2)), send: true);
        Kills("not in RAM", rig => Build(rig, _dma, 0, (0x7000_0000u, 2)), send: true);
        Kills("crosses a page", rig => Build(rig, _dma, 0, (0x10_1000u, 4097)), send: true);
        Kills("DMA structure is not in RAM", rig => rig.Devices.SendDma(0, 0xFFFF_FFF0), send: false);
        Kills("multiple of 4", rig => rig.Devices.SendDma(2, _dma), send: false);
        Kills("multiple of 4", rig => rig.Devices.BindDma(2, _dma, 1, 1), send: false);
        Kills("not in RAM", rig =>
        {
            rig.Devices.BindDma(0, 0xFFFF_FFF0, 1, 1);
            rig.Console.Type("x"u8);
            rig.Machine.Poll();
            rig.Clock.Advance(1);
        }, send: false);
    }

    [Fact]
    public void StateMovesToAnotherMachine()
    {
        Build(_buffers, 0, ((uint)_rig.AllocatePages(), 4));
        Assert.True(_rig.Devices.BindDma(0, _buffers, 1, ConsoleIrq));
        Type("1234567");
        using LguestRig other = new(LguestGeneration.A);
        other.Write(0x10_0000, _rig.Read(0x10_0000, 0x10_0000));
        StateCopy.Transfer(_rig.Devices, other.Devices);
        Assert.Equal(4u, other.Read32(_buffers));
        other.Write32(_buffers, 0);
        other.Clock.Advance(2_000_000);
        Assert.Equal(3u, other.Read32(_buffers));
        Assert.Equal(1u << ConsoleIrq, other.TakeInterrupts());
    }

    private static void Build(
        LguestRig rig, uint at, uint used, params ReadOnlySpan<(uint Address, int Length)> pieces)
    {
        rig.Write(at, new byte[100]);
        rig.Write32(at, used);
        for (int i = 0; i < pieces.Length; i++)
        {
            rig.Write32(at + 4 + (4 * (uint)i), pieces[i].Address);
            rig.Write(at + 68 + (2 * (uint)i), (byte)pieces[i].Length, (byte)(pieces[i].Length >> 8));
        }
    }

    private static void Kills(string reason, Action<LguestRig> crime, bool send)
    {
        using LguestRig rig = new(LguestGeneration.A);
        rig.AllocatePages(4);
        crime(rig);
        if (send)
        {
            rig.Devices.SendDma(0, 0x10_2000);
        }

        Assert.Contains(reason, rig.Death, StringComparison.Ordinal);
    }

    private static byte[] Frame(int length, byte seed = 0) =>
        [.. Enumerable.Range(0, length).Select(i => i == 0 ? (byte)2 : (byte)((i * 5) + seed))];

    private void Build(uint at, uint used, params ReadOnlySpan<(uint Address, int Length)> pieces) =>
        Build(_rig, at, used, pieces);

    private uint DiskRequest(bool write, uint sector, uint bytes)
    {
        _rig.Write32(DiskPage, write ? 1u : 0);
        _rig.Write32(DiskPage + 4, sector);
        _rig.Write32(DiskPage + 8, bytes);
        _rig.Write32(DiskPage + 12, 0);
        _rig.Devices.SendDma(DiskPage, _dma);
        return _rig.Read32(DiskPage + 12);
    }

    private void Type(string text)
    {
        Assert.Equal(text.Length, _rig.Console.Type(Encoding.ASCII.GetBytes(text)));
        _rig.Machine.Poll();
        _rig.Clock.Advance(1);
    }
}
