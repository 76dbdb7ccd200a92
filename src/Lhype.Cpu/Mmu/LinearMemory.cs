// Linear-address accesses made by C# (exception delivery, segment loads, instructions without an emitted
// form) and the slow path of emitted code. It owns the software TLBs that emitted code reads inline, and the
// one rule that keeps them true: a write entry exists only for RAM pages that are writable, dirty and hold no
// translated code. MMIO never gets an entry, so the inline check is a single compare for every special case
// at once.

using System;
using System.Runtime.InteropServices;
using Lhype.Host;

namespace Lhype.Cpu.Mmu;

/// <summary>Told when guest bytes that hold translated code are written.</summary>
internal interface ICodeWatcher
{
    /// <summary>Drops translations of [<paramref name="gpa"/>, +<paramref name="length"/>), which is about to
    /// be written and lies in one page. True if a translation was dropped.</summary>
    bool CodeWritten(ulong gpa, int length);
}

/// <summary>Access to guest memory by linear address, through paging and the TLBs of one vCPU.</summary>
public sealed unsafe partial class LinearMemory : IDisposable
{
    private const ulong PageMask = ~4095UL;
    /// <summary>One bit for each linear page.</summary>
    private const int ExecutedPagesBytes = 1 << 17;

    private readonly CpuState* _state;
    private readonly GuestRam _ram;
    private readonly ICpuBus _bus;
    private readonly TlbLog _globalLog = new();
    private readonly TlbLog _localLog = new();
    private readonly ulong _pages;
    private readonly ulong* _executedPages = (ulong*)NativeMemory.AllocZeroed(ExecutedPagesBytes);
    private int _jumpTables;
    private byte* _pageFlags;

    internal LinearMemory(
        CpuState* state, GuestRam ram, ICpuBus bus, bool alwaysWindow = false, uint? alwaysMapAt = null)
    {
        _state = state;
        _ram = ram;
        _bus = bus;
        _pages = (ram.HighSize != 0 ? GuestRam.HighStart + ram.HighSize : ram.LowSize) >> 12;
        _pageFlags = (byte*)NativeMemory.AllocZeroed((nuint)_pages);
        for (ulong gpa = GuestRam.VideoStart; gpa < GuestRam.VideoEnd && gpa >> 12 < _pages
            && !ram.IsRamPage(gpa); gpa += 4096)
        {
            _pageFlags[gpa >> 12] = PageFlag.Device;
        }

        for (ulong gpa = ram.LowSize; gpa < GuestRam.HighStart && gpa >> 12 < _pages; gpa += 4096)
        {
            _pageFlags[gpa >> 12] = PageFlag.Device;
        }

        state->RamBase = (ulong)ram.Base;
        state->RamEnd = _pages << 12;
        state->PageFlags = (ulong)_pageFlags;
        state->LocalLog = _localLog.Address;
        state->GlobalLog = _globalLog.Address;
        _state->CodePages = (ulong)_executedPages;
        Window = new UserWindow(state, ram, this, alwaysWindow);
        Map = new LinearMap(state, ram, this, alwaysMapAt);
        ClearTables();
    }

    /// <summary>Who hears of writes to translated code; set once by the engine.</summary>
    internal ICodeWatcher? Watcher { get; set; }

    /// <summary>Told when a page that is part of a larger one is used; null where nobody minds.</summary>
    internal Action<ulong>? LargePageMet { get; set; }

    /// <summary>The user address space in the host's page tables, for programs that run long.</summary>
    internal UserWindow Window { get; }

    /// <summary>The kernel's map of memory.</summary>
    internal LinearMap Map { get; }

    /// <summary>TLB misses handled here.</summary>
    internal ulong Misses { get; private set; }

    /// <summary>Flushes, complete or non-global.</summary>
    internal ulong Flushes => _state->TlbFlushes;

    /// <summary>Reads <paramref name="size"/> (1, 2, 4, 8) bytes, little endian, with the privilege of CPL 3
    /// if <paramref name="user"/>. False: #PF recorded, nothing read.</summary>
    public bool TryRead(ulong linear, int size, bool user, out ulong value)
    {
        ulong local = 0;
        bool done = TryReadBytes(linear, (byte*)&local, size, user);
        value = local;
        return done;
    }

    /// <summary>Writes the low <paramref name="size"/> (1, 2, 4, 8) bytes. False: #PF recorded, nothing
    /// written.</summary>
    public bool TryWrite(ulong linear, int size, ulong value, bool user) =>
        TryWriteBytes(linear, (byte*)&value, size, user);

    /// <summary>Checks that a write of <paramref name="size"/> bytes would succeed, setting A and D bits as
    /// it would. Used to check everything an instruction will store before it commits anything.</summary>
    public bool TryProbeWrite(ulong linear, int size, bool user)
    {
        ulong last = Wrap(linear + (ulong)size - 1);
        return TryResolve(linear, write: true, user, out _)
            && (((linear ^ last) & PageMask) == 0 || TryResolve(last & PageMask, write: true, user, out _));
    }

    /// <summary>Looks at <paramref name="size"/> (at most 8) bytes as a supervisor, without any effect the
    /// guest could see: for looking at a guest from outside (profiles). False: across two pages, no RAM, or
    /// the guest could not read them without setting a bit.</summary>
    internal bool TryPeek(ulong linear, int size, out ulong value)
    {
        value = 0;
        linear = Wrap(linear);
        if (FirstPart(linear, size) != size
            || !PageWalk.TryTranslate(_state, _ram, linear, AccessKind.Peek, user: false,
                out PageTranslation translation)
            || !_ram.IsRamPage(translation.PageGpa))
        {
            return false;
        }

        ulong local = 0;
        Buffer.MemoryCopy(_ram.Base + (translation.PageGpa | (linear & 4095)), &local, sizeof(ulong), size);
        value = local;
        return true;
    }

    /// <summary>Reads any number of bytes up to 4096. False: #PF recorded.</summary>
    public bool TryReadBytes(ulong linear, byte* destination, int size, bool user)
    {
        linear = Wrap(linear);
        int first = FirstPart(linear, size);
        if (!TryResolve(linear, write: false, user, out ulong gpa))
        {
            return false;
        }

        ulong secondGpa = 0;
        if (first != size && !TryResolve(Wrap(linear + (ulong)first), write: false, user, out secondGpa))
        {
            return false;
        }

        ReadPhysical(gpa, destination, first);
        if (first != size)
        {
            ReadPhysical(secondGpa, destination + first, size - first);
        }

        return true;
    }

    /// <summary>Writes any number of bytes up to 4096, all or nothing. False: #PF recorded.</summary>
    public bool TryWriteBytes(ulong linear, byte* source, int size, bool user)
    {
        linear = Wrap(linear);
        int first = FirstPart(linear, size);
        if (!TryResolve(linear, write: true, user, out ulong gpa))
        {
            return false;
        }

        ulong secondGpa = 0;
        if (first != size && !TryResolve(Wrap(linear + (ulong)first), write: true, user, out secondGpa))
        {
            return false;
        }

        _ = WritePhysical(gpa, source, first);
        if (first != size)
        {
            _ = WritePhysical(secondGpa, source + first, size - first);
        }

        return true;
    }

    /// <summary>The host address of the RAM byte at <paramref name="linear"/> and how many bytes follow it in
    /// its page, for runs of string instructions. False with <paramref name="isRam"/> true: #PF recorded.
    /// False with <paramref name="isRam"/> false: MMIO, or a write to a page that holds code.</summary>
    public bool TryGetRun(ulong linear, bool write, bool user, out byte* host, out int bytes, out bool isRam)
    {
        linear = Wrap(linear);
        host = null;
        bytes = 0;
        isRam = true;
        if (!TryResolve(linear, write, user, out ulong gpa))
        {
            return false;
        }

        isRam = _ram.IsRamPage(gpa) && !(write && _pageFlags[gpa >> 12] != 0);
        host = _ram.Base + gpa;
        bytes = 4096 - (int)(linear & 4095);
        return isRam;
    }

    /// <summary>Translates for an instruction fetch, page by page. False: #PF recorded.</summary>
    internal bool TryResolveCode(ulong linear, bool user, out PageTranslation translation) =>
        PageWalk.TryTranslate(_state, _ram, linear, AccessKind.Execute, user, out translation);

    /// <summary>True if the page of <paramref name="gpa"/> holds translated code.</summary>
    internal bool HoldsCode(ulong gpa) => gpa >> 12 < _pages && (_pageFlags[gpa >> 12] & PageFlag.Code) != 0;

    /// <summary>Marks a RAM page as holding translated code, and takes its write entries out of the
    /// TLBs.</summary>
    internal void MarkCode(ulong pageGpa)
    {
        if ((_pageFlags[pageGpa >> 12] & PageFlag.Code) != 0)
        {
            return;
        }

        _pageFlags[pageGpa >> 12] |= PageFlag.Code;
        ulong host = (ulong)_ram.Base + pageGpa;
        ForgetStack();
        DropWriteEntries(CpuState.DataTlb(_state, user: false, write: true), host);
        DropWriteEntries(CpuState.DataTlb(_state, user: true, write: true), host);
        Window.ProtectCode(pageGpa);
        Map.Protect(pageGpa);
    }

    /// <summary>The page holds no translated code any more.</summary>
    internal void UnmarkCode(ulong pageGpa)
    {
        _pageFlags[pageGpa >> 12] &= unchecked((byte)~PageFlag.Code);
        Map.Unprotect(pageGpa);
    }

    /// <summary>Writes guest-physical memory inside one page. True if that dropped translated code.</summary>
    internal bool WritePhysical(ulong gpa, byte* source, int size)
    {
        if (!_ram.IsRamPage(gpa))
        {
            WriteMmio(gpa, source, size);
            return false;
        }

        bool dropped = _pageFlags[gpa >> 12] != 0 && Watcher!.CodeWritten(gpa, size);
        Copy(source, _ram.Base + gpa, size);
        return dropped;
    }

    /// <summary>Reads guest-physical memory inside one page.</summary>
    internal void ReadPhysical(ulong gpa, byte* destination, int size)
    {
        if (_ram.IsRamPage(gpa))
        {
            Copy(_ram.Base + gpa, destination, size);
            return;
        }

        int done = 0;
        while (done < size)
        {
            int part = MmioPart(gpa + (ulong)done, size - done);
            int activity = _state->Activity;
            _state->Activity = (int)Activity.Mmio;
            ulong value = _bus.ReadMmio(gpa + (ulong)done, part);
            _state->Activity = activity;
            Copy((byte*)&value, destination + done, part);
            done += part;
        }
    }

    /// <summary>Linear addresses wrap at 4 GiB outside long mode.</summary>
    internal ulong Wrap(ulong linear) => (_state->Efer & 0x400) != 0 ? linear : (uint)linear;

    /// <inheritdoc/>
    public void Dispose()
    {
        Window.Dispose();
        NativeMemory.Free(_executedPages);
        NativeMemory.Free(_pageFlags);
        _pageFlags = null;
        _localLog.Dispose();
        _globalLog.Dispose();
    }

    /// <summary>Finds the guest-physical address of a data access, filling the TLB on the way.</summary>
    internal bool TryResolve(ulong linear, bool write, bool user, out ulong gpa)
    {
        TlbEntry* entry =
            CpuState.DataTlb(_state, user, write) + ((linear >> 12) & (CpuState.TlbEntries - 1));
        if (entry->Tag == (linear & PageMask))
        {
            gpa = linear + entry->Addend - (ulong)_ram.Base;
            return true;
        }

        return TryFill(linear, write, user, out gpa);
    }

    private static int FirstPart(ulong linear, int size) =>
        (int)Math.Min((ulong)size, 4096 - (linear & 4095));

    /// <summary>Small copies as one access each, so that a guest on another CPU never sees half a
    /// value.</summary>
    private static void Copy(byte* source, byte* destination, int size)
    {
        switch (size)
        {
            case 1:
                *destination = *source;
                break;
            case 2:
                *(ushort*)destination = *(ushort*)source;
                break;
            case 4:
                *(uint*)destination = *(uint*)source;
                break;
            case 8:
                *(ulong*)destination = *(ulong*)source;
                break;
            default:
                Buffer.MemoryCopy(source, destination, size, size);
                break;
        }
    }

    /// <summary>The widest naturally aligned device access (8, 4, 2 or 1 bytes) that starts here.</summary>
    private static int MmioPart(ulong gpa, int left)
    {
        int part = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
        while ((gpa & (ulong)(part - 1)) != 0)
        {
            part >>= 1;
        }

        return part;
    }

    private void WriteMmio(ulong gpa, byte* source, int size)
    {
        int done = 0;
        while (done < size)
        {
            int part = MmioPart(gpa + (ulong)done, size - done);
            ulong value = 0;
            Copy(source + done, (byte*)&value, part);
            int activity = _state->Activity;
            _state->Activity = (int)Activity.Mmio;
            _bus.WriteMmio(gpa + (ulong)done, part, value);
            _state->Activity = activity;
            done += part;
        }
    }
}
