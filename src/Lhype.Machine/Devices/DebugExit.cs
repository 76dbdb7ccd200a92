// The port test guests end the machine with (--debug-exit): a byte written to 0xF4 becomes the exit status.
// The same port and formula as QEMU's isa-debug-exit, so that a test guest runs on both.

using System;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Devices;

/// <summary>Port 0xF4: writing v ends the machine with status (v &lt;&lt; 1) | 1.</summary>
public sealed class DebugExit : IPortDevice
{
    private readonly Action<int> _exit;

    /// <summary>Makes the port; <paramref name="exit"/> is called with the exit status.</summary>
    public DebugExit(Action<int> exit) => _exit = exit;

    /// <summary>Claims four ports from 0xF4, so that wide writes arrive whole.</summary>
    public void Attach(AddressBus bus) => bus.AddPorts(MemoryMap.DebugExitPort, 4, this);

    /// <inheritdoc/>
    public uint ReadPort(ushort port, int size) => 0;

    /// <inheritdoc/>
    public void WritePort(ushort port, int size, uint value)
    {
        if (port == MemoryMap.DebugExitPort)
        {
            _exit((int)((value << 1) | 1) & 0xFF);
        }
    }
}
