// Split virtqueues: what the driver may do works, what it may not stops the device and nothing else.

using System.Linq;
using Lhype.Host;
using Lhype.Machine.Virtio;
using Xunit;

namespace Lhype.Tests.Machine.Virtio;

public sealed class VirtqueueTests
{
    private const ulong Version1 = 1UL << VirtioFeature.Version1;
    private const ulong WithEvents = Version1 | (1UL << VirtioFeature.EventIdx);
    private const ulong WithIndirect = Version1 | (1UL << VirtioFeature.IndirectDesc);

    private readonly VirtioRig _rig = new(rig => new EchoDevice(rig));
    private readonly MockDriver _driver;

    public VirtqueueTests() => _driver = new MockDriver(_rig);

    private EchoDevice Device => (EchoDevice)_rig.Device;

    [Fact]
    public void RequestComesBackWithItsHeadAndLength()
    {
        DriverQueue queue = _driver.Start(Version1)[0];
        ulong page = _driver.AllocatePage();
        queue.Add(new DriverBuffer(page, 16, false));
        ushort head = queue.Add(new DriverBuffer(page, 16, false), new DriverBuffer(page + 64, 8, true));
        queue.Notify();
        Assert.True(queue.TryTakeUsed(out uint first, out uint none));
        Assert.Equal((0u, 0u), (first, none));
        Assert.True(queue.TryTakeUsed(out uint second, out uint written));
        Assert.Equal((head, 1u), ((ushort)second, written));
        Assert.True(_rig.Memory.TryReadUInt16(page + 70, out ushort bytes));
        Assert.Equal(0xEC00, bytes);
        Assert.Contains((page + 71, 1UL), _rig.WrittenRanges);
        Assert.False(_driver.Broken);
    }

    [Fact]
    public void RingsAndBuffersAboveFourGibibytesWork()
    {
        using VirtioRig rig =
            new(made => new EchoDevice(made), ramBytes: GuestRam.HoleStart + VirtioRig.RamBytes);
        MockDriver driver = new(rig, GuestRam.HighStart);
        DriverQueue queue = driver.Start(WithIndirect)[0];
        ulong page = driver.AllocatePage();
        queue.Add(new DriverBuffer(page, 16, false), new DriverBuffer(page + 64, 8, true));
        queue.Notify();
        Assert.True(queue.TryTakeUsed(out _, out uint written));
        Assert.Equal(1u, written);
        Assert.Contains((page + 71, 1UL), rig.WrittenRanges);
        Assert.False(driver.Broken);
    }

    /// <summary>Buffers that leave RAM at each of its ends, or that wrap around.</summary>
    [Theory]
    [InlineData(GuestRam.HoleStart - 8, 9)]
    [InlineData(GuestRam.HoleStart, 1)]
    [InlineData(GuestRam.HighStart - 1, 2)]
    [InlineData(GuestRam.HighStart + VirtioRig.RamBytes - 8, 9)]
    [InlineData(GuestRam.HighStart + VirtioRig.RamBytes, 1)]
    [InlineData(ulong.MaxValue - 7, 8)]
    [InlineData(ulong.MaxValue - 7, uint.MaxValue)]
    [InlineData(1UL << 63, 1)]
    public void BuffersOutsideRamOfAnyPartStopTheDevice(ulong address, uint length)
    {
        using VirtioRig rig =
            new(made => new EchoDevice(made), ramBytes: GuestRam.HoleStart + VirtioRig.RamBytes);
        MockDriver driver = new(rig, GuestRam.HighStart);
        DriverQueue queue = driver.Start(Version1)[0];
        queue.Add(new DriverBuffer(address, length, true));
        queue.Notify();
        Assert.True(driver.Broken);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void IndicesWrapAtSixteenBits(bool events)
    {
        DriverQueue queue = _driver.Start(events ? WithEvents : Version1)[0];
        ulong page = _driver.AllocatePage();
        for (int i = 0; i < 65540; i++)
        {
            queue.SetUsedEvent(queue.UsedIndex);
            queue.Add(new DriverBuffer(page, 4, true));
            queue.Notify();
            Assert.True(queue.TryTakeUsed(out _, out uint written));
            Assert.Equal(1u, written);
            Assert.True(_rig.Interrupts.Intx);
            _driver.ReadIsr();
            Assert.False(_rig.Interrupts.Intx);
            _rig.WrittenRanges.Clear();
        }

        Assert.Equal(4, queue.UsedIndex);
        Assert.Equal(events ? 4 : 0, queue.AvailEvent);
    }

    [Fact]
    public void EventIndexDecidesAboutInterrupts()
    {
        DriverQueue queue = _driver.Start(WithEvents)[0];
        ulong page = _driver.AllocatePage();
        queue.SetUsedEvent(2);
        foreach (bool expected in new[] { false, false, true, false })
        {
            queue.Add(new DriverBuffer(page, 4, true));
            queue.Notify();
            Assert.Equal(expected, _driver.ReadIsr() != 0);
        }

        Assert.Equal(4, queue.AvailEvent);
    }

    [Fact]
    public void NoInterruptFlagIsObeyed()
    {
        DriverQueue queue = _driver.Start(Version1)[0];
        queue.SetNoInterrupt(true);
        queue.Add(new DriverBuffer(_driver.AllocatePage(), 4, true));
        queue.Notify();
        Assert.Equal(1, queue.UsedIndex);
        Assert.Equal(0, _driver.ReadIsr());
        queue.SetNoInterrupt(false);
        queue.Add(new DriverBuffer(_driver.AllocatePage(), 4, true));
        queue.Notify();
        Assert.Equal(1, _driver.ReadIsr());
    }

    [Fact]
    public void RequestsBeforeDriverOkAreServedAtDriverOk()
    {
        Assert.True(_driver.Negotiate(Version1));
        DriverQueue queue = _driver.SetUpQueue(0);
        queue.Add(new DriverBuffer(_driver.AllocatePage(), 4, true));
        queue.Notify();
        Assert.Equal(0, queue.UsedIndex);
        _driver.DriverOk();
        Assert.Equal(1, queue.UsedIndex);
    }

    [Fact]
    public void IndirectTableWorksAfterDirectBuffers()
    {
        DriverQueue queue = _driver.Start(WithIndirect)[0];
        ulong page = _driver.AllocatePage();
        ulong table = _driver.AllocatePage();
        queue.WriteDescriptor(queue.Descriptors, 0, page, 4, 1, 5);
        queue.WriteDescriptor(queue.Descriptors, 5, table, 32, 4, 0);
        queue.WriteDescriptor(table, 0, page + 8, 4, 3, 1);
        queue.WriteDescriptor(table, 1, page + 16, 4, 2, 0);
        queue.Publish(0);
        queue.Notify();
        queue.AddIndirect(new DriverBuffer(page, 4, false), new DriverBuffer(page + 32, 1, true));
        queue.Notify();
        Assert.False(_driver.Broken);
        Assert.Equal(2, queue.UsedIndex);
        byte[] bytes = new byte[64];
        Assert.True(_rig.Memory.TryRead(page, bytes));
        Assert.Equal([19, 32], Enumerable.Range(0, 64).Where(i => bytes[i] == 0xEC));
    }

    [Fact]
    public void WorkBeyondOneGoWaitsInTheInbox()
    {
        DriverQueue queue = _driver.Start(Version1)[0];
        Device.Cost = 10 << 20;
        for (int i = 0; i < 5; i++)
        {
            queue.Add(new DriverBuffer(_driver.AllocatePage(), 4, true));
        }

        queue.Notify();
        Assert.Equal(2, Device.Served);
        Assert.Equal(1, queue.UsedFlags);
        Assert.Equal(1, _driver.ReadIsr());
        _rig.Inbox.RunOnce();
        Assert.Equal(4, Device.Served);
        _rig.Inbox.RunOnce();
        Assert.Equal(5, Device.Served);
        Assert.Equal(0, queue.UsedFlags);
        Assert.Equal(0, _rig.Inbox.Count);
    }

    [Fact]
    public void ResetForgetsPostponedWork()
    {
        DriverQueue queue = _driver.Start(Version1)[0];
        Device.Cost = 100 << 20;
        queue.Add(new DriverBuffer(_driver.AllocatePage(), 4, true));
        queue.Add(new DriverBuffer(_driver.AllocatePage(), 4, true));
        queue.Notify();
        _driver.SetCommon(0x14, 1, 0);
        _rig.Inbox.RunOnce();
        Assert.Equal(1, Device.Served);
    }

    public static TheoryData<string> Offences => new(
        "loop", "self loop", "next outside", "head outside", "empty buffer", "buffer outside", "buffer wraps",
        "buffer in video hole", "readable after writable", "too many available", "indirect not negotiated",
        "indirect in indirect", "indirect with next", "indirect length", "indirect empty", "indirect outside",
        "indirect too long", "direct and indirect too long", "indirect loop", "indirect next outside");

    [Theory]
    [MemberData(nameof(Offences))]
    public void OffenceBreaksTheDeviceOnly(string offence)
    {
        DriverQueue queue = _driver.Start(offence == "indirect not negotiated" ? Version1 : WithIndirect)[0];
        Commit(queue, offence);
        queue.Notify();
        Assert.True(_driver.Broken, offence);
        Assert.NotNull(_rig.Transport.FailReason);
        Assert.Equal(0, queue.UsedIndex);
        Assert.Equal(2, _driver.ReadIsr());
        Assert.Equal(0, Device.Served);

        // Nothing is served until a reset; after it the device works again.
        queue.Notify();
        Assert.Equal(0, queue.UsedIndex);
        DriverQueue again = _driver.Start(Version1)[0];
        again.Add(new DriverBuffer(_driver.AllocatePage(), 4, true));
        again.Notify();
        Assert.Equal(1, again.UsedIndex);
    }

    [Theory]
    [InlineData(0x20, 0x10_0008UL)]
    [InlineData(0x28, 0x10_0001UL)]
    [InlineData(0x30, 0x10_0002UL)]
    [InlineData(0x20, VirtioRig.RamBytes - 16)]
    [InlineData(0x28, VirtioRig.RamBytes - 8)]
    [InlineData(0x30, VirtioRig.RamBytes - 8)]
    [InlineData(0x30, 0x9_FFF0UL)]
    [InlineData(0x20, ulong.MaxValue - 15)]
    public void RingOutsideRamOrMisalignedNeedsReset(uint register, ulong address)
    {
        Assert.True(_driver.Negotiate(Version1));
        _driver.SetCommon(0x20, 8, 0x10_0000);
        _driver.SetCommon(0x28, 8, 0x10_1000);
        _driver.SetCommon(0x30, 8, 0x10_2000);
        _driver.SetCommon(register, 8, address);
        _driver.SetCommon(0x1C, 2, 1);
        Assert.Equal(0u, _driver.Common(0x1C, 2));
        Assert.True(_driver.Broken);
        _driver.DriverOk();
        Assert.Equal(2, _driver.ReadIsr());
        _driver.Write(2, 0, 2, 0);
        Assert.Equal(0, Device.Served);
    }

    private void Commit(DriverQueue queue, string offence)
    {
        ulong page = _driver.AllocatePage();
        ulong table = _driver.AllocatePage();
        ulong main = queue.Descriptors;
        switch (offence)
        {
            case "loop":
                queue.WriteDescriptor(main, 0, page, 4, 1, 1);
                queue.WriteDescriptor(main, 1, page, 4, 1, 0);
                break;
            case "self loop":
                queue.WriteDescriptor(main, 0, page, 4, 1, 0);
                break;
            case "next outside":
                queue.WriteDescriptor(main, 0, page, 4, 1, queue.Size);
                break;
            case "head outside":
                queue.Publish((ushort)queue.Size);
                return;
            case "empty buffer":
                queue.WriteDescriptor(main, 0, page, 0, 2, 0);
                break;
            case "buffer outside":
                queue.WriteDescriptor(main, 0, VirtioRig.RamBytes - 4, 5, 2, 0);
                break;
            case "buffer wraps":
                queue.WriteDescriptor(main, 0, ulong.MaxValue, uint.MaxValue, 2, 0);
                break;
            case "buffer in video hole":
                queue.WriteDescriptor(main, 0, 0x9_FFFF, 2, 2, 0);
                break;
            case "readable after writable":
                queue.WriteDescriptor(main, 0, page, 4, 3, 1);
                queue.WriteDescriptor(main, 1, page, 4, 0, 0);
                break;
            case "too many available":
                queue.WriteDescriptor(main, 0, page, 4, 2, 0);
                queue.AvailableIndex = (ushort)(queue.Size + 1);
                return;
            case "indirect in indirect":
                queue.WriteDescriptor(main, 0, table, 32, 4, 0);
                queue.WriteDescriptor(table, 0, table, 32, 4, 0);
                break;
            case "indirect with next":
                queue.WriteDescriptor(main, 0, table, 32, 5, 1);
                break;
            case "indirect length":
                queue.WriteDescriptor(main, 0, table, 24, 4, 0);
                break;
            case "indirect empty":
                queue.WriteDescriptor(main, 0, table, 0, 4, 0);
                break;
            case "indirect outside":
                queue.WriteDescriptor(main, 0, VirtioRig.RamBytes - 16, 32, 4, 0);
                break;
            case "indirect too long":
                queue.WriteDescriptor(main, 0, table, 16 * (uint)(queue.Size + 1), 4, 0);
                break;
            case "direct and indirect too long":
                queue.WriteDescriptor(main, 0, page, 4, 1, 1);
                queue.WriteDescriptor(main, 1, table, 16 * (uint)queue.Size, 4, 0);
                for (int i = 0; i < queue.Size; i++)
                {
                    queue.WriteDescriptor(table, i, page, 4, i == queue.Size - 1 ? 2 : 3, i + 1);
                }

                break;
            case "indirect loop":
                queue.WriteDescriptor(main, 0, table, 32, 4, 0);
                queue.WriteDescriptor(table, 0, page, 4, 3, 1);
                queue.WriteDescriptor(table, 1, page, 4, 3, 0);
                break;
            default:
                queue.WriteDescriptor(main, 0, table, 32, 4, 0);
                queue.WriteDescriptor(table, 0, page, 4, 3, 2);
                break;
        }

        queue.Publish(0);
    }
}
