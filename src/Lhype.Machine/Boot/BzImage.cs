// The Linux bzImage: a setup header (Linux Documentation/arch/x86/boot.rst) in front of a protected-mode
// part, which holds the packed kernel. Parses the header, unpacks the kernel where the host can, and
// otherwise describes how the guest unpacks itself through the 32-bit boot protocol. Called by KernelImage.

using System;
using System.Text;
using Lhype.Host;

namespace Lhype.Machine.Boot;

/// <summary>The setup header of a bzImage and where its parts lie.</summary>
internal sealed class BzImage
{
    /// <summary>Offset of the setup header in the file and in the zero page.</summary>
    public const int HeaderOffset = 0x1F1;

    /// <summary>Where a bzImage's protected-mode part is loaded when it unpacks itself.</summary>
    public const uint LoadAddress = 0x10_0000;

    /// <summary>Offset of the 64-bit entry in the protected-mode part, if there is one.</summary>
    public const uint LongEntryOffset = 0x200;

    private const int HeaderLimit = 0x290;
    private const byte LoadedHigh = 1;
    private const ushort Kernel64 = 1 << 0;
    private const ushort CanBeLoadedAbove4GiB = 1 << 1;

    private BzImage(ushort version, byte[] header, ReadOnlyMemory<byte> protectedPart)
    {
        Version = version;
        Header = header;
        ProtectedPart = protectedPart;
    }

    /// <summary>Boot protocol version, 0x020F for 2.15.</summary>
    public ushort Version { get; }

    /// <summary>The setup header, from <see cref="HeaderOffset"/> to its end.</summary>
    public byte[] Header { get; }

    /// <summary>What runs in protected mode: the unpacking code and the packed kernel.</summary>
    public ReadOnlyMemory<byte> ProtectedPart { get; }

    /// <summary>The packed kernel with its size field; empty where the header does not say.</summary>
    public ReadOnlyMemory<byte> Payload { get; private init; }

    /// <summary>Highest address an initial RAM disk's last byte may have.</summary>
    public uint InitrdAddressMax { get; private init; }

    /// <summary>Longest command line in bytes, without its NUL.</summary>
    public uint CommandLineMax { get; private init; }

    /// <summary>Memory the kernel needs from its load address before it reads the memory map, in
    /// bytes.</summary>
    public uint InitSize { get; private init; }

    /// <summary>Address it would like to run at.</summary>
    public ulong PreferredAddress { get; private init; }

    /// <summary>True if the kernel has a 64-bit entry (XLF_KERNEL_64).</summary>
    public bool Is64Bit { get; private init; }

    /// <summary>True if what the kernel is given may lie above 4 GiB (XLF_CAN_BE_LOADED_ABOVE_4G).</summary>
    public bool ReachesAbove4GiB { get; private init; }

    /// <summary>The kernel's own version text, "6.1.0-50-686 (...) #1 SMP ..." or empty.</summary>
    public string Release { get; private init; } = "";

    /// <summary>True if <paramref name="bytes"/> hold the setup header's magic "HdrS" and the boot
    /// flag.</summary>
    public static bool Matches(ReadOnlySpan<byte> bytes) =>
        bytes.Length >= 0x206 && bytes[0x1FE] == 0x55 && bytes[0x1FF] == 0xAA
        && bytes.Slice(0x202, 4).SequenceEqual("HdrS"u8);

    /// <summary>Parses <paramref name="bytes"/>; throws LhypeException naming
    /// <paramref name="name"/>.</summary>
    public static BzImage Parse(ReadOnlyMemory<byte> bytes, string name)
    {
        var reader = new ImageReader(bytes.Span, name);
        ushort version = reader.UInt16(0x206);
        if (version < 0x0202 || (reader.Byte(0x211) & LoadedHigh) == 0)
        {
            throw new LhypeException($"The kernel {name} is too old: it is a zImage or uses boot protocol "
                + $"{version >> 8}.{version & 0xFF:d2}, and Lhype loads bzImages from 2.02 on.");
        }

        int setupSectors = reader.Byte(HeaderOffset);
        ulong setupSize = ((setupSectors == 0 ? 4u : (ulong)setupSectors) + 1) * 512;
        ulong total = (ulong)bytes.Length;
        int headerEnd = Math.Clamp(0x202 + reader.Byte(0x201), 0x22C, HeaderLimit);
        if (setupSize >= total || (ulong)headerEnd > total)
        {
            throw ImageReader.Truncated(name, total);
        }

        // syssize: the protected-mode part in 16-byte units; what follows (a signature) is not part of the
        // kernel.
        ulong declared = (ulong)reader.UInt32(0x1F4) * 16;
        ulong available = total - setupSize;
        if (version >= 0x0204 && declared > available + 15)
        {
            throw ImageReader.Truncated(name, total);
        }

        ulong partSize = version >= 0x0204 && declared != 0 ? Math.Min(declared, available) : available;
        ReadOnlyMemory<byte> part = bytes.Slice((int)setupSize, (int)partSize);
        bool At(ushort since) => version >= since;
        return new BzImage(version, bytes[HeaderOffset..headerEnd].ToArray(), part)
        {
            Payload = At(0x0208)
                ? FindPayload(part, reader.UInt32(0x248), reader.UInt32(0x24C), name)
                : default,
            InitrdAddressMax = At(0x0203) ? reader.UInt32(0x22C) : 0x37FF_FFFF,
            CommandLineMax = At(0x0206) ? reader.UInt32(0x238) : 255,
            PreferredAddress = At(0x020A) ? reader.UInt64(0x258) : LoadAddress,
            InitSize = At(0x020A) ? reader.UInt32(0x260) : 0,
            Is64Bit = At(0x020C) && (reader.UInt16(0x236) & Kernel64) != 0,
            ReachesAbove4GiB = At(0x020C) && (reader.UInt16(0x236) & CanBeLoadedAbove4GiB) != 0,
            Release = ReadRelease(bytes.Span, reader.UInt16(0x20E)),
        };
    }

    private static ReadOnlyMemory<byte> FindPayload(ReadOnlyMemory<byte> part, uint offset, uint length,
        string name)
    {
        if (offset > (uint)part.Length || length > (uint)part.Length - offset)
        {
            throw ImageReader.Truncated(name, (ulong)part.Length);
        }

        return part.Slice((int)offset, (int)length);
    }

    private static string ReadRelease(ReadOnlySpan<byte> bytes, ushort pointer)
    {
        const int maxLength = 200;
        int start = pointer + 0x200;
        if (pointer == 0 || start >= bytes.Length)
        {
            return "";
        }

        ReadOnlySpan<byte> text = bytes.Slice(start, Math.Min(maxLength, bytes.Length - start));
        int end = text.IndexOfAnyExceptInRange((byte)0x20, (byte)0x7E);
        return Encoding.ASCII.GetString(end < 0 ? text : text[..end]).Trim();
    }
}
