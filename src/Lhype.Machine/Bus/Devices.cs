// The faces a device shows the bus and the services it may ask for. A device knows nothing of vCPUs, engines
// or host time: it raises an IrqLine, reads GuestMemory, asks VirtualClock and IEntropy. All calls come on
// the vCPU thread (one thread owns all device state; other threads post work to it), so devices hold no
// locks.

using System;
using System.IO;

namespace Lhype.Machine.Bus;

/// <summary>A device that answers I/O ports.</summary>
public interface IPortDevice
{
    /// <summary>Reads <paramref name="size"/> (1, 2, 4) bytes at <paramref name="port"/>
    /// (absolute).</summary>
    uint ReadPort(ushort port, int size);

    /// <summary>Writes <paramref name="size"/> (1, 2, 4) bytes at <paramref name="port"/>
    /// (absolute).</summary>
    void WritePort(ushort port, int size, uint value);
}

/// <summary>A device that answers a range of guest-physical addresses.</summary>
public interface IMmioDevice
{
    /// <summary>Reads <paramref name="size"/> (1, 2, 4, 8) bytes at <paramref name="offset"/> in the
    /// range.</summary>
    ulong ReadMmio(ulong offset, int size);

    /// <summary>Writes <paramref name="size"/> (1, 2, 4, 8) bytes at <paramref name="offset"/> in the
    /// range.</summary>
    void WriteMmio(ulong offset, int size, ulong value);
}

/// <summary>A device whose state can be saved and restored (snapshots).</summary>
public interface ISaveable
{
    /// <summary>Writes the whole device state.</summary>
    void Save(BinaryWriter writer);

    /// <summary>Reads back what <see cref="Save"/> wrote. Throws <see cref="InvalidDataException"/> on bad
    /// data.</summary>
    void Restore(BinaryReader reader);
}

/// <summary>What asserts INTR towards the vCPU.</summary>
public interface IInterruptSource
{
    /// <summary>True while an interrupt can be delivered. Cheap: asked at every poll.</summary>
    bool InterruptRequested { get; }

    /// <summary>INTA: the vector to deliver, or -1 if the request has gone.</summary>
    int Acknowledge();
}

/// <summary>One interrupt input of an interrupt controller, as seen by the device that drives it.</summary>
public sealed class IrqLine
{
    private readonly Action<bool> _changed;

    /// <summary>Makes a line; <paramref name="changed"/> is called at every change of level.</summary>
    public IrqLine(Action<bool> changed) => _changed = changed;

    /// <summary>The present level.</summary>
    public bool Level { get; private set; }

    /// <summary>Drives the line high or low.</summary>
    public void Set(bool level)
    {
        if (level != Level)
        {
            Level = level;
            _changed(level);
        }
    }

    /// <summary>A low-high-low pulse, for edge-triggered inputs.</summary>
    public void Pulse()
    {
        Set(true);
        Set(false);
    }
}

/// <summary>Randomness for devices and boot seeds; injected, so that runs can be replayed.</summary>
public interface IEntropy
{
    /// <summary>Fills <paramref name="destination"/> with random bytes.</summary>
    void Fill(Span<byte> destination);
}

/// <summary>Work posted from other threads (terminal input, stop requests) to the thread that owns the
/// devices.</summary>
public interface IInbox
{
    /// <summary>Queues <paramref name="work"/> to run soon on the vCPU thread, waking it if it
    /// sleeps.</summary>
    void Post(Action work);
}
