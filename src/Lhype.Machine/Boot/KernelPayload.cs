// Unpacks the compressed kernel inside a bzImage on the host: a stock i386 kernel spends 2.3 thousand
// million guest instructions on unpacking itself, the host half a second, and the result is cached. Called
// by BzImage.

using System;
using System.Buffers.Binary;
using System.IO;
using System.IO.Compression;
using Lhype.Host;

namespace Lhype.Machine.Boot;

/// <summary>The payload of a bzImage: which compression it uses, and its unpacking.</summary>
internal static class KernelPayload
{
    /// <summary>Largest unpacked kernel accepted, in bytes. Debian's biggest is 66 MB.</summary>
    public const int MaxUnpackedBytes = 512 << 20;

    private const int SizeFieldBytes = 4;

    /// <summary>Name of the compression of <paramref name="payload"/>, by its first bytes; null if it is one
    /// the host does not unpack (bzip2, lzma, lzo), so that the guest must.</summary>
    public static string? FindCompression(ReadOnlySpan<byte> payload)
    {
        if (payload.Length < 8)
        {
            return null;
        }

        uint first = BinaryPrimitives.ReadUInt32LittleEndian(payload);
        return first switch
        {
            ElfImage.Magic => "none",
            Lz4LegacyFrame.Magic => "lz4",
            0xFD2F_B528 => "zstd",
            _ when (first & 0xFFFF) == 0x8B1F => "gzip",
            _ when payload.StartsWith(XzDecoder.Magic) => "xz",
            _ => null,
        };
    }

    /// <summary>Unpacks <paramref name="payload"/>, whose last four bytes hold the unpacked size (Linux
    /// Documentation/arch/x86/boot.rst, payload_length). Throws LhypeException naming
    /// <paramref name="name"/>.</summary>
    public static byte[] Unpack(ReadOnlyMemory<byte> payload, string compression, string name)
    {
        ReadOnlySpan<byte> bytes = payload.Span;
        if (compression == "none")
        {
            return bytes.ToArray();
        }

        uint size = BinaryPrimitives.ReadUInt32LittleEndian(bytes[^SizeFieldBytes..]);
        if (size == 0 || size > MaxUnpackedBytes)
        {
            throw Damaged(name, $"its {compression} payload claims to unpack to {size} bytes");
        }

        var output = new byte[size];
        ReadOnlySpan<byte> packed = bytes[..^SizeFieldBytes];
        string reason = $"its {compression} payload does not unpack";
        bool ok;
        int length;
        switch (compression)
        {
            case "gzip":
                ok = TryGunzip(payload, output, out length);
                break;
            case "xz":
                ok = XzDecoder.TryDecode(packed, output, out length, out reason);
                break;
            case "lz4":
                ok = Lz4LegacyFrame.TryDecode(packed, output, out length);
                break;
            default:
                ok = TryUnzstd(packed, output, out length);
                break;
        }

        if (!ok)
        {
            throw Damaged(name, reason);
        }

        return length == output.Length
            ? output
            : throw Damaged(name, $"its {compression} payload unpacks to {length} bytes instead of {size}");
    }

    /// <summary>Unpacks a whole file that is gzip-compressed, such as a multiboot kernel in a
    /// package.</summary>
    public static byte[] GunzipFile(ReadOnlyMemory<byte> file, string name)
    {
        uint size = BinaryPrimitives.ReadUInt32LittleEndian(file.Span[^SizeFieldBytes..]);
        if (size == 0 || size > MaxUnpackedBytes)
        {
            throw Damaged(name, $"it is a gzip file that claims to unpack to {size} bytes");
        }

        var output = new byte[size];
        return TryGunzip(file, output, out int length) && length == output.Length
            ? output
            : throw Damaged(name, "it is a gzip file that does not unpack");
    }

    private static LhypeException Damaged(string name, string reason) =>
        new($"The kernel {name} is damaged: {reason}; fetch it again.");

    private static bool TryGunzip(ReadOnlyMemory<byte> packed, byte[] output, out int length)
    {
        length = 0;
        try
        {
            using var source = new MemoryStream(packed.ToArray(), writable: false);
            using var gzip = new GZipStream(source, CompressionMode.Decompress);
            length = gzip.ReadAtLeast(output, output.Length, throwOnEndOfStream: false);
            return gzip.ReadByte() < 0;
        }
        catch (InvalidDataException)
        {
            return false;
        }
    }

    private static bool TryUnzstd(ReadOnlySpan<byte> packed, byte[] output, out int length)
    {
        length = 0;
        try
        {
            using var decompressor = new ZstdSharp.Decompressor();
            length = decompressor.Unwrap(packed, output);
            return true;
        }
        catch (ZstdSharp.ZstdException)
        {
            return false;
        }
    }
}
