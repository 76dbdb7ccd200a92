// What the PCI host bridge asks of a function, and what a function may ask of the bridge (INTx pin, MSI
// messages). Implemented by the virtio-pci transport and by the host bridge's own function 0.

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

    /// <summary>Sends a message-signalled interrupt (SDM vol. 3, 11.11): address 0xFEExxxxx and
    /// data.</summary>
    void SendMessage(ulong address, uint data);
}
