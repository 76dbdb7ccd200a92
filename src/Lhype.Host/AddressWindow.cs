// Why this file exists: the host's own MMU can translate guest addresses, with no instruction spent on it, if
// the guest's linear address space is laid out in the host's. A window is 4 GiB of reserved host addresses
// into which pages of guest RAM are mapped at their linear addresses; GS points to its start, so translated
// code reaches linear address x as gs:[x]. What is not mapped faults (FaultHandler) and is looked at then.
//
// SAFETY: every mapping is placed with MAP_FIXED inside the reservation made here and shows pages of one
// memfd; bounds are checked against the window and the file before each call.
//
// Called by the engine (UserWindow), on the vCPU's thread.

using System;

namespace Lhype.Host;

/// <summary>A 4 GiB window of host addresses that shows guest RAM at linear addresses. Sizes in
/// bytes.</summary>
public sealed unsafe class AddressWindow : IDisposable
{
    private const ulong Span = 1UL << 32;

    /// <summary>Behind the window nothing is mapped either: an operand that starts at its last byte faults
    /// instead of leaving it.</summary>
    private const ulong GuardBytes = 1UL << 16;

    /// <summary>Twice the window, so that one lies in it on a 4 GiB boundary.</summary>
    private const ulong ReservedBytes = (2 * Span) + GuardBytes;

    private readonly GuestRam _ram;
    private readonly ulong _base;
    private nint _reserved;

    /// <summary>Reserves the addresses, aligned to 4 GiB. Throws LhypeException if the host has
    /// none.</summary>
    public AddressWindow(GuestRam ram)
    {
        _ram = ram;
        _reserved = Libc.mmap(0, unchecked((nuint)ReservedBytes), Libc.PROT_NONE,
            Libc.MAP_PRIVATE | Libc.MAP_ANONYMOUS | Libc.MAP_NORESERVE, -1, 0);
        if (_reserved == -1)
        {
            throw new LhypeException("The host has no address space for a 4 GiB window (mmap failed).");
        }

        _base = ((ulong)_reserved + Span - 1) & ~(Span - 1);
    }

    /// <summary>Host address of linear address 0; a multiple of 4 GiB.</summary>
    public ulong Base => _base;

    /// <summary>True if a host address lies in the window or its guard.</summary>
    public bool Contains(ulong host) => host - _base < Span + GuardBytes;

    /// <summary>Points GS of the calling thread to the window. The .NET runtime uses FS only.</summary>
    public void LoadGs()
    {
        if (Libc.arch_prctl(Libc.ARCH_SET_GS, _base) != 0)
        {
            throw new LhypeException("The host refuses to set the GS base (arch_prctl failed).");
        }
    }

    /// <summary>Shows [<paramref name="gpa"/>, +<paramref name="length"/>) of guest RAM at
    /// <paramref name="linear"/>; all page-aligned. False if the host refuses (too many
    /// mappings).</summary>
    public bool TryMap(ulong linear, ulong gpa, ulong length, bool writable)
    {
        if (linear >= Span || length > Span - linear || !_ram.Contains(gpa, length))
        {
            throw new ArgumentOutOfRangeException(nameof(linear));
        }

        ulong offset = gpa < GuestRam.HighStart ? gpa : _ram.LowSize + (gpa - GuestRam.HighStart);
        int protection = writable ? Libc.PROT_READ | Libc.PROT_WRITE : Libc.PROT_READ;
        return Libc.mmap((nint)(_base + linear), (nuint)length, protection,
            Libc.MAP_SHARED | Libc.MAP_FIXED | Libc.MAP_POPULATE, _ram.FileDescriptor, (long)offset) != -1;
    }

    /// <summary>Makes [<paramref name="linear"/>, +<paramref name="length"/>) inaccessible again.</summary>
    public void Unmap(ulong linear, ulong length)
    {
        if (linear >= Span || length > Span - linear)
        {
            throw new ArgumentOutOfRangeException(nameof(linear));
        }

        nint mapped = Libc.mmap((nint)(_base + linear), (nuint)length, Libc.PROT_NONE,
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
            _ = Libc.munmap(_reserved, unchecked((nuint)ReservedBytes));
            _reserved = 0;
        }
    }
}
