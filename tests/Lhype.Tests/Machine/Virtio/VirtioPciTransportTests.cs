// The PCI face of a virtio device: header, BARs, capabilities, negotiation and both kinds of interrupt, in
// the order a Linux driver uses them.

using System.IO;
using Lhype.Machine.Virtio;
using Xunit;

namespace Lhype.Tests.Machine.Virtio;

public sealed class VirtioPciTransportTests
{
    private const ulong Version1 = 1UL << VirtioFeature.Version1;

    private readonly VirtioRig _rig = new(rig => new EchoDevice(rig));
    private readonly MockDriver _driver;

    public VirtioPciTransportTests() => _driver = new MockDriver(_rig);

    private VirtioPciTransport Pci => _rig.Transport;

    [Fact]
    public void HeaderIsThatOfAModernDevice()
    {
        Assert.Equal(0x1AF4u, Pci.ReadConfig(0, 2));
        Assert.Equal(0x1040u + 42, Pci.ReadConfig(2, 2));
        Assert.Equal(1u, Pci.ReadConfig(8, 1));
        Assert.Equal(0x00FF00u, Pci.ReadConfig(8, 4) >> 8);
        Assert.Equal(0x0010u, Pci.ReadConfig(6, 2));
        Assert.Equal(0x1AF4u, Pci.ReadConfig(0x2C, 2));
        Assert.True(Pci.ReadConfig(0x2E, 2) >= 0x40);
        Assert.Equal(11u, Pci.ReadConfig(0x3C, 1));
        Assert.Equal(1u, Pci.ReadConfig(0x3D, 1));
        Pci.WriteConfig(0, 4, 0);
        Assert.Equal(0x1AF4u, Pci.ReadConfig(0, 2));
    }

    [Fact]
    public void CapabilitiesDescribeStructuresInsideBars()
    {
        foreach (int kind in new[] { 1, 2, 3, 4 })
        {
            Assert.True(_driver.HasStructure(kind));
        }

        Assert.True(_driver.StructureLength(1) >= 56);
        Assert.Equal(8u, _driver.StructureLength(4));
        Assert.Equal(2u, Pci.ReadConfig(_driver.MsixCapability + 2, 2));
        Assert.Equal(1u, Pci.ReadConfig(_driver.MsixCapability + 4, 4));
        Assert.Equal(0x801u, Pci.ReadConfig(_driver.MsixCapability + 8, 4));
    }

    [Fact]
    public void DeviceWithoutConfigurationHasNoSuchCapability()
    {
        using VirtioRig rig = new(it => new VirtioRng(it.Memory, it.Inbox, new CountingEntropy()));
        Assert.False(new MockDriver(rig).HasStructure(4));
    }

    [Fact]
    public void BarsCanBeSizedAndMoved()
    {
        Assert.Equal(VirtioRig.Window, Pci.ReadConfig(0x10, 4));
        Assert.Equal(VirtioRig.Window + 0x4000, Pci.ReadConfig(0x14, 4));
        _driver.Config16(4, 0);
        Pci.WriteConfig(0x10, 4, uint.MaxValue);
        Pci.WriteConfig(0x14, 4, uint.MaxValue);
        Pci.WriteConfig(0x18, 4, uint.MaxValue);
        Assert.Equal(0xFFFF_C000u, Pci.ReadConfig(0x10, 4));
        Assert.Equal(0xFFFF_F000u, Pci.ReadConfig(0x14, 4));
        Assert.Equal(0u, Pci.ReadConfig(0x18, 4));
        Pci.WriteConfig(0x10, 4, 0xE123_4000);
        Pci.WriteConfig(0x14, 4, 0xE200_0000);
        Assert.Equal(0xFFFFul, _rig.Bus.ReadMmio(0xE123_4012, 2));
        _driver.Config16(4, 6);
        Assert.Equal(2ul, _rig.Bus.ReadMmio(0xE123_4012, 2));
        Assert.Equal(1ul, _rig.Bus.ReadMmio(0xE200_000C, 4));
        Assert.Equal(0xFFFFul, _rig.Bus.ReadMmio(VirtioRig.Window + 0x12, 2));
    }

    [Fact]
    public void FeaturesAreOfferedAndChecked()
    {
        Assert.True(_driver.Negotiate(MockDriver.AllFeatures));
        Assert.Equal(Version1 | (1 << 28) | (1 << 29) | (1 << 3), _driver.Features);
        Assert.False(_driver.Negotiate(~Version1));

        // A bit that was not offered.
        _driver.SetCommon(0x14, 1, 0);
        _driver.SetCommon(0x14, 1, 3);
        _driver.SetCommon(0x08, 4, 1);
        _driver.SetCommon(0x0C, 4, 3);
        _driver.SetCommon(0x14, 1, 0x0B);
        Assert.Equal(3, _driver.Status);

        // DRIVER_OK without FEATURES_OK is a legacy driver.
        _driver.SetCommon(0x14, 1, 0x07);
        Assert.Equal(3, _driver.Status);

        // Accepted features are settled.
        Assert.True(_driver.Negotiate(Version1));
        _driver.SetCommon(0x08, 4, 0);
        _driver.SetCommon(0x0C, 4, uint.MaxValue);
        Assert.Equal(0ul, _driver.Common(0x0C, 4));
        Assert.False(_rig.Device.Negotiated(VirtioFeature.EventIdx));
    }

    [Fact]
    public void QueueRegistersFollowTheSelector()
    {
        Assert.True(_driver.Negotiate(Version1));
        Assert.Equal(2ul, _driver.Common(0x12, 2));
        _driver.SetCommon(0x16, 2, 1);
        Assert.Equal(8ul, _driver.Common(0x18, 2));
        Assert.Equal(1ul, _driver.Common(0x1E, 2));
        foreach (uint bad in new uint[] { 0, 3, 16, 0xFFFF })
        {
            _driver.SetCommon(0x18, 2, bad);
            Assert.Equal(8ul, _driver.Common(0x18, 2));
        }

        _driver.SetCommon(0x18, 2, 4);
        DriverQueue queue = _driver.SetUpQueue(1);
        Assert.Equal(4, queue.Size);
        Assert.Equal(1ul, _driver.Common(0x1C, 2));
        Assert.Equal(queue.Used, _driver.Common(0x30, 8));

        // Settled while enabled; a zero does not disable.
        _driver.SetCommon(0x18, 2, 8);
        _driver.SetCommon(0x20, 4, 0);
        _driver.SetCommon(0x1C, 2, 0);
        Assert.Equal(4ul, _driver.Common(0x18, 2));
        Assert.Equal(queue.Descriptors, _driver.Common(0x20, 8));
        Assert.Equal(1ul, _driver.Common(0x1C, 2));

        _driver.SetCommon(0x16, 2, 2);
        Assert.Equal(0ul, _driver.Common(0x18, 2));
        _driver.SetCommon(0x18, 2, 4);
        _driver.SetCommon(0x1C, 2, 1);
        Assert.Equal(0ul, _driver.Common(0x1C, 2));
    }

    [Fact]
    public void ResetClearsEverything()
    {
        DriverQueue queue = _driver.Start()[0];
        queue.Add(new DriverBuffer(_driver.AllocatePage(), 4, true));
        queue.Notify();
        Assert.True(_rig.Interrupts.Intx);
        _driver.SetCommon(0x14, 1, 0);
        Assert.False(_rig.Interrupts.Intx);
        Assert.Equal(0, _driver.Status);
        Assert.Equal(0ul, _driver.Common(0x1C, 2));
        Assert.Equal(0ul, _driver.Common(0x20, 8));
        Assert.Equal(8ul, _driver.Common(0x18, 2));
        Assert.Equal(0, _driver.ReadIsr());
    }

    [Fact]
    public void IntxFollowsIsrAndCommandRegister()
    {
        DriverQueue queue = _driver.Start(Version1)[0];
        queue.Add(new DriverBuffer(_driver.AllocatePage(), 4, true));
        queue.Notify();
        Assert.True(_rig.Interrupts.Intx);
        Assert.Equal(0x0018u, Pci.ReadConfig(6, 2));
        _driver.Config16(4, 0x0406);
        Assert.False(_rig.Interrupts.Intx);
        Assert.Equal(0x0018u, Pci.ReadConfig(6, 2));
        _driver.Config16(4, 0x0006);
        Assert.True(_rig.Interrupts.Intx);
        Assert.Equal(1, _driver.ReadIsr());
        Assert.False(_rig.Interrupts.Intx);
        Assert.Equal(0x0010u, Pci.ReadConfig(6, 2));
        Assert.Equal(0, _driver.ReadIsr());
    }

    [Fact]
    public void MsixDeliversPerQueueAndForConfiguration()
    {
        _driver.EnableMsix();
        Assert.True(_driver.Negotiate(Version1));
        _driver.SetCommon(0x10, 2, 0);
        Assert.Equal(0ul, _driver.Common(0x10, 2));
        DriverQueue[] queues = [_driver.SetUpQueue(0), _driver.SetUpQueue(1)];
        for (uint i = 0; i < 2; i++)
        {
            _driver.SetCommon(0x16, 2, i);
            Assert.Equal(0xFFFFul, _driver.Common(0x1A, 2));
            _driver.SetCommon(0x1A, 2, i + 1);
            Assert.Equal(i + 1ul, _driver.Common(0x1A, 2));
        }

        _driver.SetCommon(0x1A, 2, 3);
        Assert.Equal(0xFFFFul, _driver.Common(0x1A, 2));
        _driver.SetCommon(0x1A, 2, 2);
        _driver.DriverOk();
        queues[1].Add(new DriverBuffer(_driver.AllocatePage(), 4, true));
        queues[1].Notify();
        queues[0].Add(new DriverBuffer(_driver.AllocatePage(), 4, true));
        queues[0].Notify();
        ulong generation = _driver.Common(0x15, 1);
        ((EchoDevice)_rig.Device).Change();
        Assert.NotEqual(generation, _driver.Common(0x15, 1));
        Assert.Equal([0x42u, 0x41u, 0x40u], _rig.Interrupts.Messages.ConvertAll(message => message.Data));
        Assert.All(_rig.Interrupts.Messages, message => Assert.Equal(0xFEE0_1000ul, message.Address));
        Assert.False(_rig.Interrupts.Intx);
    }

    [Fact]
    public void MaskedVectorStaysPending()
    {
        _driver.EnableMsix();
        DriverQueue queue = _driver.Start(Version1)[0];
        _driver.SetCommon(0x16, 2, 0);
        _driver.SetCommon(0x1A, 2, 1);
        ulong entry = _driver.Bar(1) + 16;
        _rig.Bus.WriteMmio(entry + 12, 4, 1);
        queue.Add(new DriverBuffer(_driver.AllocatePage(), 4, true));
        queue.Notify();
        Assert.Empty(_rig.Interrupts.Messages);
        Assert.Equal(2ul, _rig.Bus.ReadMmio(_driver.Bar(1) + 0x800, 8));
        _rig.Bus.WriteMmio(entry + 12, 4, 0);
        Assert.Single(_rig.Interrupts.Messages);
        Assert.Equal(0ul, _rig.Bus.ReadMmio(_driver.Bar(1) + 0x800, 8));

        // The function mask works the same way.
        _driver.Config16(_driver.MsixCapability + 2, 0xC002);
        queue.Add(new DriverBuffer(_driver.AllocatePage(), 4, true));
        queue.Notify();
        Assert.Single(_rig.Interrupts.Messages);
        _driver.Config16(_driver.MsixCapability + 2, 0x8002);
        Assert.Equal(2, _rig.Interrupts.Messages.Count);
    }

    [Fact]
    public void MessageOutsideTheInterruptRangeIsDropped()
    {
        _driver.EnableMsix();
        DriverQueue queue = _driver.Start(Version1)[0];
        _driver.SetCommon(0x16, 2, 0);
        _driver.SetCommon(0x1A, 2, 1);
        _rig.Bus.WriteMmio(_driver.Bar(1) + 16, 4, 0x10_0000);
        queue.Add(new DriverBuffer(_driver.AllocatePage(), 4, true));
        queue.Notify();
        Assert.Empty(_rig.Interrupts.Messages);
    }

    [Fact]
    public void WithoutBusMasteringNothingMoves()
    {
        DriverQueue queue = _driver.Start(Version1)[0];
        _driver.Config16(4, 0x0002);
        queue.Add(new DriverBuffer(_driver.AllocatePage(), 4, true));
        queue.Notify();
        Assert.Equal(0, queue.UsedIndex);
        _driver.Config16(4, 0x0006);
        Assert.Equal(1, queue.UsedIndex);
    }

    [Fact]
    public void ConfigurationWindowReachesTheRegisters()
    {
        _driver.Config16(4, 0);
        int at = _driver.WindowCapability;
        Pci.WriteConfig(at + 4, 1, 0);
        Pci.WriteConfig(at + 8, 4, 0x2000);
        Pci.WriteConfig(at + 12, 4, 1);
        Assert.Equal(0x5Au, Pci.ReadConfig(at + 16, 1));
        Pci.WriteConfig(at + 8, 4, 0x14);
        Pci.WriteConfig(at + 16, 4, 3);
        Assert.Equal(3u, Pci.ReadConfig(at + 16, 4));
        foreach (uint bad in new uint[] { 0, 3, 8, uint.MaxValue })
        {
            Pci.WriteConfig(at + 12, 4, bad);
            Pci.WriteConfig(at + 16, 4, 0);
            Pci.ReadConfig(at + 16, 4);
        }

        Pci.WriteConfig(at + 12, 4, 1);
        Assert.Equal(3u, Pci.ReadConfig(at + 16, 4));
        Pci.WriteConfig(at + 8, 4, 0x4000);
        Pci.ReadConfig(at + 16, 4);
    }

    [Fact]
    public void StateSurvivesSaveAndRestore()
    {
        _driver.EnableMsix();
        DriverQueue queue = _driver.Start()[0];
        _driver.SetCommon(0x16, 2, 0);
        _driver.SetCommon(0x1A, 2, 1);
        queue.Add(new DriverBuffer(_driver.AllocatePage(), 4, true));
        queue.Notify();
        ((EchoDevice)_rig.Device).Lazy = true;
        queue.Add(new DriverBuffer(_driver.AllocatePage(), 4, true));
        queue.SetUsedEvent(1);
        queue.Notify();
        Assert.Equal(1, queue.UsedIndex);

        MemoryStream stream = new();
        using BinaryWriter writer = new(stream);
        Pci.Save(writer);
        _driver.SetCommon(0x14, 1, 0);
        _driver.Config16(4, 0);
        ((EchoDevice)_rig.Device).Lazy = false;
        _rig.Interrupts.Messages.Clear();
        stream.Position = 0;
        using BinaryReader reader = new(stream);
        Pci.Restore(reader);
        Assert.Equal(stream.Length, stream.Position);

        // What waited when it was saved is served now.
        Assert.Equal(2, queue.UsedIndex);
        Assert.Equal([(0xFEE0_1000ul, 0x41u)], _rig.Interrupts.Messages);
        queue.Add(new DriverBuffer(_driver.AllocatePage(), 4, true));
        queue.Notify();
        Assert.Equal(3, queue.UsedIndex);
        Assert.False(_driver.Broken);
    }
}
