// Segmentation (SDM vol. 3, chapters 3.4-3.5 and 5): descriptors, loads of segment registers with every
// check, and the translation of (segment, offset) into a linear address. The translator's emitted code
// reaches TryLinearize through a thunk for each memory operand in non-flat modes.

namespace Lhype.Cpu.Architecture;

public sealed unsafe partial class Processor
{
    /// <summary>Attributes of a segment register in real mode: present, writable data, accessed.</summary>
    private const uint RealModeAttributes = 0x93;
    /// <summary>The same in virtual-8086 mode, where DPL is 3.</summary>
    private const uint Virtual8086Attributes = 0xF3;

    private const uint AttributeAccessed = 1 << 0;
    /// <summary>Code: readable. Data: writable.</summary>
    private const uint AttributeReadWrite = 1 << 1;
    /// <summary>Code: conforming. Data: expand-down.</summary>
    private const uint AttributeConforming = 1 << 2;
    private const uint AttributeCode = 1 << 3;
    /// <summary>S: code or data (set) as against a system segment or gate (clear).</summary>
    private const uint AttributeSegment = 1 << 4;
    private const uint AttributePresent = 1 << 7;

    /// <summary>1 while an event that is external to the program (an interrupt or an exception) is delivered:
    /// the EXT bit of error codes that its delivery raises (SDM vol. 3, 6.13).</summary>
    private uint _externalEvent;

    /// <summary>
    /// Checks an access of <paramref name="size"/> bytes at <paramref name="offset"/> in <paramref
    /// name="register"/> (null selector, type, limit) and computes its linear address. False: #GP(0), or
    /// #SS(0) for SS, is recorded.
    /// </summary>
    public bool TryLinearize(SegmentRegister register, ulong offset, int size, bool write, out ulong linear)
    {
        ref SegmentCache segment = ref _state->Segment(register);
        if (IsLongCode)
        {
            linear = register is SegmentRegister.Fs or SegmentRegister.Gs ? segment.Base + offset : offset;
            return IsCanonical(linear) && IsCanonical(linear + (ulong)size - 1)
                ? TryDebugAndAlign(linear, size, write)
                : Raise(register == SegmentRegister.Ss ? Vector.StackFault : Vector.GeneralProtection);
        }

        linear = (uint)(segment.Base + offset);
        return IsAccessAllowed(ref segment, (uint)offset, (uint)size, write)
            ? TryDebugAndAlign(linear, size, write)
            : Raise(register == SegmentRegister.Ss ? Vector.StackFault : Vector.GeneralProtection);
    }

    private bool TryDebugAndAlign(ulong linear, int size, bool write)
    {
        if ((_state->Dr[7] & 0xFF) != 0)
        {
            NoteDataBreakpoints(linear, size, write);
        }

        return !AlignmentChecked || (linear & (ulong)(size - 1)) == 0 || size is not (2 or 4 or 8)
            || Raise(Vector.AlignmentCheck);
    }

    /// <summary>True while misaligned data accesses raise #AC (SDM vol. 3, 6.15, interrupt 17). The mode key
    /// then sends every access of translated code through <see cref="TryLinearize"/>.</summary>
    private bool AlignmentChecked => _state->Cpl == 3
        && (_state->SystemFlags & EflagsBits.AlignmentCheck) != 0
        && (_state->Cr0 & ControlBits.Cr0AlignmentMask) != 0;

    /// <summary>The checks of SDM vol. 3, 5.3 and 5.5. Types are not checked in real mode, where a register
    /// may keep what protected mode left in it.</summary>
    private bool IsAccessAllowed(ref SegmentCache segment, uint offset, uint size, bool write)
    {
        uint attributes = segment.Attributes;
        if ((attributes & SegmentCache.UnusableBit) != 0)
        {
            return false;
        }

        if (UsesDescriptors)
        {
            bool code = (attributes & AttributeCode) != 0;
            bool readWrite = (attributes & AttributeReadWrite) != 0;
            if (write ? code || !readWrite : code && !readWrite)
            {
                return false;
            }
        }

        return IsWithinLimit(ref segment, offset, size);
    }

    /// <summary>A 4 GiB segment lets an access wrap around, as flat translated code does.</summary>
    private static bool IsWithinLimit(ref SegmentCache segment, uint offset, uint size)
    {
        uint last = offset + size - 1;
        if ((segment.Attributes & (AttributeCode | AttributeConforming)) == AttributeConforming)
        {
            uint top = (segment.Attributes & SegmentCache.BigBit) != 0 ? uint.MaxValue : 0xFFFF;
            return offset > segment.Limit && last >= offset && last <= top;
        }

        return segment.Limit == uint.MaxValue || (last >= offset && last <= segment.Limit);
    }

    /// <summary>True if CS:<paramref name="target"/> may be jumped to: inside the limit, or canonical in
    /// 64-bit code (SDM vol. 3, 5.3.1).</summary>
    private bool IsJumpTarget(ref SegmentCache code, ulong target) =>
        IsLongSegment(ref code) ? IsCanonical(target)
            : target <= uint.MaxValue && IsWithinLimit(ref code, (uint)target, 1);

    /// <summary>Index and table bits of a selector with the EXT bit: the error code of faults about
    /// it.</summary>
    private uint SelectorError(uint selector) => (selector & 0xFFFC) | _externalEvent;

    /// <summary>Index and TI bits all zero.</summary>
    private static bool IsNull(uint selector) => (selector & 0xFFFC) == 0;

    /// <summary>Unpacks a code, data, TSS or LDT descriptor.</summary>
    private static SegmentCache Unpack(ulong descriptor, uint selector)
    {
        uint limit = (uint)(descriptor & 0xFFFF) | (uint)((descriptor >> 32) & 0xF_0000);
        uint attributes = (uint)(descriptor >> 40) & 0xF0FF;
        return new SegmentCache
        {
            Base = ((descriptor >> 16) & 0xFF_FFFF) | ((descriptor >> 32) & 0xFF00_0000),
            Limit = (attributes & 0x8000) != 0 ? (limit << 12) | 0xFFF : limit,
            Attributes = attributes,
            Selector = (ushort)selector,
        };
    }

    /// <summary>A register holding a null selector.</summary>
    private static SegmentCache NullSegment(uint selector) =>
        new() { Selector = (ushort)selector, Attributes = SegmentCache.UnusableBit };

    /// <summary>Finds the descriptor a selector names. False, nothing recorded: outside its table.</summary>
    private bool TryLocateDescriptor(uint selector, out ulong linear)
    {
        uint offset = selector & 0xFFF8;
        if ((selector & 4) == 0)
        {
            linear = _memory.Wrap(_state->GdtBase + offset);
            return offset + 7 <= _state->GdtLimit;
        }

        ref SegmentCache ldtr = ref _state->Segment(SegmentRegister.Ldtr);
        linear = _memory.Wrap(ldtr.Base + offset);
        return !ldtr.Unusable && offset + 7 <= ldtr.Limit;
    }

    /// <summary>Reads the descriptor of <paramref name="selector"/>; outside its table raises
    /// <paramref name="vector"/> with the selector.</summary>
    private bool TryReadDescriptor(uint selector, uint vector, out ulong descriptor)
    {
        if (_paravirtual != null)
        {
            return _paravirtual.TryDescriptor(selector, out descriptor)
                || Raise(vector, SelectorError(selector));
        }

        if (!TryLocateDescriptor(selector, out ulong linear))
        {
            descriptor = 0;
            return Raise(vector, SelectorError(selector));
        }

        return _memory.TryRead(linear, 8, user: false, out descriptor);
    }

    /// <summary>Sets the accessed bit of a code or data descriptor in its table and in <paramref
    /// name="segment"/>.</summary>
    private bool TryMarkAccessed(ref SegmentCache segment)
    {
        if ((segment.Attributes & AttributeAccessed) != 0)
        {
            return true;
        }

        _ = TryLocateDescriptor(segment.Selector, out ulong linear);
        if (!_memory.TryWrite(linear + 5, 1, (segment.Attributes | AttributeAccessed) & 0xFF, user: false))
        {
            return false;
        }

        segment.Attributes |= AttributeAccessed;
        return true;
    }

    /// <summary>Checks a load of DS, ES, FS or GS (SDM vol. 2, MOV) and prepares the new register contents. A
    /// task switch raises #TS (<paramref name="vector"/>) where an instruction raises #GP.</summary>
    private bool TryPrepareData(uint selector, uint vector, out SegmentCache segment)
    {
        if (IsNull(selector))
        {
            segment = NullSegment(selector);
            return true;
        }

        segment = default;
        if (!TryReadDescriptor(selector, vector, out ulong descriptor))
        {
            return false;
        }

        segment = Unpack(descriptor, selector);
        if (!IsReadableSegment(segment.Attributes)
            || !IsDataPrivilegeOk(ref segment, selector & 3, _state->Cpl))
        {
            return Raise(vector, SelectorError(selector));
        }

        if ((segment.Attributes & AttributePresent) == 0)
        {
            return Raise(Vector.SegmentNotPresent, SelectorError(selector));
        }

        if (!TryMarkAccessed(ref segment))
        {
            return false;
        }

        KeepDescriptor(DescriptorKind.Data, selector, _state->Cpl, descriptor, ref segment);
        return true;
    }

    /// <summary>Data, or code that may be read.</summary>
    private static bool IsReadableSegment(uint attributes) =>
        (attributes & AttributeSegment) != 0
        && ((attributes & AttributeCode) == 0 || (attributes & AttributeReadWrite) != 0);

    /// <summary>Conforming code is open to all; anything else demands DPL &gt;= max(CPL, RPL).</summary>
    private static bool IsDataPrivilegeOk(ref SegmentCache segment, uint rpl, uint cpl) =>
        (segment.Attributes & (AttributeCode | AttributeConforming)) == (AttributeCode | AttributeConforming)
        || (segment.Dpl >= rpl && segment.Dpl >= cpl);

    /// <summary>
    /// Checks a load of SS for privilege level <paramref name="cpl"/>. <paramref name="vector"/> is the
    /// exception for everything except a segment that is not present: #GP for instructions, #TS for stacks
    /// taken from a TSS.
    /// </summary>
    private bool TryPrepareStack(uint selector, uint cpl, uint vector, out SegmentCache segment)
    {
        segment = default;
        if (IsNull(selector))
        {
            // 64-bit code below CPL 3 may run on a null SS (SDM vol. 3, 5.4.1.1).
            if (IsLongCode && cpl != 3 && (selector & 3) == cpl && vector == Vector.GeneralProtection)
            {
                segment = NullStack(cpl);
                return true;
            }

            return Raise(vector, _externalEvent);
        }

        if (!TryReadDescriptor(selector, vector, out ulong descriptor))
        {
            return false;
        }

        segment = Unpack(descriptor, selector);
        const uint mask = AttributeSegment | AttributeCode | AttributeReadWrite;
        if ((segment.Attributes & mask) != (AttributeSegment | AttributeReadWrite)
            || (selector & 3) != cpl || segment.Dpl != cpl)
        {
            return Raise(vector, SelectorError(selector));
        }

        if ((segment.Attributes & AttributePresent) == 0)
        {
            return Raise(Vector.StackFault, SelectorError(selector));
        }

        if (!TryMarkAccessed(ref segment))
        {
            return false;
        }

        KeepDescriptor(DescriptorKind.Stack, selector, cpl, descriptor, ref segment);
        return true;
    }

    /// <summary>Prepares a load of a register other than CS for the current mode.</summary>
    private bool TryPrepareSegment(SegmentRegister register, uint selector, out SegmentCache segment)
    {
        selector &= 0xFFFF;
        if (!UsesDescriptors)
        {
            segment = RealSegment(register, selector);
            return true;
        }

        return register == SegmentRegister.Ss
            ? TryPrepareStack(selector, _state->Cpl, Vector.GeneralProtection, out segment)
            : TryPrepareData(selector, Vector.GeneralProtection, out segment);
    }

    /// <summary>What a load leaves in a register in real mode (only the base changes: limit and attributes
    /// may be those of a protected-mode segment) and in virtual-8086 mode.</summary>
    private SegmentCache RealSegment(SegmentRegister register, uint selector)
    {
        if (IsVirtual8086)
        {
            return Virtual8086Segment(selector);
        }

        SegmentCache segment = _state->Segment(register);
        segment.Selector = (ushort)selector;
        segment.Base = selector << 4;
        segment.Attributes = (segment.Attributes & 0xF000) | RealModeAttributes;
        return segment;
    }

    /// <summary>A segment of virtual-8086 mode (SDM vol. 3, 20.2.1).</summary>
    private static SegmentCache Virtual8086Segment(uint selector) => new()
    {
        Selector = (ushort)selector,
        Base = (selector & 0xFFFF) << 4,
        Limit = 0xFFFF,
        Attributes = Virtual8086Attributes,
    };

    /// <summary>MOV or POP to a segment register: check, then load. SS holds interrupts off for one
    /// instruction.</summary>
    private bool TryLoadSegment(SegmentRegister register, uint selector)
    {
        if (!TryPrepareSegment(register, selector, out SegmentCache segment))
        {
            return false;
        }

        CommitSegment(register, ref segment);
        return true;
    }

    private void CommitSegment(SegmentRegister register, ref SegmentCache segment)
    {
        _state->Segment(register) = segment;
        if (register == SegmentRegister.Ss)
        {
            _state->InterruptShadow = 1;
        }
    }

    /// <summary>After a return to an outer ring, registers it may not use hold null (SDM vol. 2,
    /// RET).</summary>
    private void DropPrivilegedSegments()
    {
        for (int i = 0; i < 6; i++)
        {
            if (i is (int)SegmentRegister.Cs or (int)SegmentRegister.Ss)
            {
                continue;
            }

            ref SegmentCache segment = ref _state->Segment((SegmentRegister)i);
            if (!segment.Unusable && !IsDataPrivilegeOk(ref segment, 0, _state->Cpl))
            {
                segment = NullSegment(0);
            }
        }
    }
}
