// Why this file exists: translated calls and returns are paired with the host's own CALL and RET, so that the
// host's return predictor works for the guest. That needs a host stack on which nothing but return addresses
// of translated code lies. It has guard pages at both ends and so much room below what is in use that even a
// signal handler may run there.
//
// Called by the translator, which owns one for each vCPU.

using System;

namespace Lhype.Host;

/// <summary>A stack of host return addresses. Sizes in bytes.</summary>
public sealed unsafe class ReturnStack : IDisposable
{
    private const int PageBytes = 4096;

    private readonly int _mapped;
    private nint _map;

    /// <summary>Maps a stack of <paramref name="bytes"/> (a multiple of 4096). Throws
    /// LhypeException.</summary>
    public ReturnStack(int bytes)
    {
        _mapped = bytes + (2 * PageBytes);
        _map = Libc.mmap(0, (nuint)_mapped, Libc.PROT_READ | Libc.PROT_WRITE,
            Libc.MAP_PRIVATE | Libc.MAP_ANONYMOUS | Libc.MAP_NORESERVE, -1, 0);
        if (_map == -1 || Libc.mprotect(_map, PageBytes, Libc.PROT_NONE) != 0
            || Libc.mprotect(_map + PageBytes + bytes, PageBytes, Libc.PROT_NONE) != 0)
        {
            throw new LhypeException("The host has no memory for a stack of return addresses (mmap failed).");
        }

        Top = (ulong)(_map + PageBytes + bytes - 64);
    }

    /// <summary>Address of the bottom entry, 64-byte aligned; the stack grows down from here.</summary>
    public ulong Top { get; }

    /// <summary>Sets the bottom entry: where a return without a call leads.</summary>
    public void SetBottom(ulong address) => *(ulong*)Top = address;

    /// <summary>Unmaps the stack; no thread may be on it.</summary>
    public void Dispose()
    {
        if (_map != 0)
        {
            _ = Libc.munmap(_map, (nuint)_mapped);
            _map = 0;
        }
    }
}
