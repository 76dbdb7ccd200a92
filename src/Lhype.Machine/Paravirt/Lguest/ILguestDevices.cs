// The seam between the hypercall core and the devices of such a guest. The core (LguestHost) calls it on the
// vCPU's thread; the implementations are chosen by the dialect's device model.

using System;
using System.Collections.Generic;
using System.IO;
using Lhype.Machine.Block;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Paravirt.Lguest;

/// <summary>What devices may use of the machine around them.</summary>
public sealed record LguestBoard
{
    /// <summary>The settled configuration: disks, networks, id.</summary>
    public required MachineConfig Config { get; init; }
    /// <summary>The dialect the guest speaks.</summary>
    public required LguestDialect Dialect { get; init; }
    /// <summary>The machine: inbox, clock, bus, the ways to end it.</summary>
    public required VirtualMachine Machine { get; init; }
    /// <summary>RAM, with the device pages behind <see cref="MemoryTop"/> included (dialects A to
    /// E).</summary>
    public required GuestMemory Memory { get; init; }
    /// <summary>First address after the RAM the guest is told of: the descriptor page (A to E).</summary>
    public required uint MemoryTop { get; init; }
    /// <summary>Pages from <see cref="MemoryTop"/> on: RAM for the descriptor page and device pages (A to E),
    /// none in F, whose PCI window starts after them.</summary>
    public const int DevicePages = 256;
    /// <summary>The guest's console.</summary>
    public required GuestConsole Console { get; init; }
    /// <summary>The opened disks, in the order the guest is to see them.</summary>
    public required IReadOnlyList<IBlockBackend> Disks { get; init; }
    /// <summary>The opened networks, in the order the guest is to see their cards.</summary>
    public IReadOnlyList<NetworkConnection> Networks { get; init; } = [];
    /// <summary>Randomness.</summary>
    public required IEntropy Entropy { get; init; }
    /// <summary>Raises guest interrupt 1..31 (0 is the clock): it stays pending until delivered.</summary>
    public required Action<int> RaiseInterrupt { get; init; }
}

/// <summary>The devices of one guest. Made once the dialect is known: before the first instruction, or while
/// the guest makes its first hypercall, and always before it looks for a device.</summary>
public interface ILguestDevices : ISaveable
{
    /// <summary>Writes the descriptor page, or plugs the PCI functions in. Called once, before the guest
    /// looks.</summary>
    void Place();

    /// <summary>NOTIFY (B to E) with a guest-physical address. False: neither a queue nor a descriptor is
    /// there, so it is early console text.</summary>
    bool Notify(uint address);

    /// <summary>BIND_DMA (A): <paramref name="buffers"/> is the physical address of an array of
    /// <paramref name="count"/> DMA structures; <paramref name="irq"/> 0 unbinds. False: no room, which the
    /// guest sees as result 0.</summary>
    bool BindDma(uint key, uint buffers, uint count, byte irq);

    /// <summary>SEND_DMA (A): the DMA structure at physical address <paramref name="dma"/> goes to whoever
    /// is bound to <paramref name="key"/>.</summary>
    void SendDma(uint key, uint dma);
}
