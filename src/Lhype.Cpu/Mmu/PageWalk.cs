// The page-table walk of the processor (SDM vol. 3, chapter 4): linear address to guest-physical address,
// with permission checks, accessed and dirty bits, and the exact page-fault error code. Called by
// LinearMemory on a TLB miss, so it is straight code without allocation. Two formats: 4-byte entries (32-bit
// paging) and 8-byte entries (PAE, and four levels in long mode, which differ only in where the walk starts).

using System.Threading;
using Lhype.Host;

namespace Lhype.Cpu.Mmu;

/// <summary>What an access wants to do.</summary>
public enum AccessKind
{
    /// <summary>Data read.</summary>
    Read,
    /// <summary>Data write (also the write half of a read-modify-write).</summary>
    Write,
    /// <summary>Instruction fetch.</summary>
    Execute,
    /// <summary>A read that changes nothing: it fails where a bit would have to be set, and records no
    /// fault.</summary>
    Peek,
}

/// <summary>The result of a successful walk, for one 4 KiB page.</summary>
public struct PageTranslation
{
    /// <summary>Guest-physical address of the 4 KiB page that holds the linear address.</summary>
    public ulong PageGpa;
    /// <summary>A write with the same privilege would succeed without changing any paging structure (the page
    /// is writable for it and its D bit is set).</summary>
    public bool WriteReady;
    /// <summary>The translation is global (PTE.G with CR4.PGE): it survives a CR3 load.</summary>
    public bool Global;
    /// <summary>The page is part of a larger one, so INVLPG anywhere in that one must forget it
    /// too.</summary>
    public bool Large;
    /// <summary>That larger one has 1 GiB.</summary>
    public bool Huge;
}

/// <summary>The hardware page walk.</summary>
public static unsafe class PageWalk
{
    /// <summary>Width of guest-physical addresses (CPUID 0x80000008); higher bits in entries are reserved. 40
    /// is also the most that PSE-36 can address.</summary>
    public const int PhysicalAddressBits = 40;

    private const uint Present = 1 << 0;
    private const uint Writable = 1 << 1;
    private const uint User = 1 << 2;
    private const uint Accessed = 1 << 5;
    private const uint Dirty = 1 << 6;
    private const uint PageSize = 1 << 7;
    /// <summary>G: kept by a CR3 load under CR4.PGE.</summary>
    internal const uint GlobalPage = 1 << 8;
    private const ulong NoExecute = 1UL << 63;

    private const uint ErrorPresent = 1 << 0;
    private const uint ErrorWrite = 1 << 1;
    private const uint ErrorUser = 1 << 2;
    private const uint ErrorReserved = 1 << 3;
    private const uint ErrorFetch = 1 << 4;

    private const ulong Frame = ((1UL << PhysicalAddressBits) - 1) & ~4095UL;
    private const ulong ReservedHigh = 0x7FFF_FFFF_FFFF_FFFF & ~((1UL << PhysicalAddressBits) - 1);
    /// <summary>In long mode bits 52-62 of an entry are ignored; in PAE mode they are reserved (SDM 4.4,
    /// 4.5).</summary>
    private const ulong IgnoredInLongMode = 0x7FF0_0000_0000_0000;

    /// <summary>
    /// Translates <paramref name="linear"/> for an access of <paramref name="kind"/> by CPL 3
    /// (<paramref name="user"/>) or a supervisor. Sets A, and D on a write. With paging off the result is the
    /// identity. False: #PF is recorded in <paramref name="state"/>.
    /// </summary>
    public static bool TryTranslate(CpuState* state, GuestRam ram, ulong linear, AccessKind kind, bool user,
        out PageTranslation translation)
    {
        if ((state->Efer & ControlBits.EferLongActive) != 0)
        {
            return TryWalkLong(state, ram, linear, kind, user, out translation);
        }

        linear = (uint)linear;
        if ((state->Cr0 & ControlBits.Cr0Paging) == 0)
        {
            translation.PageGpa = linear & ~4095UL;
            translation.WriteReady = true;
            translation.Global = true;
            translation.Large = false;
            translation.Huge = false;
            return true;
        }

        return (state->Cr4 & ControlBits.Cr4Pae) != 0
            ? TryWalkPae(state, ram, linear, kind, user, out translation)
            : TryWalk32(state, ram, linear, kind, user, out translation);
    }

    /// <summary>True if <paramref name="entry"/> is acceptable as one of the four PDPTEs that MOV to CR3
    /// loads in PAE mode; loading any other raises #GP (SDM vol. 3, 4.4.1).</summary>
    public static bool IsValidPdpte(ulong entry) =>
        (entry & Present) == 0 || (entry & (0x1E6 | ReservedHigh | NoExecute)) == 0;

    /// <summary>Reads an 8-byte paging-structure entry; outside RAM the bus floats high.</summary>
    internal static ulong ReadEntry64(GuestRam ram, ulong gpa)
    {
        byte* entry = EntryPointer(ram, gpa);
        return entry == null ? ulong.MaxValue : Volatile.Read(ref *(ulong*)entry);
    }

    /// <summary>32-bit paging (SDM vol. 3, 4.3): 4 KiB pages, and 4 MiB pages with PSE-36 under
    /// CR4.PSE.</summary>
    private static bool TryWalk32(CpuState* state, GuestRam ram, ulong linear, AccessKind kind, bool user,
        out PageTranslation translation)
    {
        translation = default;
        uint* pdePointer = (uint*)EntryPointer(ram, (state->Cr3 & 0xFFFF_F000) + ((linear >> 22) << 2));
        uint pde = pdePointer == null ? uint.MaxValue : Volatile.Read(ref *pdePointer);
        if ((pde & Present) == 0)
        {
            return Fail(state, linear, kind, user, 0);
        }

        uint* leafPointer;
        uint leaf;
        uint rights = pde;
        if ((pde & PageSize) != 0 && (state->Cr4 & ControlBits.Cr4Pse) != 0)
        {
            if ((pde & (1 << 21)) != 0)
            {
                return Fail(state, linear, kind, user, ErrorPresent | ErrorReserved);
            }

            leafPointer = pdePointer;
            leaf = pde;
            translation.Large = true;
            ulong high = (ulong)(pde & 0x1F_E000) << 19;
            translation.PageGpa = (pde & 0xFFC0_0000) | high | (linear & 0x3F_F000);
        }
        else
        {
            leafPointer = (uint*)EntryPointer(ram, (pde & 0xFFFF_F000) + (((linear >> 12) & 0x3FF) << 2));
            leaf = leafPointer == null ? uint.MaxValue : Volatile.Read(ref *leafPointer);
            if (!TryMark(pdePointer, pde, Accessed, kind) || (leaf & Present) == 0)
            {
                return Fail(state, linear, kind, user, 0);
            }

            rights &= leaf;
            translation.PageGpa = leaf & 0xFFFF_F000;
        }

        if (!IsAllowed(state, rights, execute: true, kind, user, out bool writable))
        {
            return Fail(state, linear, kind, user, ErrorPresent);
        }

        uint marks = kind == AccessKind.Write ? Accessed | Dirty : Accessed;
        if (!TryMark(leafPointer, leaf, marks, kind))
        {
            return false;
        }

        translation.WriteReady = writable && ((leaf | marks) & Dirty) != 0;
        translation.Global = (leaf & GlobalPage) != 0 && (state->Cr4 & ControlBits.Cr4Pge) != 0;
        return true;
    }

    /// <summary>PAE paging (SDM vol. 3, 4.4): the PDPTEs were read when CR3 was loaded and carry no
    /// rights.</summary>
    private static bool TryWalkPae(CpuState* state, GuestRam ram, ulong linear, AccessKind kind, bool user,
        out PageTranslation translation)
    {
        ulong pdpte = state->Pdpte[(int)(linear >> 30)];
        if ((pdpte & Present) == 0)
        {
            translation = default;
            return Fail(state, linear, kind, user, 0);
        }

        ulong reserved = ReservedHigh | ((state->Efer & ControlBits.EferNoExecute) == 0 ? NoExecute : 0);
        return TryWalk64(state, ram, pdpte & Frame, 1, reserved, linear, kind, user, out translation);
    }

    /// <summary>Four-level paging (SDM vol. 3, 4.5). The caller has checked that the address is
    /// canonical.</summary>
    private static bool TryWalkLong(CpuState* state, GuestRam ram, ulong linear, AccessKind kind, bool user,
        out PageTranslation translation)
    {
        ulong reserved = (ReservedHigh & ~IgnoredInLongMode)
            | ((state->Efer & ControlBits.EferNoExecute) == 0 ? NoExecute : 0);
        return TryWalk64(state, ram, state->Cr3 & Frame, 3, reserved, linear, kind, user, out translation);
    }

    /// <summary>The walk through tables of 512 8-byte entries, from <paramref name="level"/> (3 = PML4, 1 =
    /// page directory) down to a page table or a 2 MiB or 1 GiB page.</summary>
    private static bool TryWalk64(CpuState* state, GuestRam ram, ulong table, int level, ulong reserved,
        ulong linear, AccessKind kind, bool user, out PageTranslation translation)
    {
        translation = default;
        uint rights = Writable | User;
        ulong noExecute = 0;
        while (true)
        {
            int shift = 12 + (9 * level);
            ulong* pointer = (ulong*)EntryPointer(ram, table + (((linear >> shift) & 511) << 3));
            ulong entry = pointer == null ? ulong.MaxValue : Volatile.Read(ref *pointer);
            if ((entry & Present) == 0)
            {
                return Fail(state, linear, kind, user, 0);
            }

            bool leaf = level == 0 || (entry & PageSize) != 0;
            ulong offsetMask = (1UL << shift) - 1;
            ulong mustBeZero = reserved;
            if (leaf && level != 0)
            {
                // Below the frame of a large page only bit 12 (PAT) is defined. No 512 GiB pages exist.
                mustBeZero |= level == 3 ? PageSize : offsetMask & ~0x1FFFUL;
            }

            if ((entry & mustBeZero) != 0)
            {
                return Fail(state, linear, kind, user, ErrorPresent | ErrorReserved);
            }

            rights &= (uint)entry;
            noExecute |= entry & NoExecute;
            if (leaf)
            {
                if (!IsAllowed(state, rights, noExecute == 0, kind, user, out bool writable))
                {
                    return Fail(state, linear, kind, user, ErrorPresent);
                }

                uint marks = kind == AccessKind.Write ? Accessed | Dirty : Accessed;
                if (!TryMark(pointer, entry, marks, kind))
                {
                    return false;
                }

                translation.PageGpa = ((entry & Frame & ~offsetMask) | (linear & offsetMask)) & ~4095UL;
                translation.WriteReady = writable && (((uint)entry | marks) & Dirty) != 0;
                translation.Global = (entry & GlobalPage) != 0 && (state->Cr4 & ControlBits.Cr4Pge) != 0;
                translation.Large = level != 0;
                translation.Huge = level == 2;
                return true;
            }

            if (!TryMark(pointer, entry, Accessed, kind))
            {
                return false;
            }

            table = entry & Frame;
            level--;
        }
    }

    /// <summary>Access rights (SDM vol. 3, 4.6): <paramref name="rights"/> is the AND of the W and U bits of
    /// all levels. SMAP treats a supervisor access at CPL 3 (descriptor tables, TSS) as implicit: AC does not
    /// help.</summary>
    private static bool IsAllowed(CpuState* state, uint rights, bool execute, AccessKind kind, bool user,
        out bool writable)
    {
        writable = (rights & Writable) != 0;
        bool userPage = (rights & User) != 0;
        if (user)
        {
            return userPage && (kind != AccessKind.Write || writable)
                && (kind != AccessKind.Execute || execute);
        }

        writable |= (state->Cr0 & ControlBits.Cr0WriteProtect) == 0;
        if (kind == AccessKind.Execute)
        {
            return execute && !(userPage && (state->Cr4 & ControlBits.Cr4Smep) != 0);
        }

        if (userPage && (state->Cr4 & ControlBits.Cr4Smap) != 0
            && (state->Cpl == 3 || (state->SystemFlags & EflagsBits.AlignmentCheck) == 0))
        {
            return false;
        }

        return kind != AccessKind.Write || writable;
    }

    /// <summary>Records #PF. The I/D bit is defined only where instruction fetches can be refused (SDM
    /// 4.7).</summary>
    private static bool Fail(CpuState* state, ulong linear, AccessKind kind, bool user, uint cause)
    {
        if (kind == AccessKind.Peek)
        {
            return false;
        }

        if (kind == AccessKind.Write)
        {
            cause |= ErrorWrite;
        }

        if (user)
        {
            cause |= ErrorUser;
        }

        if (kind == AccessKind.Execute)
        {
            bool noExecute = (state->Efer & ControlBits.EferNoExecute) != 0
                && (state->Cr4 & ControlBits.Cr4Pae) != 0;
            if (noExecute || (state->Cr4 & ControlBits.Cr4Smep) != 0)
            {
                cause |= ErrorFetch;
            }
        }

        return Fault.RaisePage(state, linear, cause);
    }

    /// <summary>Host address of the entry at <paramref name="gpa"/>, or null outside RAM.</summary>
    private static byte* EntryPointer(GuestRam ram, ulong gpa) => ram.IsRamPage(gpa) ? ram.Base + gpa : null;

    /// <summary>Sets A or D bits with a locked OR: another CPU or a device may be writing the same entry.
    /// False if they are not set and must not be.</summary>
    private static bool TryMark(uint* pointer, uint entry, uint marks, AccessKind kind)
    {
        bool set = (entry & marks) == marks;
        if (!set && pointer != null && kind != AccessKind.Peek)
        {
            Interlocked.Or(ref *pointer, marks);
        }

        return set || kind != AccessKind.Peek;
    }

    private static bool TryMark(ulong* pointer, ulong entry, uint marks, AccessKind kind)
    {
        bool set = (entry & marks) == marks;
        if (!set && pointer != null && kind != AccessKind.Peek)
        {
            Interlocked.Or(ref *pointer, marks);
        }

        return set || kind != AccessKind.Peek;
    }
}
