// The devices of dialect F: virtio 1.0 functions on a PCI bus that has nothing else, reached through ports
// CF8 and CFC, with BARs behind the guest's RAM. The interrupt of a function is the one numbered like its
// slot. Made by LguestDevices.

using System.Collections.Generic;
using System.IO;
using Lhype.Host;
using Lhype.Machine.Bus;
using Lhype.Machine.Pci;
using Lhype.Machine.Virtio;

namespace Lhype.Machine.Paravirt.Lguest;

/// <summary>The PCI bus of a paravirtual guest.</summary>
internal sealed class LguestPci : ILguestDevices, IPciBoard
{
    private const uint PageBytes = 4096;
    private const ushort KeyboardStatusPort = 0x64;

    private readonly LguestBoard _board;
    private readonly PciHostBridge _bridge;
    private readonly VirtioPciTransport[] _functions;

    /// <summary>Plugs each of <paramref name="devices"/> in, from slot 1 on.</summary>
    internal LguestPci(LguestBoard board, IReadOnlyList<VirtioDevice> devices)
    {
        bool fit = devices.Count < PciHostBridge.SlotCount;
        Invariant.Check(fit, "more devices than LguestDevices.Check allows");
        _board = board;
        ulong start = (ulong)board.MemoryTop + (LguestBoard.DevicePages * PageBytes);
        const ulong Align = VirtioPciTransport.WindowBytes;
        MmioStart = (start + Align - 1) & ~(Align - 1);
        _bridge = new PciHostBridge(this);
        _bridge.Attach(board.Machine.Bus);
        board.Machine.Bus.AddPorts(KeyboardStatusPort, 1, new NoKeyboard());
        _functions = new VirtioPciTransport[devices.Count];
        for (int i = 0; i < devices.Count; i++)
        {
            int slot = i + 1;
            uint window = (uint)(MmioStart + ((uint)i * Align));
            _functions[i] = new VirtioPciTransport(
                devices[i], board.Machine.Bus, _bridge.InterruptsOf(slot), window, InterruptLine(slot));
            _bridge.Plug(slot, _functions[i]);
        }
    }

    /// <inheritdoc/>
    public ulong MmioStart { get; }

    /// <inheritdoc/>
    public ulong MmioEnd => MmioStart + (PciHostBridge.SlotCount * (ulong)VirtioPciTransport.WindowBytes);

    /// <inheritdoc/>
    public uint HostBridgeId => 0;

    /// <inheritdoc/>
    public byte InterruptLine(int slot) => (byte)slot;

    /// <inheritdoc/>
    public IPciInterrupts InterruptsOf(int slot) => new SlotInterrupts(_board, slot);

    /// <inheritdoc/>
    public void Place() => _bridge.AssignResources();

    /// <inheritdoc/>
    public bool Notify(uint address) => false;

    /// <inheritdoc/>
    public bool BindDma(uint key, uint buffers, uint count, byte irq) => false;

    /// <inheritdoc/>
    public void SendDma(uint key, uint dma)
    {
    }

    /// <inheritdoc/>
    public void Save(BinaryWriter writer)
    {
        _bridge.Save(writer);
        foreach (VirtioPciTransport function in _functions)
        {
            function.Save(writer);
        }
    }

    /// <inheritdoc/>
    public void Restore(BinaryReader reader)
    {
        _bridge.Restore(reader);
        foreach (VirtioPciTransport function in _functions)
        {
            function.Restore(reader);
        }
    }

    /// <summary>An interrupt stays pending until it is delivered, whatever the pin does later; so each time
    /// the function has something to say counts.</summary>
    private sealed class SlotInterrupts(LguestBoard board, int slot) : IPciInterrupts
    {
        public bool TakesMessages => false;

        public void SetIntx(bool level)
        {
            if (level)
            {
                board.RaiseInterrupt(slot);
            }
        }

        public void SendMessage(ulong address, uint data)
        {
        }
    }

    /// <summary>Status of a keyboard controller that always has a byte waiting: what makes a kernel that
    /// probes for one give up at once.</summary>
    private sealed class NoKeyboard : IPortDevice
    {
        public uint ReadPort(ushort port, int size) => 1;

        public void WritePort(ushort port, int size, uint value)
        {
        }
    }
}
