// The slow path of a memory operand in emitted code. An instruction whose operand misses the TLB calls
// Prepare with the linear address; it gets back a host address to run on. For RAM within one page that is the
// RAM itself (and the TLB now has it). For everything else (MMIO, page crossings, stores into pages with
// translated code) it is a bounce buffer: loaded beforehand if the instruction reads, and written out by
// Commit after the instruction has run. All faults happen in Prepare, before the instruction has changed
// anything; Commit cannot fail.

using Lhype.Cpu.Architecture;

namespace Lhype.Cpu.Mmu;

/// <summary>Describes a memory operand to the slow path; baked into emitted code as one 32-bit
/// constant.</summary>
internal static class AccessInfo
{
    internal const uint SizeMask = 0x3FF;
    internal const uint Write = 1 << 16;
    internal const uint User = 1 << 17;
    /// <summary>The instruction reads the operand (so a bounce buffer must be filled; a pure store must not
    /// touch a device first).</summary>
    internal const uint Read = 1 << 18;
    /// <summary>The address is an offset in the segment given by the bits from <see cref="SegmentShift"/> up;
    /// without this bit 64-bit code has them too.</summary>
    internal const uint Segmented = 1 << 19;
    internal const int SegmentShift = 20;
    /// <summary>The emitted code holds the arithmetic flags in r11 (see HostRegisters).</summary>
    internal const uint FlagsParked = 1 << 23;
    /// <summary>The operand must be aligned to its size, 16 or 32 bytes: #GP(0) comes before any page
    /// fault.</summary>
    internal const uint Aligned = 1 << 24;
    /// <summary>An x87 instruction that first reports a pending exception: #MF comes before any page
    /// fault.</summary>
    internal const uint X87 = 1 << 25;
    /// <summary>Never in emitted code: the segment refused the access, the fault is recorded.</summary>
    internal const uint Refused = 1 << 26;
}

public sealed unsafe partial class LinearMemory
{
    private ulong _bounceGpa;
    private ulong _bounceSecondGpa;

    /// <summary>Operands that went through the bounce buffer.</summary>
    internal ulong Bounced { get; private set; }

    /// <summary>Finds where an operand's bytes are for the host, or null with the fault recorded.</summary>
    internal byte* Prepare(ulong linear, uint info)
    {
        int size = (int)(info & AccessInfo.SizeMask);
        bool write = (info & AccessInfo.Write) != 0;
        bool user = (info & AccessInfo.User) != 0;
        linear = Wrap(linear);
        if (!Processor.IsCanonical(linear) || !Processor.IsCanonical(linear + (ulong)size - 1))
        {
            bool stack = ((info >> AccessInfo.SegmentShift) & 7) == (uint)SegmentRegister.Ss;
            _ = Fault.Raise(_state, stack ? Vector.StackFault : Vector.GeneralProtection);
            return null;
        }

        if ((info & AccessInfo.Aligned) != 0 && (linear & (ulong)(size - 1)) != 0)
        {
            _ = Fault.Raise(_state, Vector.GeneralProtection);
            return null;
        }

        if (!TryResolve(linear, write, user, out ulong gpa))
        {
            return null;
        }

        int first = FirstPart(linear, size);
        if (first == size && _ram.IsRamPage(gpa) && !(write && _pageFlags[gpa >> 12] != 0))
        {
            _state->BounceActive = 0;
            return _ram.Base + gpa;
        }

        ulong secondGpa = 0;
        if (first != size && !TryResolve(Wrap(linear + (ulong)first), write, user, out secondGpa))
        {
            return null;
        }

        Bounced++;
        _bounceGpa = gpa;
        _bounceSecondGpa = secondGpa;
        _state->BounceActive = 1;
        _state->BounceInfo = info;
        _state->BounceLinear = linear;
        byte* bounce = BounceStart(linear);
        // An x87 store with an unmasked exception stores nothing: what Commit writes then is what was there.
        bool mayStoreNothing = (info & AccessInfo.X87) != 0 && _ram.IsRamPage(gpa)
            && (first == size || _ram.IsRamPage(secondGpa));
        if ((info & AccessInfo.Read) != 0 || mayStoreNothing)
        {
            ReadPhysical(gpa, bounce, first);
            if (first != size)
            {
                ReadPhysical(secondGpa, bounce + first, size - first);
            }
        }

        return bounce;
    }

    /// <summary>Writes the bounce buffer back. True if translated code was dropped, so that the emitted code
    /// must leave its block after this instruction.</summary>
    internal bool Commit()
    {
        ulong linear = _state->BounceLinear;
        int size = (int)(_state->BounceInfo & AccessInfo.SizeMask);
        int first = FirstPart(linear, size);
        byte* bounce = BounceStart(linear);
        bool dropped = WritePhysical(_bounceGpa, bounce, first);
        if (first != size)
        {
            dropped |= WritePhysical(_bounceSecondGpa, bounce + first, size - first);
        }

        return dropped;
    }

    /// <summary>The buffer keeps the operand's alignment, so that aligned-only instructions fault as they
    /// should.</summary>
    private byte* BounceStart(ulong linear) => (byte*)_state + CpuState.Offset.Bounce + (linear & 63);
}
