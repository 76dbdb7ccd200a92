// Why this file exists: emitted code indexes tables of the vCPU's state with numbers that the guest chose,
// and checks some of them by letting what lies behind the table fault (FaultHandler). So something
// inaccessible must lie there.
//
// Called by the translator, for the state of each vCPU.

using System;

namespace Lhype.Host;

/// <summary>Zeroed, page-aligned memory followed by addresses that fault. Sizes in bytes.</summary>
public sealed unsafe class GuardedMemory : IDisposable
{
    private readonly nuint _mapped;

    /// <summary>Maps <paramref name="bytes"/> and behind them <paramref name="guardBytes"/> that fault, both
    /// multiples of 4096. Throws LhypeException.</summary>
    public GuardedMemory(nuint bytes, nuint guardBytes)
    {
        _mapped = bytes + guardBytes;
        nint map = Libc.mmap(0, _mapped, Libc.PROT_NONE,
            Libc.MAP_PRIVATE | Libc.MAP_ANONYMOUS | Libc.MAP_NORESERVE, -1, 0);
        if (map == -1 || Libc.mprotect(map, bytes, Libc.PROT_READ | Libc.PROT_WRITE) != 0)
        {
            throw new LhypeException("The host has no memory for the state of a CPU (mmap failed).");
        }

        Start = (byte*)map;
    }

    /// <summary>The first byte.</summary>
    public byte* Start { get; private set; }

    /// <summary>Unmaps it; nobody may use it any more.</summary>
    public void Dispose()
    {
        if (Start != null)
        {
            _ = Libc.munmap((nint)Start, _mapped);
            Start = null;
        }
    }
}
