// Why this file exists: the host's own MMU can translate guest addresses, with no instruction spent on it,
// if the guest's linear address space is laid out in the host's. A window is a stretch of reserved host
// addresses into which pages of guest RAM are mapped at their linear addresses. For 32-bit programs one of 4
// GiB holds everything, and GS points to its start, so translated code reaches linear address x as gs:[x];
// 64-bit ones get some of 1 TiB each. What is not mapped faults (FaultHandler) and is looked at then.
//
// SAFETY: every mapping is placed with MAP_FIXED inside the reservation made here and shows pages of one
// memfd; bounds are checked against the window and the file before each call.
//
// Called by the engine (WindowRegion), on the vCPU's thread.

using System;

namespace Lhype.Host;

/// <summary>A window of host addresses that shows guest RAM. Sizes and places in bytes; places count from the
/// window's start.</summary>
public sealed unsafe class AddressWindow : IDisposable
{
    /// <summary>Before and behind the window nothing is mapped either, so far that neither an operand nor a
    /// string that starts inside can leave it unnoticed.</summary>
    public const ulong GuardBytes = 1UL << 21;

    private const ulong Alignment = 1UL << 32;

    private readonly GuestRam _ram;
    private readonly ulong _span;
    private readonly ulong _reservedBytes;
    private nint _reserved;

    private AddressWindow(GuestRam ram, ulong span, nint reserved, ulong reservedBytes)
    {
        _ram = ram;
        _span = span;
        _reserved = reserved;
        _reservedBytes = reservedBytes;
        Base = ((ulong)reserved + GuardBytes + Alignment - 1) & ~(Alignment - 1);
    }

    /// <summary>Reserves the addresses for <paramref name="span"/> bytes (a multiple of 4096), aligned to 4
    /// GiB. Null if the host has none.</summary>
    public static AddressWindow? TryReserve(GuestRam ram, ulong span)
    {
        ulong bytes = span + (2 * GuardBytes) + Alignment;
        nint reserved = Libc.mmap(0, unchecked((nuint)bytes), Libc.PROT_NONE,
            Libc.MAP_PRIVATE | Libc.MAP_ANONYMOUS | Libc.MAP_NORESERVE, -1, 0);
        return reserved == -1 ? null : new AddressWindow(ram, span, reserved, bytes);
    }

    /// <summary>Host address of the window's first byte; a multiple of 4 GiB.</summary>
    public ulong Base { get; }

    /// <summary>True if a host address lies in the window or its guards.</summary>
    public bool Contains(ulong host) => host - (Base - GuardBytes) < _span + (2 * GuardBytes);

    /// <summary>Points GS of the calling thread to the window. The .NET runtime uses FS only.</summary>
    public void LoadGs()
    {
        if (Libc.arch_prctl(Libc.ARCH_SET_GS, Base) != 0)
        {
            throw new LhypeException("The host refuses to set the GS base (arch_prctl failed).");
        }
    }

    /// <summary>Shows [<paramref name="gpa"/>, +<paramref name="length"/>) of guest RAM at
    /// <paramref name="place"/>; all page-aligned. False if the host refuses (too many
    /// mappings).</summary>
    public bool TryMap(ulong place, ulong gpa, ulong length, bool writable)
    {
        if (place >= _span || length > _span - place || !_ram.Contains(gpa, length))
        {
            throw new ArgumentOutOfRangeException(nameof(place));
        }

        ulong offset = gpa < GuestRam.HighStart ? gpa : _ram.LowSize + (gpa - GuestRam.HighStart);
        int protection = writable ? Libc.PROT_READ | Libc.PROT_WRITE : Libc.PROT_READ;
        return Libc.mmap((nint)(Base + place), (nuint)length, protection,
            Libc.MAP_SHARED | Libc.MAP_FIXED | Libc.MAP_POPULATE, _ram.FileDescriptor, (long)offset) != -1;
    }

    /// <summary>Makes [<paramref name="place"/>, +<paramref name="length"/>) inaccessible again.</summary>
    public void Unmap(ulong place, ulong length)
    {
        if (place >= _span || length > _span - place)
        {
            throw new ArgumentOutOfRangeException(nameof(place));
        }

        nint mapped = Libc.mmap((nint)(Base + place), (nuint)length, Libc.PROT_NONE,
            Libc.MAP_PRIVATE | Libc.MAP_ANONYMOUS | Libc.MAP_NORESERVE | Libc.MAP_FIXED, -1, 0);
        if (mapped == -1)
        {
            // Running on with a stale mapping would break the guest's protection.
            throw new LhypeException("The host refuses to take back a mapping (mmap failed).");
        }
    }

    /// <summary>Gives the addresses back; no thread may use them any more.</summary>
    public void Dispose()
    {
        if (_reserved != 0)
        {
            _ = Libc.munmap(_reserved, unchecked((nuint)_reservedBytes));
            _reserved = 0;
        }
    }
}
