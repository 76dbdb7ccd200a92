// Reads guest memory by linear address without any effect a guest could see: no accessed bits, no fault
// recorded, no device touched. For looking at a guest from outside (profiles). Called between two
// instructions of the guest, on the vCPU's thread.

using Lhype.Host;

namespace Lhype.Cpu.Mmu;

/// <summary>The page walk without its effects.</summary>
internal static unsafe class PagePeek
{
    private const uint Present = 1, LargePage = 1 << 7;
    private const ulong Frame64 = 0x000F_FFFF_FFFF_F000;

    /// <summary>Reads the <paramref name="size"/> (at most 8) bytes at <paramref name="linear"/> of 32-bit
    /// or PAE paging with <paramref name="cr3"/>. False: not mapped, not RAM, or across two pages.</summary>
    internal static bool TryRead(CpuState* state, GuestRam ram, ulong cr3, uint linear, int size,
        out ulong value)
    {
        value = 0;
        if ((linear & 4095) + size > 4096 || !TryTranslate(state, ram, cr3, linear, out ulong gpa)
            || !ram.IsRamPage(gpa))
        {
            return false;
        }

        byte* host = ram.Base + gpa;
        for (int i = size - 1; i >= 0; i--)
        {
            value = (value << 8) | host[i];
        }

        return true;
    }

    private static bool TryTranslate(CpuState* state, GuestRam ram, ulong cr3, uint linear, out ulong gpa)
    {
        gpa = linear;
        if ((state->Cr0 & ControlBits.Cr0Paging) == 0)
        {
            return true;
        }

        ulong entry;
        if ((state->Cr4 & ControlBits.Cr4Pae) != 0)
        {
            return TryEntry64(ram, (cr3 & 0xFFFF_FFE0) + ((linear >> 30) << 3), out entry)
                && TryEntry64(ram, (entry & Frame64) + (((linear >> 21) & 511) << 3), out entry)
                && TryLeaf64(ram, entry, linear, out gpa);
        }

        if (!TryEntry32(ram, (cr3 & 0xFFFF_F000) + ((linear >> 22) << 2), out entry))
        {
            return false;
        }

        if ((entry & LargePage) != 0)
        {
            gpa = (entry & 0xFFC0_0000) | (linear & 0x3F_FFFF);
            return true;
        }

        bool mapped = TryEntry32(ram, (entry & 0xFFFF_F000) + (((linear >> 12) & 1023) << 2), out entry);
        gpa = (entry & 0xFFFF_F000) | (linear & 4095);
        return mapped;
    }

    private static bool TryLeaf64(GuestRam ram, ulong entry, uint linear, out ulong gpa)
    {
        if ((entry & LargePage) != 0)
        {
            gpa = (entry & Frame64 & ~0x1F_FFFFUL) | (linear & 0x1F_FFFF);
            return true;
        }

        bool mapped = TryEntry64(ram, (entry & Frame64) + (((linear >> 12) & 511) << 3), out entry);
        gpa = (entry & Frame64) | (linear & 4095);
        return mapped;
    }

    private static bool TryEntry32(GuestRam ram, ulong gpa, out ulong entry)
    {
        entry = ram.IsRamPage(gpa) ? *(uint*)(ram.Base + gpa) : 0;
        return (entry & Present) != 0;
    }

    private static bool TryEntry64(GuestRam ram, ulong gpa, out ulong entry)
    {
        entry = ram.IsRamPage(gpa) ? *(ulong*)(ram.Base + gpa) : 0;
        return (entry & Present) != 0;
    }
}
