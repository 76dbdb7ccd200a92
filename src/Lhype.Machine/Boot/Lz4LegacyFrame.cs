// The LZ4 "legacy" frame, which the Linux build packs kernels with (lz4 -l): a magic number, then blocks of
// at most 8 MiB unpacked, each after its packed size. The block decoder comes from K4os.Compression.LZ4,
// whose own frame reader knows only the newer frame. Called by KernelPayload.

using System;
using System.Buffers.Binary;
using K4os.Compression.LZ4;

namespace Lhype.Machine.Boot;

/// <summary>Unpacks LZ4 legacy frames ("LZ4 Frame Format Description", Legacy frame).</summary>
internal static class Lz4LegacyFrame
{
    /// <summary>Magic number, little-endian.</summary>
    public const uint Magic = 0x184C_2102;

    private const int BlockMax = 8 << 20;

    /// <summary>Unpacks <paramref name="input"/> into <paramref name="output"/>. False: damaged or too
    /// large.</summary>
    public static bool TryDecode(ReadOnlySpan<byte> input, Span<byte> output, out int length)
    {
        length = 0;
        while (input.Length >= 4)
        {
            uint packed = BinaryPrimitives.ReadUInt32LittleEndian(input);
            input = input[4..];
            if (packed == Magic)
            {
                continue;
            }

            if (packed == 0 || packed > (uint)input.Length)
            {
                return false;
            }

            Span<byte> target = output[length..];
            target = target[..Math.Min(target.Length, BlockMax)];
            int unpacked = LZ4Codec.Decode(input[..(int)packed], target);
            if (unpacked < 0)
            {
                return false;
            }

            length += unpacked;
            input = input[(int)packed..];
        }

        return input.IsEmpty;
    }
}
