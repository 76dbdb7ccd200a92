// A guest that writes random values to every chip of the board: nothing may throw, hang, or run away. The
// seed is in the test's name, so a failure can be run again.

using System;
using Lhype.Machine;
using Lhype.Machine.Bus;
using Lhype.Machine.Devices;
using Lhype.Machine.Pci;
using Xunit;

namespace Lhype.Tests.Machine.Devices;

public sealed class HostileGuestTests
{
    private static readonly ushort[] Ports =
    [
        0x20, 0x21, 0xA0, 0xA1, 0x40, 0x41, 0x42, 0x43, 0x60, 0x61, 0x64, 0x70, 0x71, 0x92, 0xF4, 0x3F8,
        0x3F9, 0x3FA, 0x3FB, 0x3FC, 0x3FD, 0x3FE, 0x3FF, 0x4D0, 0x4D1, 0x600, 0x602, 0x604, 0x605, 0x607,
        0x608, 0x60B, 0xCF8, 0xCF9, 0xCFC, 0xCFD, 0xCFF,
    ];

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void RandomAccessesAreHarmless(int seed)
    {
        Random random = new(seed);
        FakeClock time = new();
        AddressBus bus = new();
        LocalApic apic = new(time.Clock, 0);
        InterruptRouter router = Board(time, bus, apic);
        for (int i = 0; i < 100_000; i++)
        {
            int size = 1 << random.Next(3);
            uint value = random.Next(4) == 0 ? (uint)random.Next(256) : (uint)random.NextInt64(1L << 32);
            switch (random.Next(8))
            {
                case 0 or 1 or 2:
                    bus.WritePort(Ports[random.Next(Ports.Length)], size, value);
                    break;
                case 3 or 4:
                    bus.ReadPort(Ports[random.Next(Ports.Length)], size);
                    break;
                case 5:
                    ulong window = random.Next(2) == 0 ? MemoryMap.IoApicBase : MemoryMap.LocalApicBase;
                    ulong odd = random.Next(8) == 0 ? 2u : 0;
                    ulong address = window + ((ulong)random.Next(0x42) << 4) + odd;
                    bus.WriteMmio(address, 4, value);
                    bus.ReadMmio(address, 4);
                    break;
                case 6:
                    uint msr = random.Next(2) == 0 ? LocalApic.TscDeadlineMsr : LocalApic.BaseMsr;
                    apic.WriteMsr(msr, random.Next(2) == 0 ? value : 0xFEE0_0900);
                    break;
                default:
                    time.Jump((ulong)random.Next(1_000_000));
                    while (router.InterruptRequested && random.Next(4) != 0)
                    {
                        Assert.InRange(router.Acknowledge(), 0, 255);
                    }

                    break;
            }
        }

        router.Reset();
        Assert.False(router.InterruptRequested);
    }

    private static InterruptRouter Board(FakeClock time, AddressBus bus, LocalApic apic)
    {
        Pic8259 pic = new();
        InterruptRouter router = new(pic, apic);
        pic.Attach(bus);
        apic.Attach(bus);
        router.IoApic.Attach(bus);
        new Pit8254(time.Clock, router.CreateLine(MemoryMap.PitIrq)).Attach(bus);
        new Rtc146818(time.Clock, router.CreateLine(MemoryMap.RtcIrq), 1 << 28, 0).Attach(bus);
        new I8042(router.CreateLine(MemoryMap.KeyboardIrq), () => { }).Attach(bus);
        new AcpiPm(time.Clock, router.CreateLine(MemoryMap.AcpiIrq), () => { }, () => { }).Attach(bus);
        Uart16550 serial = new(time.Clock, router.CreateLine(MemoryMap.Com1Irq), _ => { });
        serial.Attach(bus, MemoryMap.Com1Port);
        for (int i = 0; i < 1000; i++)
        {
            serial.Receive((byte)i);
        }

        new DebugExit(_ => { }).Attach(bus);
        new PciHostBridge(router).Attach(bus);
        return router;
    }
}
