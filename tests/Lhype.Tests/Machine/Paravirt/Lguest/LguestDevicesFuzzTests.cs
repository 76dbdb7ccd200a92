// Hostile paravirtual guests: random rings, descriptors, status bytes and features on the page, random DMA
// structures, keys and bindings on the old bus, random saved states. The guest may be killed with a reason;
// nothing throws, nothing runs on for ever, nothing but guest RAM is touched.

using System;
using System.IO;
using CsCheck;
using Lhype.Machine.Paravirt.Lguest;
using Lhype.Tests.Machine.Virtio;
using Xunit;

namespace Lhype.Tests.Machine.Paravirt.Lguest;

public sealed class LguestDevicesFuzzTests
{
    private const int Cases = 200;

    public static TheoryData<LguestGeneration> All => [.. Enum.GetValues<LguestGeneration>()];

    [Theory]
    [InlineData(LguestGeneration.B)]
    [InlineData(LguestGeneration.E)]
    public void RandomPagesNeverHurt(LguestGeneration generation) =>
        Gen.Int.Sample(seed => RandomPage(generation, new Random(seed)), iter: Cases, threads: 1);

    [Fact]
    public void RandomDmaNeverHurts() =>
        Gen.Int.Sample(seed => RandomDma(new Random(seed)), iter: Cases, threads: 1);

    [Theory]
    [MemberData(nameof(All))]
    public void RandomSavedStateIsRefusedOrHarmless(LguestGeneration generation) =>
        Gen.Int.Sample(seed => RandomState(generation, new Random(seed)), iter: Cases, threads: 1);

    private static void RandomPage(LguestGeneration generation, Random random)
    {
        using LguestRig rig = new(generation);
        var devices = PageDriver.Scan(rig, generation);
        foreach (PageDriver device in devices)
        {
            if (random.Next(4) != 0)
            {
                device.Start((uint)random.NextInt64());
            }
        }

        for (int step = 0; step < 200 && rig.Death is null; step++)
        {
            PageDriver device = devices[random.Next(devices.Count)];
            DriverQueue queue = device.Queues[random.Next(device.Queues.Count)];
            switch (random.Next(9))
            {
                case 0:
                    rig.Write(device.StatusAddress, (byte)random.Next(256));
                    rig.Devices.Notify(device.Entry);
                    break;
                case 1:
                    rig.Write(device.Entry + (uint)random.Next(device.Length), (byte)random.Next(256));
                    break;
                case 2:
                    rig.Devices.Notify(Address(random));
                    break;
                case 3:
                    queue.AvailableIndex = (ushort)random.Next(random.Next(2) == 0 ? 4 : 65536);
                    break;
                case 4:
                    rig.Wires[0].Arrive(new byte[random.Next(14, 1600)]);
                    rig.Console.Type("typed"u8);
                    rig.Machine.Poll();
                    break;
                case 5:
                    rig.Write((uint)queue.Descriptors + (uint)random.Next(0x3000), (byte)random.Next(256));
                    break;
                default:
                    queue.WriteDescriptor(queue.Descriptors, random.Next(queue.Size), Address(random),
                        random.Next(3) == 0 ? (uint)random.Next() : (uint)random.Next(1, 600), random.Next(8),
                        random.Next(queue.Size + 1));
                    queue.Publish((ushort)random.Next(queue.Size + 1));
                    queue.Notify();
                    break;
            }
        }

        Assert.NotEqual("", rig.Death);
    }

    private static void RandomDma(Random random)
    {
        using LguestRig rig = new(LguestGeneration.A);
        for (int step = 0; step < 200 && rig.Death is null; step++)
        {
            uint structure = 0x10_0000 + (100u * (uint)random.Next(8));
            uint key = random.Next(8) == 0
                ? (uint)random.NextInt64() : 4 * (uint)random.Next(3) + (uint)random.Next(3) switch
                {
                    0 => 0,
                    1 => LguestRig.MemoryTop + 0x1000,
                    _ => LguestRig.MemoryTop + 0x2000,
                };
            switch (random.Next(7))
            {
                case 0:
                    rig.Devices.BindDma(key, structure, (uint)random.Next(9), (byte)random.Next(40));
                    break;
                case 1:
                    rig.Devices.BindDma(key, Address(random), (uint)random.Next(), (byte)random.Next(40));
                    break;
                case 2:
                    rig.Devices.SendDma(key, structure);
                    break;
                case 3:
                    rig.Write(LguestRig.MemoryTop + (uint)random.Next(0x2100), (byte)random.Next(256));
                    break;
                case 4:
                    rig.Wires[0].Arrive(new byte[random.Next(14, 1600)]);
                    rig.Console.Type("typed"u8);
                    rig.Machine.Poll();
                    rig.Clock.Advance(1_000_000);
                    break;
                default:
                    rig.Write32(structure, 0);
                    int piece = random.Next(16);
                    bool good = random.Next(8) != 0;
                    rig.Write32(structure + 4 + (4 * (uint)piece),
                        good ? 0x20_0000 + (4096u * (uint)random.Next(16)) : Address(random));
                    int length = good ? random.Next(1025) : random.Next(65536);
                    rig.Write(structure + 68 + (2 * (uint)piece), (byte)length, (byte)(length >> 8));
                    break;
            }
        }

        Assert.NotEqual("", rig.Death);
    }

    private static void RandomState(LguestGeneration generation, Random random)
    {
        using LguestRig rig = new(generation);
        MemoryStream stream = new();
        using BinaryWriter writer = new(stream);
        rig.Devices.Save(writer);
        byte[] saved = stream.ToArray();
        for (int flips = random.Next(1, 8); flips > 0; flips--)
        {
            saved[random.Next(saved.Length)] = (byte)random.Next(256);
        }

        int length = random.Next(4) == 0 ? random.Next(saved.Length) : saved.Length;
        try
        {
            rig.Devices.Restore(new BinaryReader(new MemoryStream(saved, 0, length)));
        }
        catch (Exception error) when (error is InvalidDataException or EndOfStreamException)
        {
        }

        rig.Devices.Notify(LguestRig.MemoryTop);
        rig.Devices.Notify(LguestRig.MemoryTop + 0x1000);
        rig.Clock.Advance(1_000_000);
    }

    private static uint Address(Random random) => random.Next(6) switch
    {
        0 => (uint)random.NextInt64(),
        1 => LguestRig.MemoryTop + (uint)random.Next(LguestBoard.DevicePages * 4096),
        2 => LguestRig.MemoryTop + (LguestBoard.DevicePages * 4096) - (uint)random.Next(64),
        3 => LguestRig.MemoryTop + (4096 * (uint)random.Next(20)),
        4 => 0xA_0000 - (uint)random.Next(64),
        _ => 0x20_0000 + (uint)random.Next(0x1_0000),
    };
}
