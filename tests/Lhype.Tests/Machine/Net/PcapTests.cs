// The bytes of a capture, that it can be read while it is written, and that both directions are in it once.

using System;
using System.IO;
using Lhype.Host;
using Lhype.Machine.Net;
using Lhype.Tests.Machine.Devices;
using Lhype.Tests.Machine.Virtio;
using Xunit;

namespace Lhype.Tests.Machine.Net;

public sealed class PcapTests : IDisposable
{
    private readonly string _file = Path.GetTempFileName();

    public void Dispose() => File.Delete(_file);

    [Fact]
    public void WritesTheFormatToTheByte()
    {
        File.WriteAllText(_file, "an older and longer capture, longer than the header of the new one is");
        using PcapFile pcap = PcapFile.Create(_file, Assert.Fail);
        pcap.Write(1_772_600_767_000_000_042, [0xAA, 0xBB, 0xCC]);
        pcap.Write(1_772_600_768_123_456_789, [0xDD]);
        pcap.Flush();
        Assert.Equal("4D3CB2A1" + "0200" + "0400" + "00000000" + "00000000" + "00000400" + "01000000"
            + "BFBDA769" + "2A000000" + "03000000" + "03000000" + "AABBCC"
            + "C0BDA769" + "15CD5B07" + "01000000" + "01000000" + "DD",
            Convert.ToHexString(ReadAll()));
    }

    [Fact]
    public void ManyLargeFramesPassThroughItsBuffer()
    {
        using PcapFile pcap = PcapFile.Create(_file, Assert.Fail);
        for (int i = 0; i < 50; i++)
        {
            pcap.Write(i, new byte[INetworkBackend.MaxFrame]);
        }

        pcap.Flush();
        Assert.Equal(24 + (50 * (16 + INetworkBackend.MaxFrame)), ReadAll().Length);
    }

    [Fact]
    public void BothDirectionsAreRecordedOnce()
    {
        FakeClock clock = new();
        FakeNetwork network = new();
        TestCard card = new(HubPort.Address(1));
        using CapturedBackend captured = new(network, PcapFile.Create(_file, Assert.Fail), clock.Clock);
        captured.Connect(card);
        captured.Send(default, new byte[60]);
        captured.EndSend();
        Assert.Equal(24 + 76, ReadAll().Length);
        card.Room = 0;
        Assert.False(captured.Receive(default, new byte[100]));
        card.Room = 1;
        Assert.True(captured.Receive(default, new byte[100]));
        captured.EndReceive();
        Assert.Equal(24 + 76 + 116, ReadAll().Length);
        Assert.Single(network.Sent);
        Assert.Single(card.Frames);
    }

    [Fact]
    public void AFileThatCannotBeMadeIsOneSentence()
    {
        LhypeException error =
            Assert.Throws<LhypeException>(() => PcapFile.Create("/no/such/directory/x", Assert.Fail));
        Assert.Contains("/no/such/directory/x", error.Message, StringComparison.Ordinal);
    }

    private byte[] ReadAll()
    {
        using FileStream stream = new(_file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        byte[] bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        return bytes;
    }
}
