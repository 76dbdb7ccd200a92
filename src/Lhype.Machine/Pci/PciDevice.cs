// What the PCI host bridge asks of a function and of the board it sits on, and what a function may ask of the
// bridge (INTx pin, MSI messages). Implemented by the virtio-pci transport, by the host bridge's own function
// 0 and by the boards that have a PCI bus.

namespace Lhype.Machine.Pci;

/// <summary>One PCI function (single-function devices only).</summary>
public interface IPciFunction
{
    /// <summary>Reads <paramref name="size"/> (1, 2, 4) bytes of configuration space at
    /// <paramref name="offset"/> (0-255).</summary>
    uint ReadConfig(int offset, int size);

    /// <summary>Writes configuration space.</summary>
    void WriteConfig(int offset, int size, uint value);
}

/// <summary>Where a function sends its interrupts.</summary>
public interface IPciInterrupts
{
    /// <summary>Drives the function's INTA# pin (level).</summary>
    void SetIntx(bool level);

    /// <summary>False on a board whose interrupt controller takes no messages; a function then offers no
    /// MSI-X.</summary>
    bool TakesMessages => true;

    /// <summary>Sends a message-signalled interrupt (SDM vol. 3, 11.11): address 0xFEExxxxx and
    /// data.</summary>
    void SendMessage(ulong address, uint data);
}

/// <summary>What differs from board to board about a PCI bus.</summary>
public interface IPciBoard
{
    /// <summary>Start of the window memory BARs are placed in.</summary>
    ulong MmioStart { get; }

    /// <summary>End (exclusive) of that window.</summary>
    ulong MmioEnd { get; }

    /// <summary>Vendor (low half) and device ID of the host bridge in slot 0.</summary>
    uint HostBridgeId { get; }

    /// <summary>What configuration byte 3C of the function in <paramref name="slot"/> shows.</summary>
    byte InterruptLine(int slot);

    /// <summary>Interrupt wiring for a function that will sit in <paramref name="slot"/> (1-31).</summary>
    IPciInterrupts InterruptsOf(int slot);
}
