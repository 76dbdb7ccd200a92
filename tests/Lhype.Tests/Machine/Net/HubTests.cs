// The hub file: who gets which frame, ports that come, go and are killed, files that are something else, are
// truncated or scribbled over, floods, and sleep without polling.

using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Linq;
using CsCheck;
using Lhype.Host;
using Lhype.Machine.Net;
using Xunit;

namespace Lhype.Tests.Machine.Net;

public sealed class HubTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("lhype-hub-").FullName;

    private string NetFile => Path.Combine(_directory, "netfile");

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Theory]
    [InlineData(-1)]
    [InlineData(0)]
    [InlineData(4096)]
    [InlineData(100_000)]
    public void AnEmptyFileBecomesAHub(int bytes)
    {
        if (bytes >= 0)
        {
            File.WriteAllBytes(NetFile, new byte[bytes]);
        }

        using HubPort one = new(NetFile, 1);
        using HubPort two = new(NetFile, 2);
        one.Send(two.Card.Mac, 5);
        two.Expect(1);
        Assert.Equal(HubPort.Frame(two.Card.Mac, one.Card.Mac, 5), two.Card.Frames[0].Bytes);
    }

    [Fact]
    public void AFileOfSomethingElseIsRefusedAndKept()
    {
        byte[][] contents =
        [
            "hello"u8.ToArray(), [.. new byte[4095], 1], new byte[(1 << 20) + 1],
            [.. BitConverter.GetBytes(HubLayout.Magic + (1UL << 56)), .. new byte[100]],
        ];
        foreach (byte[] content in contents)
        {
            File.WriteAllBytes(NetFile, content);
            LhypeException error = Assert.Throws<LhypeException>(() => new HubPort(NetFile, 1));
            Assert.Contains("holds something else", error.Message, StringComparison.Ordinal);
            Assert.Equal(content, File.ReadAllBytes(NetFile));
        }

        Assert.Throws<LhypeException>(() => new HubPort(_directory, 1));
        Assert.Throws<LhypeException>(() => new HubPort("/dev/null", 1));
        Assert.Throws<LhypeException>(() => new HubPort("/dev/zero", 1));
        Assert.Throws<LhypeException>(() => new HubPort(Path.Combine(_directory, "no", "such"), 1));
    }

    [Fact]
    public void FramesGoToTheirOwnersGroupsToAllUnknownToAll()
    {
        using HubPort one = new(NetFile, 1);
        using HubPort two = new(NetFile, 2);
        using HubPort three = new(NetFile, 3);
        one.Send(two.Card.Mac, 1);
        two.Expect(1);
        three.ExpectNoMoreThan(0);
        one.Send(MacAddress.Broadcast, 2);
        one.Send(new MacAddress(0x3333_0000_0001), 3);
        one.Send(HubPort.Address(77), 4);
        two.Expect(4);
        three.Expect(3);
        one.ExpectNoMoreThan(0);

        // A guest behind guest 3, bridged: learned from what it sends.
        three.Backend.Send(default, HubPort.Frame(one.Card.Mac, HubPort.Address(77), 5));
        three.Backend.EndSend();
        one.Expect(1);
        one.Send(HubPort.Address(77), 6);
        three.Expect(4);
        two.ExpectNoMoreThan(4);

        // A guest that changed its address.
        two.Card.Mac = HubPort.Address(22);
        two.Backend.MacChanged();
        one.Send(HubPort.Address(22), 7);
        two.Expect(5);
        three.ExpectNoMoreThan(4);
    }

    [Fact]
    public void FramesOfAllSizesArriveWholeAndInOrder()
    {
        using HubPort one = new(NetFile, 1);
        using HubPort two = new(NetFile, 2);
        int[] sizes = [14, 15, 60, 1514, 9000, 65535, INetworkBackend.MaxFrame];
        FrameHeader header = new(1, FrameHeader.GsoTcp4, 66, 1448, 34, 16);
        List<byte[]> sent = [];
        for (int i = 0; i < 200; i++)
        {
            byte[] frame = HubPort.Frame(two.Card.Mac, one.Card.Mac, i, Math.Max(15, sizes[i % 7]));
            sent.Add(frame);
            one.Backend.Send(header, frame);
            one.Backend.EndSend();
            two.Expect(i + 1);
        }

        Assert.All(two.Card.Frames, frame => Assert.Equal(header, frame.Header));
        Assert.Equal(sent, two.Card.Frames.Select(frame => frame.Bytes));
    }

    [Fact]
    public void ACardWithoutRoomGetsItsFramesLater()
    {
        using HubPort one = new(NetFile, 1);
        using HubPort two = new(NetFile, 2);
        two.Card.Room = 2;
        for (int i = 0; i < 10; i++)
        {
            one.Send(two.Card.Mac, i);
        }

        two.Expect(2);
        two.ExpectNoMoreThan(2);
        two.Card.Room = int.MaxValue;
        two.Backend.CardReady();
        two.Expect(10);
        Assert.Equal(Enumerable.Range(0, 10), two.Card.Frames.Select(frame => (int)frame.Bytes[14]));
    }

    [Fact]
    public void AFloodIsLostAndDisturbsNobody()
    {
        using HubPort flooder = new(NetFile, 1);
        using HubPort victim = new(NetFile, 2);
        using HubPort other = new(NetFile, 3);
        victim.Card.Room = 0;
        for (int i = 0; i < 20_000; i++)
        {
            flooder.Send(victim.Card.Mac, i, 1500);
        }

        other.Send(victim.Card.Mac, 1);
        victim.Card.Room = int.MaxValue;
        victim.Backend.CardReady();
        Assert.True(victim.Inbox.RunUntil(() => victim.Card.Frames.Any(
            frame => MacAddress.Read(frame.Bytes.AsSpan(6)) == other.Card.Mac)));
        Assert.InRange(victim.Card.Frames.Count, 100, 300);

        // And afterwards the flooder's frames arrive again.
        int before = victim.Card.Frames.Count;
        flooder.Send(victim.Card.Mac, 9);
        victim.Expect(before + 1);
    }

    [Fact]
    public void PortsComeAndGoWhileOthersTalk()
    {
        using HubPort one = new(NetFile, 1);
        using HubPort two = new(NetFile, 2);
        int sent = 0;
        for (int round = 0; round < 20; round++)
        {
            using HubPort guest = new(NetFile, 3 + round);
            guest.Send(MacAddress.Broadcast, round);
            one.Send(guest.Card.Mac, round);
            guest.Expect(1);
            one.Send(two.Card.Mac, round);
            two.Send(one.Card.Mac, round);
            sent++;
            one.Expect(2 * sent);
            two.Expect(2 * sent);
        }

        // Nobody is left but these two: three guests' worth of rings were ever needed.
        Assert.Equal(HubLayout.RingsOf(3), new FileInfo(NetFile).Length);
    }

    [Fact]
    public void OneAddressOnce()
    {
        using HubPort one = new(NetFile, 1);
        LhypeException error = Assert.Throws<LhypeException>(() => new HubPort(NetFile, 1));
        Assert.Contains("02:00:00:01:00:00 is on it already", error.Message, StringComparison.Ordinal);
        using HubPort two = new(NetFile, 2);
        one.Send(two.Card.Mac, 1);
        two.Expect(1);
    }

    [Fact]
    public void SixtyFourPortsAndNoMore()
    {
        using SharedFile others = SharedFile.Open(NetFile);
        for (int port = 0; port < HubLayout.Ports - 2; port++)
        {
            Assert.True(others.TryLock(HubLayout.PortLock(port)));
        }

        using HubPort one = new(NetFile, 1);
        using HubPort two = new(NetFile, 2);
        LhypeException error = Assert.Throws<LhypeException>(() => new HubPort(NetFile, 3));
        Assert.Contains("64 guests", error.Message, StringComparison.Ordinal);
        one.Send(two.Card.Mac, 1);
        two.Expect(1);
        two.Send(MacAddress.Broadcast, 2);
        one.Expect(1);
        Assert.Equal(HubLayout.FullBytes, new FileInfo(NetFile).Length);
    }

    [Fact]
    public void RingsDoNotOverlap()
    {
        HashSet<long> starts = [];
        for (int from = 0; from < HubLayout.Ports; from++)
        {
            for (int to = 0; to < HubLayout.Ports; to++)
            {
                if (from != to)
                {
                    long ring = HubLayout.Ring(from, to);
                    Assert.True(starts.Add(ring));
                    Assert.InRange(ring, HubLayout.RingsOf(Math.Max(from, to)),
                        HubLayout.RingsOf(Math.Max(from, to) + 1) - HubLayout.RingBytes);
                }
            }
        }

        Assert.Equal(HubLayout.FullBytes, HubLayout.RingsOf(HubLayout.Ports));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(4096)]
    [InlineData(16384)]
    [InlineData(100_000)]
    public void ATruncatedFileIsReportedOnceAndNobodyDies(int bytes)
    {
        using HubPort one = new(NetFile, 1);
        using HubPort two = new(NetFile, 2);
        one.Send(two.Card.Mac, 1);
        two.Expect(1);
        using (FileStream file = File.OpenWrite(NetFile))
        {
            file.SetLength(bytes);
        }

        for (int i = 0; i < 300; i++)
        {
            one.Send(two.Card.Mac, i, 1500);
            two.Send(one.Card.Mac, i, 1500);
        }

        Assert.Contains(NetFile, Assert.Single(one.Reports), StringComparison.Ordinal);
        Assert.False(one.Card.Link);

        // Nobody can join a broken hub for long either: it becomes a new one, or is refused.
        two.Backend.CardReady();
        Assert.True(two.Reports.Count <= 1);
    }

    [Fact]
    public void AnIdlePortNoticesThatTheFileIsNoHubAnyMore()
    {
        using HubPort one = new(NetFile, 1);
        File.WriteAllBytes(NetFile, new byte[20000]);
        Assert.True(one.Inbox.RunUntil(() => one.Reports.Count == 1));
    }

    [Theory]
    [InlineData(HubLayout.HeadOffset)]
    [InlineData(HubLayout.TailOffset)]
    public void APositionScribbledOverWhileTheRingIsFullHeals(int position)
    {
        using HubPort one = new(NetFile, 1);
        using HubPort two = new(NetFile, 2);
        two.Card.Room = 0;
        for (int i = 0; i < 3000; i++)
        {
            // As long as the frames below: not one more of them fits.
            one.Send(two.Card.Mac, i, 77);
        }

        using (FileStream file = new(NetFile, FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
        {
            file.Position = HubLayout.Ring(0, 1) + position;
            file.Write(BitConverter.GetBytes(0x1234_5678_9ABC_DEF0));
        }

        // The card's room comes back, the reader sees the nonsense, and a few frames later all is well.
        two.Card.Room = int.MaxValue;
        two.Inbox.RunUntil(() => false, 50);
        two.Backend.CardReady();
        bool healed = false;
        for (int i = 0; i < 5 && !healed; i++)
        {
            healed = Arrived(one, two, 200 + i);
        }

        Assert.True(healed);
        Assert.Empty(two.Reports);
    }

    [Fact]
    public void AnIdlePortNoticesThatTheFileWasTruncated()
    {
        using HubPort one = new(NetFile, 1);
        using HubPort two = new(NetFile, 2);
        // A port that has not looked since another came cannot know that the file was longer.
        one.Send(two.Card.Mac, 1);
        two.Expect(1);
        two.Send(one.Card.Mac, 1);
        one.Expect(1);
        using (FileStream file = File.OpenWrite(NetFile))
        {
            file.SetLength(100_000);
        }

        Assert.True(one.Inbox.RunUntil(() => one.Reports.Count == 1));
        Assert.True(two.Inbox.RunUntil(() => two.Reports.Count == 1));
    }

    [Fact]
    public void ScribbledFilesNeverHurtAndHealWhenTheScribblingEnds()
    {
        // A full ring whose receiver follows a scribbled head.
        Scribble(new Random(62));
        Gen.Int.Sample(seed => Scribble(new Random(seed)), iter: 15, threads: 1);
    }

    [Fact]
    public void AnIdlePortSleeps()
    {
        using HubPort one = new(NetFile, 1);
        using HubPort two = new(NetFile, 2);
        one.Send(two.Card.Mac, 1);
        two.Expect(1);
        TimeSpan before = Process.GetCurrentProcess().TotalProcessorTime;
        int posts = two.Inbox.Posts;
        two.Inbox.RunUntil(() => false, 1500);
        Assert.Equal(posts, two.Inbox.Posts);

        // Other tests run in this process too: the bound is against a loop, not a measurement.
        Assert.True(Process.GetCurrentProcess().TotalProcessorTime - before < TimeSpan.FromSeconds(10));
    }

    [Fact]
    public void AKilledProcessLeavesNothingBehind()
    {
        using HubPort one = new(NetFile, 1);
        using HubPort two = new(NetFile, 2);
        for (int round = 1; round <= 3; round++)
        {
            // The child floods everybody until it is killed, in the middle of whatever it does.
            int seen = two.Card.Frames.Count;
            using Process child = HubChild.Start(NetFile, 9);
            two.Expect(seen + 500);
            child.Kill();
            child.WaitForExit();
            one.Card.Frames.Clear();
            two.Card.Frames.Clear();
            two.Inbox.RunUntil(() => false, 20);
            two.Card.Frames.Clear();

            one.Send(two.Card.Mac, round);
            two.Expect(1);
            two.Send(one.Card.Mac, round);
            Assert.True(one.Inbox.RunUntil(() => one.Card.Frames.Any(
                frame => MacAddress.Read(frame.Bytes.AsSpan(6)) == two.Card.Mac)));

            // Under its old address, and in its old place.
            using HubPort again = new(NetFile, 9);
            again.Send(one.Card.Mac, round);
            Assert.True(one.Inbox.RunUntil(() => one.Card.Frames.Any(
                frame => MacAddress.Read(frame.Bytes.AsSpan(6)) == again.Card.Mac
                    && frame.Bytes.Length == 60)));
            one.Send(again.Card.Mac, round);
            again.Expect(1);
        }

        Assert.Equal(HubLayout.RingsOf(3), new FileInfo(NetFile).Length);
        Assert.Empty(one.Reports);
    }

    private void Scribble(Random random)
    {
        string file = Path.Combine(_directory, Path.GetRandomFileName());
        using HubPort one = new(file, 1);
        using HubPort two = new(file, 2);
        using (FileStream stream = new(file, FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
        {
            for (int i = 0; i < 50; i++)
            {
                // Not the magic, which would rightly end the hub; mostly where the numbers are.
                long at = random.Next(3) switch
                {
                    0 => random.NextInt64(64, stream.Length - 8),
                    1 => HubLayout.Ring(i % 2, 1 - (i % 2)) + (random.Next(2) * HubLayout.TailOffset),
                    _ => HubLayout.Address(random.Next(3)) + (8 * random.Next(16)),
                };
                at = Math.Min(at, stream.Length - 8);
                long value = random.Next(3) switch
                {
                    0 => random.NextInt64(),
                    1 => random.Next(HubLayout.RingCapacity * 2),
                    _ => 16 * random.Next(20),
                };
                stream.Position = at;
                stream.Write(BitConverter.GetBytes(value));
                stream.Flush();
                MacAddress to = random.Next(2) == 0 ? two.Card.Mac : MacAddress.Broadcast;
                one.Send(to, i, random.Next(15, 65536));
                two.Send(one.Card.Mac, i, random.Next(15, 1500));
                two.Inbox.RunUntil(() => true);
                two.Backend.CardReady();
            }
        }

        // Two heartbeats later everything works again.
        bool healed = false;
        for (int i = 0; i < 100 && !healed; i++)
        {
            one.Send(two.Card.Mac, 1);
            two.Send(one.Card.Mac, 1);
            one.Inbox.RunUntil(() => false, 50);
            two.Inbox.RunUntil(() => false, 50);
            healed = two.Card.Frames.Count > 0 && one.Card.Frames.Count > 0
                && Arrived(one, two, 100 + i) && Arrived(two, one, 100 + i);
        }

        Assert.True(healed, $"{one.Card.Frames.Count} and {two.Card.Frames.Count} frames, "
            + string.Join("; ", one.Reports) + " / " + string.Join("; ", two.Reports));
        Assert.Empty(one.Reports);
        Assert.Empty(two.Reports);
    }

    private static bool Arrived(HubPort from, HubPort to, int tag)
    {
        to.Card.Frames.Clear();
        from.Send(to.Card.Mac, tag, 77);
        return to.Inbox.RunUntil(() => to.Card.Frames.Any(
            frame => frame.Bytes.Length == 77 && frame.Bytes[14] == (byte)tag), 1500);
    }
}
