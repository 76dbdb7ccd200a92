// A piece of the user window (see UserWindow): a stretch of linear addresses, the host addresses that show
// it, and which pages of it are shown now.

using System;
using System.Runtime.InteropServices;
using Lhype.Host;

namespace Lhype.Cpu.Mmu;

/// <summary>One stretch of linear addresses in a window of host addresses. Sizes in bytes.</summary>
internal sealed unsafe class WindowRegion : IDisposable
{
    private readonly AddressWindow _host;
    private readonly ulong* _shown;
    private readonly ulong _span;

    private WindowRegion(AddressWindow host, ulong span, ulong first)
    {
        _host = host;
        _span = span;
        First = first;
        // One bit for each page. The host gives memory to what is written only.
        _shown = (ulong*)NativeMemory.AllocZeroed((nuint)(span >> 15));
    }

    /// <summary>A region of <paramref name="span"/> bytes from the linear address <paramref name="first"/>
    /// on, a multiple of the span. Null if the host has no addresses left for it.</summary>
    internal static WindowRegion? TryCreate(GuestRam ram, ulong span, ulong first) =>
        AddressWindow.TryReserve(ram, span) is { } host ? new WindowRegion(host, span, first) : null;

    /// <summary>Linear address of the first byte.</summary>
    internal ulong First { get; }

    /// <summary>Host minus linear address.</summary>
    internal ulong Addend => _host.Base - First;

    /// <summary>Points the thread's GS to the host addresses.</summary>
    internal void LoadGs() => _host.LoadGs();

    /// <summary>True if a host address lies in the region, or just before or behind it.</summary>
    internal bool ContainsHost(ulong host) => _host.Contains(host);

    /// <summary>True if a linear address belongs to the region.</summary>
    internal bool Contains(ulong linear) => linear - First < _span;

    /// <summary>True if the page of <paramref name="linear"/> is shown.</summary>
    internal bool IsShown(ulong linear)
    {
        ulong page = (linear - First) >> 12;
        return (_shown[page >> 6] >> (int)(page & 63) & 1) != 0;
    }

    /// <summary>Shows pages of RAM. False if the host refuses.</summary>
    internal bool TryShow(ulong linear, ulong gpa, uint pages, bool writable)
    {
        if (!_host.TryMap(linear - First, gpa, pages * 4096UL, writable))
        {
            return false;
        }

        for (uint i = 0; i < pages; i++)
        {
            ulong page = ((linear - First) >> 12) + i;
            _shown[page >> 6] |= 1UL << (int)(page & 63);
        }

        return true;
    }

    /// <summary>Takes one page back.</summary>
    internal void Hide(ulong linear)
    {
        Forget(linear, 1);
        _host.Unmap((linear - First) & ~4095UL, 4096);
    }

    /// <summary>Takes everything back; <see cref="Forget"/> has been told of all pages.</summary>
    internal void HideAll() => _host.Unmap(0, _span);

    /// <summary>The pages are no longer shown, or are about to be taken back.</summary>
    internal void Forget(ulong linear, uint pages)
    {
        for (uint i = 0; i < pages; i++)
        {
            ulong page = ((linear - First) >> 12) + i;
            _shown[page >> 6] &= ~(1UL << (int)(page & 63));
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _host.Dispose();
        NativeMemory.Free(_shown);
    }
}
