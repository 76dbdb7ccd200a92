// The 8254 programmable interval timer: counter 0 drives IRQ 0, counter 2 the speaker (and old kernels' delay
// loops), with system control port B (0x61) that gates it. Nothing ticks here: a counter's value is computed
// from the virtual clock when the guest looks, and one ClockTimer waits for counter 0's next rising edge.
// Sources: Intel 8254 data sheet (order 231164), 82371SB data sheet for port 61.

using System;
using System.IO;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Devices;

/// <summary>The three counters of an 8254 and port 0x61.</summary>
public sealed class Pit8254 : IPortDevice, ISaveable
{
    /// <summary>Input clock in Hz (a third of the NTSC colour carrier's fourfold).</summary>
    public const uint InputHz = 1_193_182;

    private const ulong NeverTick = ulong.MaxValue;

    private readonly VirtualClock _clock;
    private readonly IrqLine _irq;
    private readonly ClockTimer _timer;
    private readonly PitCounter[] _counters = [new(), new(), new()];
    private byte _port61;

    /// <summary>Makes the chip; counter 0's output drives <paramref name="irq"/>. Counter 0 runs in mode 3
    /// with the largest count (18.2 Hz), as firmware leaves it.</summary>
    public Pit8254(VirtualClock clock, IrqLine irq)
    {
        _clock = clock;
        _irq = irq;
        _timer = clock.CreateTimer(OutputRose);
        Reset();
    }

    private ulong NowTick => TickAt(_clock.NowNs);

    /// <summary>Claims the counter ports and port 0x61.</summary>
    public void Attach(AddressBus bus)
    {
        bus.AddBytePorts(MemoryMap.PitPort, 4, this);
        bus.AddBytePorts(MemoryMap.SpeakerPort, 1, this);
    }

    /// <summary>Back to the state firmware leaves: counter 0 at 18.2 Hz, the others stopped.</summary>
    public void Reset()
    {
        foreach (PitCounter counter in _counters)
        {
            counter.Reset();
        }

        _port61 = 0;
        _counters[2].SetGate(false, 0);
        WritePort(MemoryMap.PitPort + 3, 1, 0x36);
        WritePort(MemoryMap.PitPort, 1, 0);
        WritePort(MemoryMap.PitPort, 1, 0);
    }

    /// <inheritdoc/>
    public uint ReadPort(ushort port, int size)
    {
        ulong now = NowTick;
        switch (port)
        {
            case MemoryMap.SpeakerPort:
                // Bit 4 toggles with every DRAM refresh, about every 15 us; old kernels time short delays
                // with it.
                uint refresh = (uint)(_clock.NowNs / 15_085 & 1) << 4;
                return _port61 | refresh | (_counters[2].Output(now) ? 0x20u : 0);
            case MemoryMap.PitPort + 3:
                return 0xFF;
            default:
                return _counters[port & 3].Read(now);
        }
    }

    /// <inheritdoc/>
    public void WritePort(ushort port, int size, uint value)
    {
        ulong now = NowTick;
        if (port == MemoryMap.SpeakerPort)
        {
            _port61 = (byte)(value & 0x03);
            _counters[2].SetGate((value & 1) != 0, now);
            return;
        }

        if (port != MemoryMap.PitPort + 3)
        {
            _counters[port & 3].Write((byte)value, now);
            if (port == MemoryMap.PitPort)
            {
                FollowOutput(now);
            }

            return;
        }

        WriteControl((byte)value, now);
    }

    /// <inheritdoc/>
    public void Save(BinaryWriter writer)
    {
        writer.Write(_port61);
        foreach (PitCounter counter in _counters)
        {
            counter.Save(writer);
        }
    }

    /// <inheritdoc/>
    public void Restore(BinaryReader reader)
    {
        _port61 = (byte)(reader.ReadByte() & 3);
        foreach (PitCounter counter in _counters)
        {
            counter.Restore(reader);
        }

        FollowOutput(NowTick);
    }

    private void WriteControl(byte value, ulong now)
    {
        int select = value >> 6;
        if (select == 3)
        {
            for (int i = 0; i < 3; i++)
            {
                if ((value & (2 << i)) != 0)
                {
                    _counters[i].ReadBack(
                        latchCount: (value & 0x20) == 0, latchStatus: (value & 0x10) == 0, now);
                }
            }
        }
        else if ((value & 0x30) == 0)
        {
            _counters[select].LatchCount(now);
        }
        else
        {
            _counters[select].SetControl(value, now);
            if (select == 0)
            {
                FollowOutput(now);
            }
        }
    }

    private void FollowOutput(ulong now)
    {
        _irq.Set(_counters[0].Output(now));
        ArmTimer(now);
    }

    // However late the timer ran, the guest gets one edge and the next is the first one still ahead: ticks
    // missed while the host was busy are dropped, not delivered in a burst. Edges stay on the grid of the
    // programmed period.
    private void OutputRose()
    {
        ulong now = NowTick;
        _irq.Set(false);
        _irq.Set(true);
        ArmTimer(now);
    }

    private void ArmTimer(ulong now)
    {
        ulong edge = _counters[0].NextRisingEdge(now);
        if (edge == NeverTick)
        {
            _timer.Disarm();
        }
        else
        {
            _timer.Arm(NsAt(edge));
        }
    }

    private static ulong TickAt(ulong ns) => (ulong)((UInt128)ns * InputHz / 1_000_000_000);

    // Rounded up, so that TickAt(NsAt(tick)) is never before the tick.
    private static ulong NsAt(ulong tick) =>
        (ulong)((((UInt128)tick * 1_000_000_000) + InputHz - 1) / InputHz);
}
