// The front door for kernels: finds out from the content what a file is, unpacks it where the host can, and
// says which bytes go where in guest memory and where to start. Called by the command line and the machine
// builder; BootLoader puts the result into memory.

using System;
using System.Collections.Generic;
using System.Text;
using Lhype.Host;

namespace Lhype.Machine.Boot;

/// <summary>What a kernel file turned out to be.</summary>
public enum KernelKind
{
    /// <summary>An ELF file with the Linux entry convention (a vmlinux, or the ELF inside a
    /// bzImage).</summary>
    Linux,
    /// <summary>A bzImage that has to unpack itself in the guest.</summary>
    LinuxPacked,
    /// <summary>A multiboot 1 kernel.</summary>
    Multiboot,
    /// <summary>An ELF file that can be started by Xen's PVH boot protocol, most likely a vmlinux.</summary>
    Pvh,
}

/// <summary>A kernel ready to be placed in guest memory. Immutable.</summary>
public sealed class KernelImage
{
    /// <summary>Largest kernel file accepted, in bytes.</summary>
    public const int MaxFileBytes = 512 << 20;

    private KernelImage(string name, KernelKind kind, int bits, ulong entry,
        IReadOnlyList<KernelSegment> segments)
    {
        Name = name;
        Kind = kind;
        Bits = bits;
        Entry = entry;
        Segments = segments;
    }

    /// <summary>The file as the user gave it, for messages.</summary>
    public string Name { get; }

    /// <summary>How it is started.</summary>
    public KernelKind Kind { get; }

    /// <summary>32, or 64 for a kernel that needs long mode.</summary>
    public int Bits { get; }

    /// <summary>Guest-physical address of the first instruction; for <see cref="KernelKind.Pvh"/> see
    /// <see cref="PvhEntry"/>.</summary>
    public ulong Entry { get; }

    /// <summary>Guest-physical address at which PVH starts the kernel; 0 for other kinds.</summary>
    public ulong PvhEntry { get; private init; }

    /// <summary>What goes where.</summary>
    public IReadOnlyList<KernelSegment> Segments { get; }

    /// <summary>One line about the kernel: format, compression, version.</summary>
    public string Description { get; private init; } = "";

    /// <summary>What <c>uname -r</c> will print, as a bzImage states it; empty for other kernels.</summary>
    public string Release { get; private init; } = "";

    /// <summary>The bzImage setup header from offset 0x1F1, empty for other kernels.</summary>
    public ReadOnlyMemory<byte> SetupHeader { get; private init; }

    /// <summary>Longest command line in bytes, without its NUL.</summary>
    public int CommandLineMax { get; private init; } = 2047;

    /// <summary>Highest guest-physical address the last byte of an initial RAM disk may have.</summary>
    public uint InitrdAddressMax { get; private init; } = 0x7FFF_FFFF;

    /// <summary>The kernel takes an initial RAM disk above 4 GiB.</summary>
    public bool ReachesAbove4GiB { get; private init; }

    /// <summary>First address after the memory the kernel needs before it reads the memory map.</summary>
    public ulong ReservedEnd { get; private init; }

    /// <summary>The multiboot header's flags; 0 for other kernels.</summary>
    public uint MultibootFlags { get; private init; }

    /// <summary>Loads <paramref name="path"/>; unpacked kernels come from and go to <paramref name="cache"/>
    /// unless it is null. Throws LhypeException.</summary>
    public static KernelImage Load(string path, UnpackedKernelCache? cache)
    {
        byte[] bytes = ImageFile.ReadAll(path, "kernel", MaxFileBytes);
        return Parse(path, bytes, cache);
    }

    /// <summary>Recognises a kernel held in memory; <paramref name="name"/> is used in messages. Throws
    /// LhypeException for anything that is not a kernel.</summary>
    public static KernelImage Parse(string name, ReadOnlyMemory<byte> bytes, UnpackedKernelCache? cache)
    {
        ReadOnlySpan<byte> span = bytes.Span;
        if (span.Length >= 18 && span[0] == 0x1F && span[1] == 0x8B)
        {
            bytes = KernelPayload.GunzipFile(bytes, name);
            span = bytes.Span;
        }

        if (BzImage.Matches(span))
        {
            return FromBzImage(name, bytes, cache);
        }

        MultibootHeader? multiboot = MultibootHeader.Find(span);
        if (multiboot is not null)
        {
            return FromMultiboot(name, multiboot, bytes);
        }

        if (ElfImage.Matches(span))
        {
            ElfImage elf = ElfImage.Parse(bytes, name);
            return FromElf(name, elf);
        }

        throw new LhypeException(span.IsEmpty
            ? $"The kernel {name} is empty; give a bzImage, an ELF vmlinux or a multiboot kernel."
            : $"The file {name} is no kernel: it is neither a bzImage, an ELF file nor a multiboot image.");
    }

    /// <summary>True if <paramref name="text"/> stands in what is loaded.</summary>
    public bool HasText(string text)
    {
        byte[] wanted = Encoding.ASCII.GetBytes(text);
        foreach (KernelSegment segment in Segments)
        {
            if (segment.Data.Span.IndexOf(wanted) >= 0)
            {
                return true;
            }
        }

        return false;
    }

    private static KernelImage FromElf(string name, ElfImage elf)
    {
        // What a bare ELF file expects at e_entry, nothing in it says; what it expects at the PVH entry is
        // defined.
        bool pvh = elf.PvhEntry is not null;
        ulong entry = elf.PhysicalEntry(preferVirtual: false, name);
        return new KernelImage(name, pvh ? KernelKind.Pvh : KernelKind.Linux, elf.Bits, entry, elf.Segments)
        {
            Description = $"ELF, {elf.Bits}-bit{(pvh ? ", PVH" : "")}",
            ReservedEnd = HighestEnd(elf.Segments),
            PvhEntry = elf.PvhEntry ?? 0,
        };
    }

    private static KernelImage FromMultiboot(string name, MultibootHeader header, ReadOnlyMemory<byte> bytes)
    {
        (IReadOnlyList<KernelSegment> segments, ulong entry) = header.Resolve(bytes, name);
        return new KernelImage(name, KernelKind.Multiboot, 32, entry, segments)
        {
            Description = "multiboot 1, 32-bit",
            ReservedEnd = HighestEnd(segments),
            MultibootFlags = header.Flags,
            InitrdAddressMax = uint.MaxValue,
            CommandLineMax = BootLayout.CommandLineBytes - 1,
        };
    }

    private static KernelImage FromBzImage(string name, ReadOnlyMemory<byte> bytes,
        UnpackedKernelCache? cache)
    {
        BzImage image = BzImage.Parse(bytes, name);
        string protocol = $"bzImage {image.Version >> 8}.{image.Version & 0xFF:d2}";
        string release = image.Release.Length == 0 ? "" : $", Linux {image.Release}";
        int commandLineMax = (int)Math.Min(image.CommandLineMax, BootLayout.CommandLineBytes - 1);
        string? compression = KernelPayload.FindCompression(image.Payload.Span);
        if (compression is null)
        {
            // The guest unpacks itself: it is loaded at 1 MiB, moves to where it likes and needs init_size
            // there. Its 64-bit entry is 512 bytes behind the 32-bit one (boot.rst, 64-bit boot protocol).
            const ulong start = BzImage.LoadAddress;
            ReadOnlyMemory<byte> part = image.ProtectedPart;
            var segment = new KernelSegment(start, start, part, (ulong)part.Length);
            ulong runStart = Math.Clamp(image.PreferredAddress, start, uint.MaxValue);
            int bits = image.Is64Bit ? 64 : 32;
            ulong first = start + (image.Is64Bit ? BzImage.LongEntryOffset : 0);
            return new KernelImage(name, KernelKind.LinuxPacked, bits, first, [segment])
            {
                Description = $"{protocol}, unpacks itself{release}",
                Release = image.Release.Split(' ')[0],
                SetupHeader = image.Header,
                CommandLineMax = commandLineMax,
                InitrdAddressMax = image.InitrdAddressMax,
                ReachesAbove4GiB = image.ReachesAbove4GiB,
                ReservedEnd = Math.Max(segment.End, runStart + image.InitSize),
            };
        }

        byte[]? unpacked = cache?.TryGet(bytes.Span);
        if (unpacked is null)
        {
            unpacked = KernelPayload.Unpack(image.Payload, compression, name);
            cache?.Put(bytes.Span, unpacked);
        }

        if (!ElfImage.Matches(unpacked))
        {
            throw new LhypeException(
                $"The kernel {name} is damaged: its {compression} payload is not an ELF file.");
        }

        ElfImage elf = ElfImage.Parse(unpacked, name);
        ulong entry = elf.PhysicalEntry(preferVirtual: false, name);
        return new KernelImage(name, KernelKind.Linux, elf.Bits, entry, elf.Segments)
        {
            Description = $"{protocol}, {compression}, {elf.Bits}-bit{release}",
            Release = image.Release.Split(' ')[0],
            SetupHeader = image.Header,
            CommandLineMax = commandLineMax,
            InitrdAddressMax = image.InitrdAddressMax,
            ReachesAbove4GiB = image.ReachesAbove4GiB,
            ReservedEnd = HighestEnd(elf.Segments),
        };
    }

    private static ulong HighestEnd(IReadOnlyList<KernelSegment> segments)
    {
        ulong end = 0;
        foreach (KernelSegment segment in segments)
        {
            end = Math.Max(end, segment.End);
        }

        return end;
    }
}
