// What loads of segment registers by C# leave behind for emitted code (see Translator/SystemThunks.cs).
// Whether a selector may be loaded depends on the selector, the CPL and the 8 bytes of its descriptor,
// and on nothing else once the accessed bit is set; so the result can be used again as long as the three
// are the same. Only GDT selectors are kept. Dropped when GDTR changes, because the table's limit is not
// looked at again.

using System.Runtime.InteropServices;

namespace Lhype.Cpu.Architecture;

/// <summary>The loads whose checks differ.</summary>
internal enum DescriptorKind
{
    /// <summary>DS, ES, FS or GS.</summary>
    Data,
    /// <summary>CS by IRET or RETF; the selector's RPL is the new CPL.</summary>
    ReturnCode,
    /// <summary>SS for a given CPL.</summary>
    Stack,
    /// <summary>CS by an interrupt or trap gate.</summary>
    HandlerCode,
}

/// <summary>One checked descriptor, in CpuState.</summary>
[StructLayout(LayoutKind.Explicit, Size = Bytes)]
internal unsafe struct DescriptorEntry
{
    internal const int Bytes = 32;
    /// <summary>Entries of each kind, found by the low bits of the selector's index.</summary>
    internal const int Count = 32;
    internal const int KeyOffset = 0, FlagsOffset = 4, RawOffset = 8, BaseOffset = 16, LimitOffset = 20;
    internal const int AttributesOffset = 24;
    internal const int CplShift = 16;
    private const uint Valid = 1u << 31;

    /// <summary>In <see cref="Flags"/>: the segment suits the flat mode (see ModeKey.Flat), and a transfer
    /// through it ends in a ring that emitted code knows.</summary>
    internal const uint Flat = 1;

    /// <summary>In <see cref="Flags"/>: 64-bit code that IRETQ from CPL 0 may return to, at CPL 0 or
    /// 3.</summary>
    internal const uint Long = 2;

    /// <summary>Selector, CPL and a bit that says there is an entry.</summary>
    [FieldOffset(KeyOffset)] internal uint Key;
    /// <summary><see cref="Flat"/>, and ModeKey.FsOpen and GsOpen for a segment that opens them.</summary>
    [FieldOffset(FlagsOffset)] internal uint Flags;
    /// <summary>The descriptor in the table, accessed bit set.</summary>
    [FieldOffset(RawOffset)] internal ulong Raw;
    [FieldOffset(BaseOffset)] internal uint Base;
    [FieldOffset(LimitOffset)] internal uint Limit;
    [FieldOffset(AttributesOffset)] internal uint Attributes;

    internal static uint KeyFor(uint selector, uint cpl) => Valid | (cpl << CplShift) | (selector & 0xFFFF);
}

public sealed unsafe partial class Processor
{
    /// <summary>Keeps a load that passed every check.</summary>
    private void KeepDescriptor(DescriptorKind kind, uint selector, uint cpl, ulong descriptor,
        ref SegmentCache segment)
    {
        // A paravirtual guest's descriptors are not in its memory, where thunks would look for them.
        if ((selector & 4) != 0 || _paravirtual != null)
        {
            return;
        }

        DescriptorEntry* entry = (DescriptorEntry*)((byte*)_state + CpuState.Offset.Descriptors)
            + ((int)kind * DescriptorEntry.Count) + (int)((selector >> 3) & (DescriptorEntry.Count - 1));
        entry->Key = DescriptorEntry.KeyFor(selector, cpl);
        entry->Flags = FlagsOf(kind, selector, cpl, ref segment);
        entry->Raw = descriptor | ((ulong)AttributeAccessed << 40);
        entry->Base = (uint)segment.Base;
        entry->Limit = segment.Limit;
        entry->Attributes = segment.Attributes;
    }

    private static uint FlagsOf(DescriptorKind kind, uint selector, uint cpl, ref SegmentCache segment)
    {
        bool flat = segment.Base == 0 && segment.Limit == uint.MaxValue;
        bool big = (segment.Attributes & SegmentCache.BigBit) != 0;
        bool conforming = (segment.Attributes & AttributeConforming) != 0;
        switch (kind)
        {
            case DescriptorKind.Data:
                uint open = IsOpen(ref segment) ? ModeKey.FsOpen | ModeKey.GsOpen : 0;
                return open | (open != 0 && flat ? DescriptorEntry.Flat : 0);
            case DescriptorKind.Stack:
                return flat && big && IsOpen(ref segment) ? DescriptorEntry.Flat : 0;
            case DescriptorKind.ReturnCode:
                bool known = cpl == 0 && (selector & 3) is 0 or 3;
                if ((segment.Attributes & SegmentCache.LongBit) != 0)
                {
                    return known && !big ? DescriptorEntry.Long : 0;
                }

                return flat && big && known && IsReadableCode(ref segment) ? DescriptorEntry.Flat : 0;
            default:
                bool toRing0 = segment.Dpl == 0 && (cpl == 0 || (cpl == 3 && !conforming));
                return flat && big && toRing0 && IsReadableCode(ref segment) ? DescriptorEntry.Flat : 0;
        }
    }

    private static bool IsReadableCode(ref SegmentCache segment) =>
        (segment.Attributes & (AttributeCode | AttributeReadWrite)) == (AttributeCode | AttributeReadWrite);

    /// <summary>GDTR or the whole state has changed.</summary>
    internal void DropDescriptors() =>
        new System.Span<byte>((byte*)_state + CpuState.Offset.Descriptors,
            4 * DescriptorEntry.Count * DescriptorEntry.Bytes).Clear();
}
