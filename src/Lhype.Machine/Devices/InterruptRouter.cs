// The wires between devices and interrupt controllers. A device gets an IrqLine and drives it; the line
// reaches the 8259 pair and the IO-APIC at once, as on a PC, and the guest's programming decides which of
// them answers. MSI writes go straight to the local APIC. The machine's ICpuBus asks the two questions at the
// end.

using System.IO;
using Lhype.Host;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Devices;

/// <summary>Routes interrupt lines and messages of the board to the vCPU.</summary>
public sealed class InterruptRouter : IInterruptSource, ISaveable
{
    private readonly Pic8259 _pic;
    private readonly IoApic _ioApic;
    private readonly LocalApic _localApic;
    private readonly int[] _asserted = new int[IoApic.InputCount];

    /// <summary>Joins the three controllers: EOIs travel back to the IO-APIC, PCI lines are level-triggered
    /// in the 8259s from the start, as firmware leaves them.</summary>
    public InterruptRouter(Pic8259 pic, LocalApic localApic)
    {
        _pic = pic;
        _localApic = localApic;
        _ioApic = new IoApic(message => _localApic.Accept(message));
        _localApic.EndOfInterrupt = _ioApic.EndOfInterrupt;
        SetUpLikeFirmware();
    }

    /// <summary>The IO-APIC this router feeds.</summary>
    public IoApic IoApic => _ioApic;

    /// <inheritdoc/>
    public bool InterruptRequested =>
        _localApic.InterruptReady || (_pic.Intr && _localApic.AcceptsExtInt);

    /// <summary>INTA: the vector to deliver, -1 if the request has gone. The local APIC is asked
    /// first.</summary>
    public int Acknowledge()
    {
        if (_localApic.InterruptReady)
        {
            return _localApic.Acknowledge();
        }

        return _pic.Intr && _localApic.AcceptsExtInt ? _pic.Acknowledge() : -1;
    }

    /// <summary>Makes a line to ISA interrupt <paramref name="irq"/> (0-15). Lines to the same interrupt are
    /// joined by "or", which PCI needs; it works for level-triggered interrupts only.</summary>
    public IrqLine CreateLine(int irq)
    {
        Invariant.Check(irq is >= 0 and < 16 and not 2, "interrupt line outside the board");
        return new IrqLine(level => Drive(irq, level));
    }

    /// <summary>A message-signalled interrupt: a write to the local APICs' address window.</summary>
    public void SendMessage(ulong address, uint data)
    {
        if (address >> 20 == MemoryMap.LocalApicBase >> 20)
        {
            _localApic.Accept(InterruptMessage.FromMsi(address, data));
        }
    }

    /// <summary>Resets all three controllers to what firmware leaves. The lines keep their levels.</summary>
    public void Reset()
    {
        _pic.Reset();
        _ioApic.Reset();
        _localApic.Reset();
        _localApic.SetVirtualWire();
        SetUpLikeFirmware();
    }

    /// <inheritdoc/>
    public void Save(BinaryWriter writer)
    {
        _pic.Save(writer);
        _ioApic.Save(writer);
        _localApic.Save(writer);
    }

    /// <summary>Restores the controllers. Call it after the devices have been restored: they drive their
    /// lines again, and the edges this makes must not count.</summary>
    public void Restore(BinaryReader reader)
    {
        _pic.Restore(reader);
        _ioApic.Restore(reader);
        _localApic.Restore(reader);
    }

    private void SetUpLikeFirmware()
    {
        int level = 1 << MemoryMap.AcpiIrq;
        for (int slot = 0; slot < 3; slot++)
        {
            level |= 1 << MemoryMap.PciIrq(slot);
        }

        _pic.SetLevelTriggered((ushort)level);
    }

    private void Drive(int irq, bool level)
    {
        _asserted[irq] += level ? 1 : -1;
        bool any = _asserted[irq] > 0;
        _pic.SetIrq(irq, any);
        _ioApic.SetLine(irq == MemoryMap.PitIrq ? MemoryMap.PitGsi : irq, any);
    }
}
