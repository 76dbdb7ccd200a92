// Puts a kernel and all it is told into guest memory and says how the vCPU starts. The machine builder calls
// it once per start or reset, after the board has placed its ACPI tables. Linux by the 32-bit or the 64-bit
// boot protocol (Linux Documentation/arch/x86/boot.rst), multiboot 1 and PVH by their specifications.

using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Text;
using Lhype.Cpu;
using Lhype.Host;
using Lhype.Machine.Bus;

namespace Lhype.Machine.Boot;

/// <summary>All that is handed to a kernel besides itself.</summary>
public sealed record BootInputs
{
    /// <summary>The whole command line.</summary>
    public string CommandLine { get; init; } = "";

    /// <summary>Initial RAM disks in order; modules for a multiboot kernel.</summary>
    public IReadOnlyList<InitrdFile> Initrds { get; init; } = [];

    /// <summary>Guest-physical address of the ACPI root pointer; 0: the kernel searches for it.</summary>
    public ulong AcpiRsdpAddress { get; init; }

    /// <summary>Memory the board has set aside, such as ACPI tables in RAM.</summary>
    public IReadOnlyList<MemoryRange> SetAside { get; init; } = [];

    /// <summary>Source of the random seed given to Linux; null gives none.</summary>
    public IEntropy? Entropy { get; init; }
}

/// <summary>Places kernels in guest memory.</summary>
public static class BootLoader
{
    internal const int GdtBytes = 32;

    private const uint SetupRngSeed = 9;
    private const int SetupDataHeaderBytes = 16;
    private const int SeedBytes = 32;

    /// <summary>Loads <paramref name="kernel"/> and <paramref name="inputs"/> into
    /// <paramref name="memory"/>. Throws LhypeException, with one sentence for the user, if they do not fit
    /// or cannot be started.</summary>
    public static BootState Load(KernelImage kernel, BootInputs inputs, GuestMemory memory)
    {
        CheckRoom(kernel, memory);
        byte[] commandLine = EncodeCommandLine(kernel, inputs.CommandLine);
        foreach (KernelSegment segment in kernel.Segments)
        {
            PlaceSegment(segment, memory);
        }

        bool isLong = kernel.Bits == 64 && kernel.Kind is KernelKind.Linux or KernelKind.LinuxPacked;
        MustWrite(memory, BootLayout.Gdt, MakeGdt(isLong));
        MustWrite(memory, BootLayout.CommandLine, commandLine);
        IReadOnlyList<MemoryRange> map = E820Map.Make(memory, inputs.SetAside);
        if (kernel.Kind == KernelKind.Multiboot)
        {
            MultibootInfo.Write(kernel, map, memory, inputs.Initrds);
            return new BootState
            {
                Eip = (uint)kernel.Entry,
                Eax = MultibootInfo.BootloaderMagic,
                Ebx = BootLayout.ZeroPage,
            };
        }

        (ulong, ulong) initrd = Initrd.Place(inputs.Initrds, memory, kernel);
        if (kernel.Kind == KernelKind.Pvh)
        {
            PvhInfo.Write(map, memory, initrd, inputs.AcpiRsdpAddress);
            return new BootState { Eip = (uint)kernel.PvhEntry, Ebx = BootLayout.ZeroPage };
        }

        ulong setupData = WriteSeed(inputs.Entropy, memory);
        byte[] zeroPage = BootParams.Make(kernel, map, memory, initrd, setupData, inputs.AcpiRsdpAddress);
        MustWrite(memory, BootLayout.ZeroPage, zeroPage);
        BootState state = new() { Eip = (uint)kernel.Entry, Esi = BootLayout.ZeroPage };
        return isLong ? LongMode(state, memory) : state;
    }

    private static void CheckRoom(KernelImage kernel, GuestMemory memory)
    {
        if (memory.LowSize < BootLayout.ReservedEnd || kernel.ReservedEnd > memory.LowSize)
        {
            ulong needed = Math.Max(kernel.ReservedEnd, BootLayout.ReservedEnd);
            throw new LhypeException(
                $"The kernel {kernel.Name} needs memory up to {(needed + 0xF_FFFF) >> 20} MiB and "
                + $"the guest has {memory.Size >> 20} MiB; use a larger --memory.");
        }

        foreach (KernelSegment segment in kernel.Segments)
        {
            bool ownArea = segment.Physical < BootLayout.End;
            bool hole = segment.Physical < BootLayout.ReservedEnd && segment.End > BootLayout.ReservedStart;
            if (ownArea || hole)
            {
                throw new LhypeException(
                    $"The kernel {kernel.Name} asks to be loaded at 0x{segment.Physical:x}, "
                    + "where Lhype keeps boot data or a PC has no RAM; link it for 1 MiB or higher.");
            }
        }
    }

    private static byte[] EncodeCommandLine(KernelImage kernel, string commandLine)
    {
        int length = Encoding.UTF8.GetByteCount(commandLine);
        if (length > kernel.CommandLineMax)
        {
            throw new LhypeException(
                $"The kernel command line has {length} bytes and the kernel {kernel.Name} takes "
                + $"at most {kernel.CommandLineMax}; shorten --append.");
        }

        if (commandLine.Contains('\0', StringComparison.Ordinal))
        {
            throw new LhypeException(
                "The kernel command line contains a NUL character; remove it from --append.");
        }

        var bytes = new byte[length + 1];
        _ = Encoding.UTF8.GetBytes(commandLine, bytes);
        return bytes;
    }

    private static void PlaceSegment(KernelSegment segment, GuestMemory memory)
    {
        int length = (int)segment.MemorySize;
        bool isRam = memory.TryGetSpan(segment.Physical, length, out Span<byte> span);
        Invariant.Check(isRam, "a kernel segment was checked and is not RAM");
        segment.Data.Span.CopyTo(span);
        span[segment.Data.Length..].Clear();
        memory.Written(segment.Physical, segment.MemorySize);
    }

    private static ulong WriteSeed(IEntropy? entropy, GuestMemory memory)
    {
        if (entropy is null)
        {
            return 0;
        }

        // struct setup_data: next, type, length, data. The kernel wipes the seed after use.
        Span<byte> seed = stackalloc byte[SetupDataHeaderBytes + SeedBytes];
        seed.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(seed[8..], SetupRngSeed);
        BinaryPrimitives.WriteUInt32LittleEndian(seed[12..], SeedBytes);
        entropy.Fill(seed[SetupDataHeaderBytes..]);
        MustWrite(memory, BootLayout.SetupData, seed);
        return BootLayout.SetupData;
    }

    private static BootState LongMode(BootState state, GuestMemory memory)
    {
        MustWrite(memory, BootLayout.Tables, IdentityMap.Make(BootLayout.Tables));
        return state with
        {
            Code = BootSegment.LongCode,
            Cr0 = state.Cr0 | (uint)ControlBits.Cr0Paging,
            Cr3 = BootLayout.Tables,
            Cr4 = (uint)ControlBits.Cr4Pae,
            Efer = (uint)(ControlBits.EferLongEnable | ControlBits.EferLongActive),
        };
    }

    private static byte[] MakeGdt(bool isLong)
    {
        // Null, unused, code at 0x10 (__BOOT_CS), data at 0x18 (__BOOT_DS).
        var gdt = new byte[GdtBytes];
        BinaryPrimitives.WriteUInt64LittleEndian(gdt.AsSpan(0x10),
            isLong ? 0x00AF_9B00_0000_FFFFu : 0x00CF_9B00_0000_FFFF);
        BinaryPrimitives.WriteUInt64LittleEndian(gdt.AsSpan(0x18), 0x00CF_9300_0000_FFFF);
        return gdt;
    }

    private static void MustWrite(GuestMemory memory, ulong gpa, ReadOnlySpan<byte> bytes) =>
        Invariant.Check(memory.TryWrite(gpa, bytes), "low memory is not RAM");
}
