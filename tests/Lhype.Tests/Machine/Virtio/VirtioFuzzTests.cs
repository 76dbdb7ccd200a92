// Hostile drivers: random rings, random descriptors, random register accesses, random configuration writes. A
// device may break (DEVICE_NEEDS_RESET), but it never throws, never runs on for ever, never touches anything
// but guest RAM, and after a reset it works. A failure prints the seed; Sample(..., seed: "...") runs that
// case again.

using System;
using System.IO;
using CsCheck;
using Lhype.Machine.Net;
using Lhype.Machine.Virtio;
using Xunit;

namespace Lhype.Tests.Machine.Virtio;

public sealed class VirtioFuzzTests
{
    private const int Cases = 300;
    private const ulong MsixBar = VirtioRig.Window + 0x4000;
    private const int RamPages = (int)(VirtioRig.RamBytes >> 12);

    public static TheoryData<string> Kinds => new("block", "console", "rng", "net", "echo");

    [Theory]
    [MemberData(nameof(Kinds))]
    public void RandomRingsNeverHurt(string kind) =>
        Gen.Int.Sample(seed => RandomRings(kind, new Random(seed)), iter: Cases, threads: 1);

    [Theory]
    [MemberData(nameof(Kinds))]
    public void RandomRegisterAccessesNeverHurt(string kind) =>
        Gen.Int.Sample(seed => RandomRegisters(kind, new Random(seed)), iter: Cases, threads: 1);

    [Theory]
    [MemberData(nameof(Kinds))]
    public void RandomSavedStateIsRefusedOrHarmless(string kind) =>
        Gen.Int.Sample(seed => RandomState(kind, new Random(seed)), iter: Cases, threads: 1);

    private static VirtioRig Make(string kind) => new(rig => kind switch
    {
        "block" => new VirtioBlock(rig.Memory, rig.Inbox, new MemoryDisk(64 << 10), kind),
        "console" => new VirtioConsole(rig.Memory, rig.Inbox, _ => { }),
        "rng" => new VirtioRng(rig.Memory, rig.Inbox, new CountingEntropy()),
        "net" => new VirtioNet(rig.Memory, rig.Inbox, new FakeNetwork { Keep = false },
            MacAddress.ForDomain("1", 0)),
        _ => new EchoDevice(rig),
    });

    private static void RandomRings(string kind, Random random)
    {
        using VirtioRig rig = Make(kind);
        MockDriver driver = new(rig);
        DriverQueue[] queues = driver.Start();
        for (int round = 0; round < 20; round++)
        {
            DriverQueue queue = queues[random.Next(queues.Length)];
            Span<byte> area = new byte[random.Next(1, 1024)];
            random.NextBytes(area);
            Assert.True(rig.Memory.TryWrite(queue.Available + (ulong)random.Next(0x300), area));
            for (int i = random.Next(9); i > 0; i--)
            {
                WriteRandomDescriptor(queue, queue.Descriptors, queue.Size, random);
            }

            // Mostly a plausible index, so that chains are really walked; half the time a request that is
            // nearly right.
            queue.AvailableIndex = (ushort)(queue.UsedIndex + random.Next(random.Next(8) == 0 ? 70000 : 6));
            if (random.Next(2) == 0)
            {
                queue.AvailableIndex = queue.UsedIndex;
                AddPlausibleRequest(rig, queue, random);
            }

            queue.Notify();
            for (int i = 0; i < 8 && rig.Inbox.Count != 0; i++)
            {
                rig.Inbox.RunOnce();
            }

            (rig.Device as VirtioConsole)?.Receive(area);
            (rig.Device as VirtioNet)?.Receive(RandomHeader(random), area);
            if (driver.Broken)
            {
                queues = driver.Start();
            }
        }

        AssertStillWorks(rig);
    }

    /// <summary>Mostly a plain frame, or one that is nearly a sensible TCP packet.</summary>
    private static FrameHeader RandomHeader(Random random) => random.Next(3) == 0
        ? new FrameHeader((byte)random.Next(4), (byte)random.Next(6), (ushort)random.Next(100),
            (ushort)random.Next(200), (ushort)random.Next(100), 16)
        : default;

    /// <summary>A header as a disk would take it, data and a last byte, in the right order, then perhaps one
    /// descriptor spoilt.</summary>
    private static void AddPlausibleRequest(VirtioRig rig, DriverQueue queue, Random random)
    {
        const ulong Header = 0x18_0000, Data = 0x19_0000;
        Assert.True(rig.Memory.TryWriteUInt64(Header, (ulong)random.Next(15)));
        Assert.True(rig.Memory.TryWriteUInt64(Header + 8, (ulong)random.Next(140)));
        Assert.True(rig.Memory.TryWriteUInt64(Data, (ulong)random.Next(140)));
        Assert.True(rig.Memory.TryWriteUInt64(Data + 8, (ulong)random.Next(140)));
        bool writes = random.Next(2) == 0;
        DriverBuffer[] buffers = new DriverBuffer[random.Next(2, 12)];
        buffers[0] = new DriverBuffer(Header, 16, false);
        for (int i = 1; i < buffers.Length - 1; i++)
        {
            uint length = random.Next(2) == 0 ? 512u : 16u * (uint)random.Next(1, 600);
            buffers[i] = new DriverBuffer(Data, length, writes);
        }

        buffers[^1] = new DriverBuffer(Header + 64, 1, true);
        if (random.Next(2) == 0)
        {
            queue.AddIndirect(buffers);
        }
        else if (buffers.Length <= queue.Size)
        {
            queue.Add(buffers);
        }

        if (random.Next(3) == 0)
        {
            WriteRandomDescriptor(queue, queue.Descriptors, queue.Size, random);
        }
    }

    /// <summary>A descriptor that is nearly right: addresses in and around RAM, sometimes a plausible block
    /// header.</summary>
    private static void WriteRandomDescriptor(DriverQueue queue, ulong table, int entries, Random random)
    {
        ulong address = random.Next(6) switch
        {
            0 => VirtioRig.RamBytes - (ulong)random.Next(64),
            1 => 0xA_0000 - (ulong)random.Next(64),
            2 => (ulong)random.NextInt64(),
            3 => queue.Descriptors + (16 * (ulong)random.Next(queue.Size)),
            _ => 0x20_0000 + (ulong)random.Next(0x10_0000),
        };
        uint length = random.Next(5) switch
        {
            0 => (uint)random.NextInt64(),
            1 => 16 * (uint)random.Next(1, 20),
            2 => 512,
            3 => 1,
            _ => (uint)random.Next(70000),
        };
        int flags = random.Next(10) == 0 ? random.Next(65536) : random.Next(8);
        queue.WriteDescriptor(table, random.Next(entries), address, length, flags, random.Next(entries + 2));
    }

    private static void RandomRegisters(string kind, Random random)
    {
        using VirtioRig rig = Make(kind);
        MockDriver driver = new(rig);
        if (random.Next(2) == 0)
        {
            driver.Start();
        }

        for (int i = 0; i < 2000; i++)
        {
            int size = 1 << random.Next(4);
            ulong value = random.Next(3) switch
            {
                0 => (ulong)random.NextInt64() << 1,
                1 => (ulong)random.Next(RamPages + 2) << 12,
                _ => (ulong)random.Next(17),
            };
            switch (random.Next(8))
            {
                case 0:
                    rig.Transport.WriteConfig(random.Next(256), Math.Min(size, 4), (uint)value);
                    break;
                case 1:
                    rig.Transport.ReadConfig(random.Next(256), Math.Min(size, 4));
                    break;
                case 2:
                    rig.Transport.ReadMmio((ulong)random.Next(0x4000 - size), size);
                    break;
                case 3:
                    rig.Bus.WriteMmio(MsixBar + (ulong)random.Next(0x1000 - 8), size, value);
                    break;
                case 4:
                    rig.Bus.ReadMmio(MsixBar + (ulong)random.Next(0x1000 - 8), size);
                    break;
                case 5:
                    rig.Transport.WriteMmio((ulong)random.Next(0x40), size, value);
                    break;
                case 6:
                    rig.Transport.WriteMmio(0x3000 + (ulong)random.Next(16), size, value);
                    break;
                default:
                    rig.Transport.WriteMmio((ulong)random.Next(0x4000 - size), size, value);
                    break;
            }
        }

        AssertStillWorks(rig);
    }

    private static void RandomState(string kind, Random random)
    {
        using VirtioRig rig = Make(kind);
        MockDriver driver = new(rig);
        driver.Start();
        MemoryStream stream = new();
        using BinaryWriter writer = new(stream);
        rig.Transport.Save(writer);
        byte[] saved = stream.ToArray();
        for (int flips = random.Next(1, 8); flips > 0; flips--)
        {
            saved[random.Next(saved.Length)] = (byte)random.Next(256);
        }

        int length = random.Next(4) == 0 ? random.Next(saved.Length) : saved.Length;
        try
        {
            rig.Transport.Restore(new BinaryReader(new MemoryStream(saved, 0, length)));
        }
        catch (Exception error) when (error is InvalidDataException or EndOfStreamException)
        {
        }

        AssertStillWorks(rig);
    }

    /// <summary>After a reset every queue takes a request and returns it.</summary>
    private static void AssertStillWorks(VirtioRig rig)
    {
        rig.Transport.WriteConfig(4, 2, 0);
        rig.Transport.WriteConfig(0x10, 4, VirtioRig.Window);
        rig.Transport.WriteConfig(0x14, 4, VirtioRig.Window + 0x4000);
        MockDriver driver = new(rig);
        DriverQueue[] queues = driver.Start();
        foreach (DriverQueue queue in queues)
        {
            (rig.Device as VirtioConsole)?.Receive("x"u8);
            ulong page = driver.AllocatePage();
            queue.Add(new DriverBuffer(page, 16, false), new DriverBuffer(page + 64, 64, true));
            if (queue == queues[0])
            {
                (rig.Device as VirtioNet)?.Receive(default, new byte[40]);
            }

            queue.Notify();
            Assert.False(driver.Broken);
            Assert.Equal(1, queue.UsedIndex);
        }
    }
}
