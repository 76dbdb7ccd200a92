// The network card: frames out and in with and without mergeable buffers, the legacy header, what is finished
// in software, filters, and a driver that is short of buffers.

using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Linq;
using Lhype.Machine.Net;
using Lhype.Machine.Virtio;
using Lhype.Tests.Machine.Devices;
using Lhype.Tests.Machine.Net;
using Xunit;

namespace Lhype.Tests.Machine.Virtio;

public sealed class VirtioNetTests
{
    private const int Csum = 0, GuestCsum = 1, Mac = 5, GuestTso4 = 7, HostTso4 = 11, MergeableBuffers = 15,
        ControlRx = 18;
    private const ulong All = MockDriver.AllFeatures;
    private const ulong NoMerge = All & ~(1UL << MergeableBuffers);

    private static readonly MacAddress Own = MacAddress.ForDomain("5", 0);
    private static readonly MacAddress Other = MacAddress.ForDomain("6", 0);

    [Fact]
    public void ShowsItsAddressLinkAndMtu()
    {
        using VirtioRig rig = Make(new FakeNetwork());
        MockDriver driver = new(rig);
        byte[] mac = [.. Enumerable.Range(0, 6).Select(i => (byte)driver.Read(4, (uint)i, 1))];
        Assert.Equal([2, 0, 0, 5, 0, 0], mac);
        Assert.Equal(1u, driver.Read(4, 6, 2));
        Assert.Equal(1500u, driver.Read(4, 10, 2));
        driver.Start();
        ((VirtioNet)rig.Device).SetLink(false);
        Assert.Equal(0u, driver.Read(4, 6, 2));
        Assert.Equal(2, driver.ReadIsr() & 2);
    }

    [Fact]
    public void OffersToSendOnlyWhatTheBackEndTakes()
    {
        ulong sending = (1UL << Csum) | (1UL << HostTso4) | (1UL << 12) | (1UL << 13);
        using VirtioRig plain = Make(new FakeNetwork { SendOffloads = NetworkOffloads.None });
        Assert.Equal(0u, plain.Device.DeviceFeatures & sending);
        using VirtioRig some = Make(new FakeNetwork
        {
            SendOffloads = NetworkOffloads.Checksum | NetworkOffloads.Tso4,
        });
        Assert.Equal((1UL << Csum) | (1UL << HostTso4), some.Device.DeviceFeatures & sending);
        using VirtioRig all = Make(new FakeNetwork());
        Assert.Equal(sending, all.Device.DeviceFeatures & sending);
    }

    [Fact]
    public void SendsAFrameFromAnyPieces()
    {
        FakeNetwork network = new();
        using VirtioRig rig = Make(network);
        MockDriver driver = new(rig);
        DriverQueue queue = driver.Start()[1];
        TcpFrame frame = new(false, 0, 9000, 1, 0x18);
        FrameHeader header = frame.Header(1448);
        Put(rig, driver, queue, header, frame.Bytes, 5, 12 + 13, 4000);
        int before = network.EndsOfSend;
        queue.Notify();
        (FrameHeader sentHeader, byte[] sent) = Assert.Single(network.Sent);
        Assert.Equal(header, sentHeader);
        Assert.Equal(frame.Bytes, sent);
        Assert.Equal(before + 1, network.EndsOfSend);
        Assert.True(queue.TryTakeUsed(out _, out uint written));
        Assert.Equal(0u, written);
    }

    [Fact]
    public void DropsFramesThatBreakTheRules()
    {
        FakeNetwork network = new();
        using VirtioRig rig = Make(network);
        MockDriver driver = new(rig);
        DriverQueue queue = driver.Start(All & ~(1UL << HostTso4))[1];
        TcpFrame frame = new(false, 0, 1000, 1, 0x18);
        FrameHeader checksum = frame.Header(100) with { GsoType = 0, SegmentBytes = 0 };
        Put(rig, driver, queue, frame.Header(100), frame.Bytes);                        // TSO not agreed
        Put(rig, driver, queue, checksum with { ChecksumStart = 1053 }, frame.Bytes);   // outside
        Put(rig, driver, queue, default, frame.Bytes.AsSpan(0, 13));
        Put(rig, driver, queue, default, new byte[INetworkBackend.MaxPlainFrame + 1]);
        Put(rig, driver, queue, default, new byte[INetworkBackend.MaxFrame + 1]);
        ulong page = driver.AllocatePage();
        queue.Add(new DriverBuffer(page, 8, false));
        queue.Add(new DriverBuffer(page, 64, true));
        queue.Notify();
        Assert.Empty(network.Sent);
        Assert.Equal(7, queue.UsedIndex);
        Put(rig, driver, queue, checksum, frame.Bytes);
        queue.Notify();
        Assert.Single(network.Sent);
        Assert.False(driver.Broken);
    }

    [Fact]
    public void ReceivesIntoMergedBuffers()
    {
        using VirtioRig rig = Make(new FakeNetwork());
        MockDriver driver = new(rig);
        DriverQueue queue = driver.Start()[0];
        VirtioNet card = (VirtioNet)rig.Device;
        TcpFrame frame = new(false, 0, 2900, 1, 0x18);
        FrameHeader header = frame.Header(1448) with { GsoType = FrameHeader.GsoTcp4 };
        ulong[] pages = [.. Enumerable.Range(0, 4).Select(_ => AddBuffer(driver, queue, 1024))];
        Assert.True(card.Receive(header, frame.Bytes));
        Assert.Equal(3, queue.UsedIndex);
        byte[] got = Take(rig, queue, pages[0]);
        Assert.Equal(header, FrameHeader.Read(got));
        Assert.Equal(3, BinaryPrimitives.ReadUInt16LittleEndian(got.AsSpan(10)));
        byte[] bytes = [.. got[12..], .. Take(rig, queue, pages[1]), .. Take(rig, queue, pages[2])];
        Assert.Equal(frame.Bytes, bytes);

        // The interrupt waits for the end of the batch.
        Assert.Equal(0, driver.ReadIsr());
        card.EndReceive();
        Assert.Equal(1, driver.ReadIsr());
    }

    [Fact]
    public void AFrameThatFindsTooFewBuffersWaitsAndTakesNone()
    {
        FakeNetwork network = new();
        using VirtioRig rig = Make(network);
        MockDriver driver = new(rig);
        DriverQueue queue = driver.Start()[0];
        VirtioNet card = (VirtioNet)rig.Device;
        queue.Notify();
        network.Ready = 0;
        byte[] frame = HubPort.Frame(Own, Other, 1, 1500);
        Assert.False(card.Receive(default, frame));
        ulong first = AddBuffer(driver, queue, 1024);
        Assert.False(card.Receive(default, frame));
        Assert.Equal(0, queue.UsedIndex);
        Assert.Equal(0, network.Ready);
        ulong second = AddBuffer(driver, queue, 1024);
        queue.Notify();
        Assert.Equal(1, network.Ready);
        Assert.True(card.Receive(default, frame));
        byte[] got = [.. Take(rig, queue, first)[12..], .. Take(rig, queue, second)];
        Assert.Equal(frame, got);
    }

    [Fact]
    public void WithoutMergingAFrameNeedsOneBuffer()
    {
        using VirtioRig rig = Make(new FakeNetwork());
        MockDriver driver = new(rig);
        DriverQueue queue = driver.Start(NoMerge)[0];
        VirtioNet card = (VirtioNet)rig.Device;
        ulong small = AddBuffer(driver, queue, 512);
        Assert.True(card.Receive(default, HubPort.Frame(Own, Other, 1, 1500)));
        Assert.Equal(0, queue.UsedIndex);
        byte[] fits = HubPort.Frame(Own, Other, 2, 500);
        Assert.True(card.Receive(default, fits));
        byte[] got = Take(rig, queue, small);
        Assert.Equal(1, got[10]);
        Assert.Equal(fits, got[12..]);
    }

    [Theory]
    [InlineData(0UL)]
    [InlineData(1UL << GuestCsum)]
    public void FinishesInSoftwareWhatTheGuestDoesNotTake(ulong features)
    {
        FakeNetwork network = new();
        using VirtioRig rig = Make(network);
        MockDriver driver = new(rig);
        DriverQueue queue = driver.Start(features | (1UL << VirtioFeature.Version1))[0];
        VirtioNet card = (VirtioNet)rig.Device;
        ulong[] pages = [.. Enumerable.Range(0, 2).Select(_ => AddBuffer(driver, queue, 1600))];
        queue.Notify();
        NetworkOffloads accepted = features == 0 ? NetworkOffloads.None : NetworkOffloads.Checksum;
        Assert.Equal(accepted, network.Accepted);

        // Four segments, two buffers: two come now, two when the driver gives more; the next frame after
        // them.
        TcpFrame frame = new(false, 0, 4000, 1, 0x18);
        Assert.True(card.Receive(frame.Header(1000), frame.Bytes));
        Assert.Equal(2, queue.UsedIndex);
        Assert.False(card.Receive(default, HubPort.Frame(Own, Other, 7)));
        pages = [.. pages, .. Enumerable.Range(0, 3).Select(_ => AddBuffer(driver, queue, 1600))];
        queue.Notify();
        Assert.Equal(4, queue.UsedIndex);
        Assert.True(card.Receive(default, HubPort.Frame(Own, Other, 7)));
        List<byte> payload = [];
        for (int i = 0; i < 4; i++)
        {
            byte[] got = Take(rig, queue, pages[i]);
            Assert.Equal(default, FrameHeader.Read(got));
            byte[] segment = got[12..];
            frame.AssertNetworkHeader(segment, i);
            ReadOnlySpan<byte> tcp = segment.AsSpan(frame.Transport);
            Assert.Equal(0, SegmentationTests.SlowChecksum(tcp, frame.PseudoSum(tcp.Length)));
            payload.AddRange(segment[(frame.Transport + 32)..]);
        }

        Assert.Equal(frame.Payload, payload);
        Assert.Equal(HubPort.Frame(Own, Other, 7), Take(rig, queue, pages[4])[12..]);
    }

    [Fact]
    public void MalformedFramesFromStrangersAreDropped()
    {
        using VirtioRig rig = Make(new FakeNetwork());
        MockDriver driver = new(rig);
        DriverQueue queue = driver.Start()[0];
        VirtioNet card = (VirtioNet)rig.Device;
        AddBuffer(driver, queue, 4096);
        TcpFrame frame = new(false, 0, 1000, 1, 0x18);
        Assert.True(card.Receive(default, new byte[13]));
        Assert.True(card.Receive(default, new byte[2000]));
        Assert.True(card.Receive(default, new byte[INetworkBackend.MaxFrame + 1]));
        Assert.True(card.Receive(frame.Header(100) with { ChecksumStart = 5000 }, frame.Bytes));
        Assert.True(card.Receive(frame.Header(100) with { GsoType = 9 }, frame.Bytes));
        Assert.True(card.Receive(frame.Header(0), frame.Bytes));
        Assert.Equal(0, queue.UsedIndex);
        Assert.False(driver.Broken);
    }

    [Fact]
    public void FiltersAsTheDriverSays()
    {
        using VirtioRig rig = Make(new FakeNetwork());
        MockDriver driver = new(rig);
        DriverQueue[] queues = driver.Start();
        for (int i = 0; i < 40; i++)
        {
            AddBuffer(driver, queues[0], 256);
        }

        MacAddress group = new(0x0100_5E00_0001);
        Assert.Equal((1, 1, 1, 1), Deliveries(rig, queues[0], group));
        Assert.Equal(0, Command(rig, driver, queues[2], 0, 0, 0));
        Assert.Equal((1, 0, 1, 0), Deliveries(rig, queues[0], group));
        Assert.Equal(0, Command(rig, driver, queues[2], 0, 1, 1));
        Assert.Equal((1, 0, 1, 1), Deliveries(rig, queues[0], group));
        Assert.Equal(0, Command(rig, driver, queues[2], 0, 1, 0));
        byte[] table = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        Other.Write(table.AsSpan(4));
        group.Write(table.AsSpan(14));
        Assert.Equal(0, Command(rig, driver, queues[2], [1, 0, .. table]));
        Assert.Equal((1, 1, 1, 1), Deliveries(rig, queues[0], group));

        // Nonsense is refused.
        Assert.Equal(1, Command(rig, driver, queues[2], 0, 9, 1));
        Assert.Equal(1, Command(rig, driver, queues[2], 77, 0, 1));
        Assert.Equal(1, Command(rig, driver, queues[2], [1, 0, 255, 255, 255, 255]));
        Assert.Equal(1, Command(rig, driver, queues[2], [0]));
        Assert.False(driver.Broken);
    }

    [Fact]
    public void TheDriverChangesTheAddressAndAResetBringsItBack()
    {
        FakeNetwork network = new();
        using VirtioRig rig = Make(network);
        MockDriver driver = new(rig);
        DriverQueue[] queues = driver.Start();
        Assert.Equal(0, Command(rig, driver, queues[2], 1, 1, 2, 9, 9, 9, 9, 9));
        Assert.Equal(new MacAddress(0x0209_0909_0909), ((VirtioNet)rig.Device).Mac);
        Assert.Equal(1, network.MacChanges);
        Assert.Equal(1, Command(rig, driver, queues[2], 1, 1, 3, 9, 9, 9, 9, 9));
        driver.SetCommon(0x14, 1, 0);
        Assert.Equal(Own, ((VirtioNet)rig.Device).Mac);
        Assert.Equal(NetworkOffloads.None, network.Accepted);
    }

    [Fact]
    public void ALegacyDriverWithoutMergingHasTheShortHeader()
    {
        FakeNetwork network = new();
        using VirtioRig rig = new(it => new VirtioNet(it.Memory, it.Inbox, network, Own, true));
        FakeTransport transport = new() { Features = (1UL << Csum) | (1UL << GuestCsum) | (1UL << Mac) };
        VirtioNet card = (VirtioNet)rig.Device;
        card.Attach(transport);
        Assert.Equal(2, card.Queues.Length);
        ulong leftOut = (1UL << GuestTso4) | (1UL << MergeableBuffers) | (1UL << ControlRx);
        Assert.Equal(0u, card.DeviceFeatures & leftOut);
        DriverQueue receive = Enable(rig, card.Queues[0], 0x10_0000);
        DriverQueue send = Enable(rig, card.Queues[1], 0x11_0000);

        byte[] frame = HubPort.Frame(Other, Own, 3, 100);
        Assert.True(rig.Memory.TryWrite(0x20_0000, new byte[10]));
        Assert.True(rig.Memory.TryWrite(0x20_1000, frame));
        send.Add(new DriverBuffer(0x20_0000, 10, false), new DriverBuffer(0x20_1000, 100, false));
        card.Notify(1);
        Assert.Equal(frame, Assert.Single(network.Sent).Bytes);

        receive.Add(new DriverBuffer(0x20_2000, 10, true), new DriverBuffer(0x20_3000, 1514, true));
        Assert.True(card.Receive(new FrameHeader(1, 0, 0, 0, 34, 6), frame));
        byte[] header = new byte[10];
        byte[] body = new byte[100];
        Assert.True(rig.Memory.TryRead(0x20_2000, header) && rig.Memory.TryRead(0x20_3000, body));
        Assert.Equal(new FrameHeader(1, 0, 0, 0, 34, 6), FrameHeader.Read(header));
        Assert.Equal(frame, body);

        // Legacy drivers set the address through the configuration space.
        card.WriteConfig(0, 1, 0x06);
        Assert.Equal(new MacAddress(0x0600_0005_0000), card.Mac);
        Assert.True(network.MacChanges > 0);
    }

    [Fact]
    public void ItsStateMovesToAnotherCard()
    {
        FakeNetwork network = new();
        using VirtioRig from = Make(network);
        MockDriver driver = new(from);
        DriverQueue[] queues = driver.Start();
        Assert.Equal(0, Command(from, driver, queues[2], 1, 1, 2, 9, 9, 9, 9, 9));
        Assert.Equal(0, Command(from, driver, queues[2], 0, 0, 0));
        using VirtioRig to = Make(network);
        StateCopy.Transfer(from.Device, to.Device);
        Assert.Equal(new MacAddress(0x0209_0909_0909), ((VirtioNet)to.Device).Mac);
    }

    private static VirtioRig Make(FakeNetwork network) =>
        new(rig => new VirtioNet(rig.Memory, rig.Inbox, network, Own));

    private static ulong AddBuffer(MockDriver driver, DriverQueue queue, uint bytes)
    {
        ulong page = driver.AllocatePage();
        queue.Add(new DriverBuffer(page, bytes, true));
        return page;
    }

    private static byte[] Take(VirtioRig rig, DriverQueue queue, ulong page)
    {
        Assert.True(queue.TryTakeUsed(out _, out uint written));
        byte[] bytes = new byte[written];
        Assert.True(rig.Memory.TryRead(page, bytes));
        return bytes;
    }

    /// <summary>Publishes a frame to send, cut at the given places.</summary>
    private static void Put(VirtioRig rig, MockDriver driver, DriverQueue queue, FrameHeader header,
        ReadOnlySpan<byte> frame, params int[] cuts)
    {
        byte[] all = new byte[12 + frame.Length];
        header.Write(all);
        frame.CopyTo(all.AsSpan(12));
        ulong page = driver.AllocatePage((ulong)(all.Length / 4096) + 1);
        Assert.True(rig.Memory.TryWrite(page, all));
        List<DriverBuffer> buffers = [];
        int start = 0;
        foreach (int end in cuts.Append(all.Length))
        {
            buffers.Add(new DriverBuffer(page + (ulong)start, (uint)(end - start), false));
            start = end;
        }

        queue.Add([.. buffers]);
    }

    /// <summary>Which frames get through: to us, to another, to all, to a group.</summary>
    private static (int Own, int Other, int All, int Group) Deliveries(
        VirtioRig rig, DriverQueue queue, MacAddress group)
    {
        int[] counts = [.. new[] { Own, Other, MacAddress.Broadcast, group }.Select(to =>
        {
            int before = queue.UsedIndex;
            Assert.True(((VirtioNet)rig.Device).Receive(default, HubPort.Frame(to, Other, 1)));
            return queue.UsedIndex - before;
        })];
        return (counts[0], counts[1], counts[2], counts[3]);
    }

    private static byte Command(VirtioRig rig, MockDriver driver, DriverQueue queue, params byte[] command)
    {
        ulong page = driver.AllocatePage();
        Assert.True(rig.Memory.TryWrite(page, command));
        DriverBuffer answerBuffer = new(page + 2048, 1, true);
        queue.Add(new DriverBuffer(page, (uint)command.Length, false), answerBuffer);
        queue.Notify();
        byte[] answer = new byte[1];
        Assert.True(rig.Memory.TryRead(page + 2048, answer));
        return answer[0];
    }

    private static DriverQueue Enable(VirtioRig rig, Virtqueue queue, ulong at)
    {
        DriverQueue driver = new(rig.Memory, queue.Size, at, at + 0x1000, at + 0x2000, () => { }, _ => at);
        queue.SetAddress(VirtqueueArea.Descriptor, 0, driver.Descriptors);
        queue.SetAddress(VirtqueueArea.Driver, 0, driver.Available);
        queue.SetAddress(VirtqueueArea.Device, 0, driver.Used);
        queue.Enable();
        return driver;
    }

    private sealed class FakeTransport : IVirtioTransport
    {
        public bool Running => true;

        public ulong Features { get; init; }

        public void InterruptQueue(int index)
        {
        }

        public void ConfigChanged()
        {
        }

        public void Fail(string reason) => Assert.Fail(reason);
    }
}

/// <summary>A back end that keeps what it is told.</summary>
internal sealed class FakeNetwork : INetworkBackend
{
    public NetworkOffloads SendOffloads { get; init; } = NetworkOffloads.All;

    public List<(FrameHeader Header, byte[] Bytes)> Sent { get; } = [];

    /// <summary>False: frames are looked at and forgotten.</summary>
    public bool Keep { get; init; } = true;

    public int EndsOfSend { get; private set; }

    public int Ready { get; set; }

    public int MacChanges { get; private set; }

    public NetworkOffloads Accepted { get; private set; }

    public void Connect(INetworkCard card)
    {
    }

    public void Send(in FrameHeader header, ReadOnlySpan<byte> frame)
    {
        Assert.InRange(frame.Length, INetworkBackend.MinFrame, INetworkBackend.MaxFrame);
        if (Keep)
        {
            Sent.Add((header, frame.ToArray()));
        }
    }

    public void EndSend() => EndsOfSend++;

    public void CardReady() => Ready++;

    public void AcceptedOffloads(NetworkOffloads offloads) => Accepted = offloads;

    public void MacChanged() => MacChanges++;

    public void Dispose()
    {
    }
}
