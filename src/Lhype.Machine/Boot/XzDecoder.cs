// The .xz container (format 1.1.0) with the two filters kernels are packed with, LZMA2 and x86 BCJ; .NET has
// no xz and the package that has one gets the x86 filter wrong on whole kernels. Called by KernelPayload.

using System;
using System.Buffers.Binary;

namespace Lhype.Machine.Boot;

/// <summary>Unpacks one .xz stream held in memory. Never throws on bad data.</summary>
internal static class XzDecoder
{
    private const int HeaderSize = 12;
    private const int CheckNone = 0;
    private const int CheckCrc32 = 1;
    private const ulong FilterX86 = 0x04;
    private const ulong FilterLzma2 = 0x21;

    /// <summary>The six bytes an .xz stream starts with.</summary>
    public static ReadOnlySpan<byte> Magic => [0xFD, 0x37, 0x7A, 0x58, 0x5A, 0x00];

    /// <summary>Unpacks <paramref name="input"/> into <paramref name="output"/>. False with a
    /// <paramref name="reason"/> (a clause) if the data is corrupt, of an unsupported kind or too
    /// large.</summary>
    public static bool TryDecode(ReadOnlySpan<byte> input, Span<byte> output, out int length,
        out string reason)
    {
        length = 0;
        reason = "its xz header is damaged";
        if (input.Length < HeaderSize || !input[..6].SequenceEqual(Magic) || input[6] != 0 || input[7] > 15
            || Crc32.Compute(input.Slice(6, 2)) != BinaryPrimitives.ReadUInt32LittleEndian(input[8..]))
        {
            return false;
        }

        int check = input[7];
        if (check is not (CheckNone or CheckCrc32))
        {
            reason = $"its xz integrity check (type {check}) is neither none nor CRC32";
            return false;
        }

        int position = HeaderSize;
        while (position < input.Length && input[position] != 0)
        {
            if (!TryDecodeBlock(input, check, ref position, output, ref length, out reason))
            {
                return false;
            }
        }

        if (position >= input.Length)
        {
            reason = "its xz data ends before the index";
            return false;
        }

        return true;
    }

    private static bool TryDecodeBlock(ReadOnlySpan<byte> input, int check, ref int position,
        Span<byte> output, ref int length, out string reason)
    {
        reason = "an xz block header is damaged";
        int headerSize = (input[position] + 1) * 4;
        if (headerSize > input.Length - position)
        {
            return false;
        }

        ReadOnlySpan<byte> header = input.Slice(position, headerSize);
        if (Crc32.Compute(header[..^4]) != BinaryPrimitives.ReadUInt32LittleEndian(header[^4..])
            || !TryReadFilters(header[..^4], out bool x86, out ulong dictionarySize, out reason))
        {
            return false;
        }

        position += headerSize;
        Span<byte> target = output[length..];
        var lzma = new Lzma2Decoder(input[position..], target, dictionarySize);
        reason = "its xz data is damaged or larger than it says";
        if (!lzma.TryDecode())
        {
            return false;
        }

        // Blocks are padded to four bytes; then comes the check of the unpacked bytes.
        int checkSize = check == CheckCrc32 ? 4 : 0;
        int packed = (lzma.Consumed + 3) & ~3;
        if (packed > input.Length - position || checkSize > input.Length - position - packed)
        {
            return false;
        }

        position += packed;
        target = target[..lzma.Produced];
        if (x86)
        {
            X86BranchFilter.Decode(target);
        }

        reason = "its unpacked data does not match the xz checksum";
        ReadOnlySpan<byte> expected = input.Slice(position, checkSize);
        bool matches = check == CheckNone
            || Crc32.Compute(target) == BinaryPrimitives.ReadUInt32LittleEndian(expected);
        position += checkSize;
        length += target.Length;
        return matches;
    }

    private static bool TryReadFilters(ReadOnlySpan<byte> header, out bool x86, out ulong dictionarySize,
        out string reason)
    {
        x86 = false;
        dictionarySize = 0;
        reason = "an xz block header is damaged";
        byte flags = header[1];
        int filters = (flags & 3) + 1;
        int at = 2;
        if ((flags & 0x3C) != 0 || ((flags & 0x40) != 0 && !TryReadVariable(header, ref at, out _))
            || ((flags & 0x80) != 0 && !TryReadVariable(header, ref at, out _)))
        {
            return false;
        }

        for (int i = 0; i < filters; i++)
        {
            if (!TryReadVariable(header, ref at, out ulong id)
                || !TryReadVariable(header, ref at, out ulong size)
                || size > (ulong)(header.Length - at))
            {
                return false;
            }

            ReadOnlySpan<byte> properties = header.Slice(at, (int)size);
            at += (int)size;
            bool last = i == filters - 1;
            if (last && id == FilterLzma2 && size == 1 && properties[0] <= 40)
            {
                int bits = properties[0];
                dictionarySize = bits == 40 ? uint.MaxValue : (2UL | ((uint)bits & 1)) << ((bits / 2) + 11);
            }
            else if (!last && !x86 && id == FilterX86 && size == 0)
            {
                x86 = true;
            }
            else
            {
                reason = $"it uses an xz filter (id 0x{id:x}) other than LZMA2 and x86";
                return false;
            }
        }

        return true;
    }

    private static bool TryReadVariable(ReadOnlySpan<byte> data, ref int at, out ulong value)
    {
        value = 0;
        for (int shift = 0; shift < 63 && at < data.Length; shift += 7)
        {
            byte b = data[at++];
            value |= (ulong)(b & 0x7F) << shift;
            if ((b & 0x80) == 0)
            {
                return true;
            }
        }

        return false;
    }
}
