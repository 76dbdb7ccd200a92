// Guest RAM: one memfd, mapped once, so that host address = Base + guest-physical address for every RAM byte.
// RAM above the PCI hole (3 GiB) appears again at 4 GiB, as on a PC; the address space in between is reserved
// and inaccessible. Created by MachineBuilder; read by the MMU (raw pointer) and by devices (through
// GuestMemory).

using System;

namespace Lhype.Host;

/// <summary>The guest's RAM. Sizes and addresses in bytes. Owns the mapping and the memfd.</summary>
public sealed unsafe class GuestRam : IDisposable
{
    /// <summary>Guest-physical start of the PCI hole: RAM beyond this size continues at
    /// <see cref="HighStart"/>.</summary>
    public const ulong HoleStart = 0xC000_0000;

    /// <summary>Guest-physical address where RAM continues above the hole.</summary>
    public const ulong HighStart = 0x1_0000_0000;

    /// <summary>Start of the legacy video hole, which is never RAM.</summary>
    public const ulong VideoStart = 0xA_0000;

    /// <summary>End (exclusive) of the legacy video hole.</summary>
    public const ulong VideoEnd = 0xC_0000;

    private readonly nuint _reserved;
    private readonly ulong _videoStart;
    private readonly ulong _videoEnd;
    private int _fd;
    private byte* _base;

    /// <summary>Maps <paramref name="sizeBytes"/> (a multiple of 4096) of zeroed RAM, with the video hole of
    /// a PC unless <paramref name="videoHole"/> is false. Throws LhypeException.</summary>
    public GuestRam(ulong sizeBytes, bool videoHole = true)
    {
        if (sizeBytes == 0 || (sizeBytes & 4095) != 0)
        {
            throw new LhypeException(
                $"Guest memory of {sizeBytes} bytes is not a positive multiple of 4096.");
        }

        Size = sizeBytes;
        _videoStart = videoHole ? VideoStart : 0;
        _videoEnd = videoHole ? VideoEnd : 0;
        LowSize = Math.Min(sizeBytes, HoleStart);
        HighSize = sizeBytes - LowSize;
        _reserved = (nuint)(HighSize == 0 ? LowSize : HighStart + HighSize);
        _fd = Libc.memfd_create("lhype-ram", Libc.MFD_CLOEXEC);
        if (_fd < 0 || Libc.ftruncate(_fd, (long)sizeBytes) != 0)
        {
            throw new LhypeException(
                $"The host cannot provide {sizeBytes >> 20} MiB of guest memory; use a smaller --memory.");
        }

        nint reserved = Libc.mmap(0, _reserved, Libc.PROT_NONE,
            Libc.MAP_PRIVATE | Libc.MAP_ANONYMOUS | Libc.MAP_NORESERVE, -1, 0);
        if (reserved == -1 || !MapPart(reserved, 0, LowSize, 0)
            || (HighSize != 0 && !MapPart(reserved, HighStart, HighSize, (long)LowSize)))
        {
            throw new LhypeException(
                $"The host has no address space for {sizeBytes >> 20} MiB of guest RAM; use less --memory.");
        }

        _base = (byte*)reserved;
    }

    /// <summary>Host address of guest-physical address 0.</summary>
    public byte* Base => _base;

    /// <summary>Total RAM in bytes.</summary>
    public ulong Size { get; }

    /// <summary>RAM below the PCI hole, in bytes.</summary>
    public ulong LowSize { get; }

    /// <summary>RAM at <see cref="HighStart"/>, in bytes.</summary>
    public ulong HighSize { get; }

    /// <summary>The memfd that backs RAM (for sharing and snapshots).</summary>
    public int FileDescriptor => _fd;

    /// <summary>True if all of [<paramref name="gpa"/>, +<paramref name="length"/>) is RAM in one
    /// piece.</summary>
    public bool Contains(ulong gpa, ulong length)
    {
        if (gpa < LowSize)
        {
            return length <= LowSize - gpa
                && (gpa >= _videoEnd || length <= _videoStart - Math.Min(gpa, _videoStart));
        }

        return gpa >= HighStart && gpa - HighStart < HighSize && length <= HighSize - (gpa - HighStart);
    }

    /// <summary>True if the 4 KiB page that holds <paramref name="gpa"/> is RAM.</summary>
    public bool IsRamPage(ulong gpa) => Contains(gpa & ~4095UL, 4096);

    /// <summary>The RAM bytes [<paramref name="gpa"/>, +<paramref name="length"/>) as a span; false if any is
    /// not RAM. The guest may change them at any moment: copy before checking.</summary>
    public bool TryGetSpan(ulong gpa, int length, out Span<byte> span)
    {
        if (length < 0 || !Contains(gpa, (ulong)length))
        {
            span = default;
            return false;
        }

        span = new Span<byte>(_base + gpa, length);
        return true;
    }

    /// <summary>Unmaps RAM and closes the memfd. Nothing may run the guest any more.</summary>
    public void Dispose()
    {
        if (_base != null)
        {
            _ = Libc.munmap((nint)_base, _reserved);
            _base = null;
            _ = Libc.close(_fd);
            _fd = -1;
        }
    }

    private bool MapPart(nint reserved, ulong at, ulong size, long offset) =>
        Libc.mmap(reserved + (nint)at, (nuint)size, Libc.PROT_READ | Libc.PROT_WRITE,
            Libc.MAP_SHARED | Libc.MAP_FIXED, _fd, offset) != -1;
}
