// Which dialect a guest speaks: from its image where that is certain, otherwise from its first call. Called
// by LguestBuilder and LguestHost.

using System;
using System.Buffers.Binary;
using System.Text;
using Lhype.Cpu;
using Lhype.Machine.Boot;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Paravirt.Lguest;

/// <summary>Recognises lguest guests and their dialects.</summary>
public static class LguestDetection
{
    /// <summary>Owner name of the ELF note by which a guest made for this machine says so; its descriptor is
    /// one 32-bit number, 0 for dialect A to 5 for F, with bit 8 set for PAE.</summary>
    public const string NoteOwner = "lhype";

    private const uint NoteExtended = 0x100;
    private const byte RingSlotFree = 0xFF;

    /// <summary>The text before the entry point of a dialect A kernel.</summary>
    internal static ReadOnlySpan<byte> OldMagic => "GenuineLguest"u8;

    /// <summary>True if <paramref name="kernel"/> says that it is made for this machine. Kernels of dialects
    /// B to F run on a PC as well and say nothing.</summary>
    public static bool IsCertain(KernelImage kernel) =>
        TryReadNote(kernel, out _, out _) || TryFindOldEntry(kernel, out _);

    /// <summary>The dialect <paramref name="kernel"/> states in its note or by the text of dialect
    /// A.</summary>
    public static bool TryFromImage(KernelImage kernel, out LguestGeneration generation, out bool extended)
    {
        if (TryReadNote(kernel, out generation, out extended))
        {
            return true;
        }

        generation = LguestGeneration.A;
        return TryFindOldEntry(kernel, out _);
    }

    /// <summary>The virtual address behind the magic text of dialect A.</summary>
    internal static bool TryFindOldEntry(KernelImage kernel, out uint entry)
    {
        foreach (KernelSegment segment in kernel.Segments)
        {
            int at = segment.Data.Span.IndexOf(OldMagic);
            if (at >= 0)
            {
                entry = (uint)segment.Virtual + (uint)(at + OldMagic.Length);
                return true;
            }
        }

        entry = 0;
        return false;
    }

    /// <summary>The release in the kernel's banner, "Linux version 2.6.25 ...", or empty.</summary>
    internal static string FindRelease(KernelImage kernel)
    {
        ReadOnlySpan<byte> banner = "Linux version "u8;
        foreach (KernelSegment segment in kernel.Segments)
        {
            ReadOnlySpan<byte> data = segment.Data.Span;
            int at = data.IndexOf(banner);
            if (at >= 0)
            {
                ReadOnlySpan<byte> rest = data[(at + banner.Length)..];
                int end = rest[..Math.Min(rest.Length, 64)].IndexOfAnyExceptInRange((byte)'!', (byte)'~');
                return Encoding.ASCII.GetString(rest[..Math.Max(end, 0)]);
            }
        }

        return "";
    }

    /// <summary>The dialect of a guest about to make its first call, by the instruction, the register that
    /// holds the address of lguest_data, and what the guest has put there.</summary>
    internal static LguestDialect FromFirstCall(ParavirtualCpu cpu, GuestMemory memory, bool vmcall,
        string release)
    {
        if (vmcall)
        {
            return LguestDialect.Of(LguestGeneration.D);
        }

        LguestDialect old = LguestDialect.Of(release.StartsWith("2.6.24", StringComparison.Ordinal)
            ? LguestGeneration.B : LguestGeneration.C);
        LguestDialect late = LguestDialect.Of(LguestGeneration.E);
        uint oldData = cpu.Gpr(old.Arguments[0]);
        uint lateData = cpu.Gpr(late.Arguments[0]);
        if (HasEmptyRing(memory, oldData, old)
            || (oldData != 0 && lateData == 0 && !HasEmptyRing(memory, lateData, late)))
        {
            return old;
        }

        // F has its system call vector, a byte, where E has the address of its kernel.
        bool isPci = memory.TryReadUInt32((ulong)lateData + late.KernelAddress, out uint word)
            && word is > 0 and < 256;
        return isPci ? LguestDialect.Of(LguestGeneration.F) : late;
    }

    private static bool HasEmptyRing(GuestMemory memory, uint data, LguestDialect dialect)
    {
        Span<byte> status = stackalloc byte[LguestDialect.RingSlots];
        return data != 0 && memory.TryRead((ulong)data + dialect.RingStatus, status)
            && !status.ContainsAnyExcept(RingSlotFree);
    }

    // Notes lie in a loaded segment of a guest of ours: name size, descriptor size, type, name, descriptor.
    private static bool TryReadNote(KernelImage kernel, out LguestGeneration generation, out bool extended)
    {
        ReadOnlySpan<byte> note = [6, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, .. "lhype\0\0\0"u8];
        foreach (KernelSegment segment in kernel.Segments)
        {
            ReadOnlySpan<byte> data = segment.Data.Span;
            int at = data.IndexOf(note);
            if (at >= 0 && data.Length - at >= note.Length + 4)
            {
                uint value = BinaryPrimitives.ReadUInt32LittleEndian(data[(at + note.Length)..]);
                generation = (LguestGeneration)(value & 0xFF);
                extended = (value & NoteExtended) != 0;
                return generation <= LguestGeneration.F;
            }
        }

        generation = default;
        extended = false;
        return false;
    }
}
