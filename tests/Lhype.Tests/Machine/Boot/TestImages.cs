// Builds small kernels of every format in memory, so that no test needs a file: valid ones for the loader's
// tests, and the seeds that the fuzz tests damage.

using System;
using System.Buffers.Binary;
using System.IO;
using System.IO.Compression;
using K4os.Compression.LZ4;

namespace Lhype.Tests.Machine.Boot;

internal static class TestImages
{
    public const uint LoadAddress = 0x20_0000;
    public const uint VirtualAddress = 0xC020_0000;
    public const int CodeBytes = 3000;

    /// <summary>Text with many E8/E9 bytes, the same that the .xz vectors were made from.</summary>
    public static byte[] MakeCode(int length)
    {
        using var code = new MemoryStream();
        uint seed = 12345;
        Span<byte> call = stackalloc byte[5];
        while (code.Length < length)
        {
            seed = unchecked((seed * 1103515245) + 12345);
            uint r = seed >> 16;
            switch (r % 8)
            {
                case 0:
                    call[0] = 0xE8;
                    BinaryPrimitives.WriteInt32LittleEndian(call[1..], 0x4000 - (int)code.Length);
                    code.Write(call);
                    break;
                case 1:
                    code.Write([0xE9, (byte)(r >> 8), 0, 0, (byte)((r & 16) != 0 ? 0xFF : 0)]);
                    break;
                case 2:
                    code.Write([0xE8, 0xE8, (byte)(r & 3), 0xE9]);
                    break;
                case 3:
                    code.Write([0x55, 0x89, 0xE5, 0x83, 0xEC, 0x10]);
                    break;
                default:
                    code.WriteByte((byte)((r >> 8) & 15));
                    break;
            }
        }

        return code.ToArray()[..length];
    }

    /// <summary>A 32-bit ELF executable with one segment of <see cref="CodeBytes"/> bytes and 4096 of
    /// bss.</summary>
    public static byte[] Elf32(uint entry = LoadAddress + 16, ushort machine = 3)
    {
        byte[] code = MakeCode(CodeBytes);
        var elf = new byte[84 + code.Length];
        new byte[] { 0x7F, 0x45, 0x4C, 0x46, 1, 1, 1 }.CopyTo(elf, 0);
        Put16(elf, 16, 2);
        Put16(elf, 18, machine);
        Put32(elf, 20, 1);
        Put32(elf, 24, entry);
        Put32(elf, 28, 52);
        Put16(elf, 40, 52);
        Put16(elf, 42, 32);
        Put16(elf, 44, 1);
        uint length = (uint)code.Length;
        uint[] header = [1, 84, VirtualAddress, LoadAddress, length, length + 4096, 5, 4096];
        for (int i = 0; i < header.Length; i++)
        {
            Put32(elf, 52 + (i * 4), header[i]);
        }

        code.CopyTo(elf, 84);
        return elf;
    }

    /// <summary>A 64-bit ELF executable for x86-64 with one segment.</summary>
    public static byte[] Elf64()
    {
        var elf = new byte[64 + 56 + 256];
        new byte[] { 0x7F, 0x45, 0x4C, 0x46, 2, 1, 1 }.CopyTo(elf, 0);
        Put16(elf, 16, 2);
        Put16(elf, 18, 62);
        Put32(elf, 24, LoadAddress);
        Put32(elf, 32, 64);
        Put16(elf, 54, 56);
        Put16(elf, 56, 1);
        Put32(elf, 64, 1);
        Put32(elf, 64 + 8, 120);
        Put32(elf, 64 + 16, LoadAddress);
        Put32(elf, 64 + 24, LoadAddress);
        Put32(elf, 64 + 32, 256);
        Put32(elf, 64 + 40, 256);
        return elf;
    }

    /// <summary>The same with the note that says where PVH starts it.</summary>
    public static byte[] Elf64Pvh(uint entry = LoadAddress + 32)
    {
        byte[] plain = Elf64();
        var elf = new byte[plain.Length + 64];
        plain.CopyTo(elf, 0);
        Put16(elf, 56, 2);

        // The second program header and the notes lie in the bytes of the first segment, which are any.
        const int header = 120, notes = 192;
        Put32(elf, header, 4);
        Put32(elf, header + 8, notes);
        Put32(elf, header + 32, 44);

        // A note of another owner first, whose descriptor of three bytes is padded.
        uint[] words = [4, 3, 1, 0x0055_4E47, 0, 4, 8, 18, 0x006E_6558, entry, 0];
        for (int i = 0; i < words.Length; i++)
        {
            Put32(elf, notes + (i * 4), words[i]);
        }

        return elf;
    }

    /// <summary>A bzImage of protocol 2.15 around <paramref name="payload"/>.</summary>
    public static byte[] BzImage(byte[] payload, ushort version = 0x020F)
    {
        const int setupSectors = 4;
        const int setupBytes = (setupSectors + 1) * 512;
        const int stubBytes = 64;
        int partBytes = (stubBytes + payload.Length + 15) & ~15;
        var image = new byte[setupBytes + partBytes];
        image[0x1F1] = setupSectors;
        Put32(image, 0x1F4, (uint)partBytes / 16);
        Put16(image, 0x1FE, 0xAA55);
        image[0x200] = 0xEB;
        image[0x201] = 0x6A;
        "HdrS"u8.CopyTo(image.AsSpan(0x202));
        Put16(image, 0x206, version);
        Put16(image, 0x20E, 0x400);
        image[0x211] = 1;
        Put32(image, 0x214, 0x10_0000);
        Put32(image, 0x22C, 0x7FFF_FFFF);
        Put32(image, 0x238, 2047);
        Put32(image, 0x248, stubBytes);
        Put32(image, 0x24C, (uint)payload.Length);
        Put32(image, 0x258, 0x10_0000);
        Put32(image, 0x260, 0x2_0000);
        "9.8.7-test (a@b) #1"u8.CopyTo(image.AsSpan(0x600));
        payload.CopyTo(image, setupBytes + stubBytes);
        return image;
    }

    /// <summary>A multiboot kernel in the address form: header first, 64 bytes of code, 4096 of
    /// bss.</summary>
    public static byte[] MultibootKludge()
    {
        var image = new byte[256];
        const uint flags = 0x1_0003;
        Put32(image, 16, 0x1BAD_B002);
        Put32(image, 20, flags);
        Put32(image, 24, unchecked(0u - 0x1BAD_B002u - flags));
        Put32(image, 28, LoadAddress + 16);
        Put32(image, 32, LoadAddress);
        Put32(image, 36, LoadAddress + 256);
        Put32(image, 40, LoadAddress + 256 + 4096);
        Put32(image, 44, LoadAddress + 64);
        return image;
    }

    /// <summary>A multiboot kernel that is an ELF file with a virtual entry point, as GNU Mach.</summary>
    public static byte[] MultibootElf()
    {
        byte[] elf = Elf32(entry: VirtualAddress + 32);
        const uint flags = 3;
        Put32(elf, 84, 0x1BAD_B002);
        Put32(elf, 88, flags);
        Put32(elf, 92, unchecked(0u - 0x1BAD_B002u - flags));
        return elf;
    }

    public static byte[] Gzip(byte[] data)
    {
        using var output = new MemoryStream();
        using (var gzip = new GZipStream(output, CompressionLevel.Optimal, leaveOpen: true))
        {
            gzip.Write(data);
        }

        return output.ToArray();
    }

    public static byte[] Zstd(byte[] data)
    {
        using var compressor = new ZstdSharp.Compressor();
        return WithSize(compressor.Wrap(data).ToArray(), data.Length);
    }

    public static byte[] Lz4Legacy(byte[] data)
    {
        var block = new byte[LZ4Codec.MaximumOutputSize(data.Length)];
        int length = LZ4Codec.Encode(data, block);
        var frame = new byte[8 + length];
        Put32(frame, 0, 0x184C_2102);
        Put32(frame, 4, (uint)length);
        block.AsSpan(0, length).CopyTo(frame.AsSpan(8));
        return WithSize(frame, data.Length);
    }

    /// <summary>Appends the unpacked size, as the Linux build does to every payload but gzip's.</summary>
    public static byte[] WithSize(byte[] packed, int size)
    {
        var result = new byte[packed.Length + 4];
        packed.CopyTo(result, 0);
        Put32(result, packed.Length, (uint)size);
        return result;
    }

    public static void Put16(byte[] bytes, int at, ushort value) =>
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(at), value);

    public static void Put32(byte[] bytes, int at, uint value) =>
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(at), value);

    /// <summary>xz --check=crc32 --x86 --lzma2=preset=9e over MakeCode(3000).</summary>
    public static byte[] XzWithBranchFilter() => Convert.FromBase64String(
        """
        /Td6WFoAAAFpIt42AgEEACEBHACHbtrl4Au3BM5dAAGCCg4xJPyVHODr3lV2DanCgHDvbseDacIS+jO3JpxD4FP8j4pi6wtc
        qT/qHXnBIY10Y5jWnim5mIHQy0SIlzfiIzywawDuIA5olZbrkp7FK9MwiHxnG5mYUaix8TfVu1yEhPBelntUnAdWkDBlDMAN
        1mk1tS9LtA9qEtG0xTRzgyriAoDWOqinjfAig7r29vib+FM6chyfmffmccABCuBXGwQLBM/XN8JHd6BQEL0Jcb1YbujKv1oQ
        W3E1Tr1l+pfCJqf0CO8iq1BUGfpqWhdWZUbW3IdKgnKFu3T1BYD/q7fbAfnHVND18WZV4LUf9b1xgjnOlH++CmXTZYS9C0sG
        f7Lm3Qau8aJKifq2ae9eBFOfd9dTc7yWIxltXQbO12gKobYfdE6FDwgviqdznOHoUQI0SxQodgYdvjYCr/Ht9Mj1pvYgVccK
        O/nxACmE5hV8fRHWlzPUUNZN/UinPu94ojIvgySNhpyFoiMu86SW+AEvZIV0mjBKBcdZ7AOXv3GrgMXTzxNWLl/3woZiXcYy
        9GAZM46NRccdC/FeDpQ02/sTbD5AU2jo17B4cRpGzEQgdKt0rEWpU6rfqaFWbSJ4SsZf3U0+brs6+qOFcmcSzK+PvmhSLSHO
        Y3vBmtcZegy9/9H10OZ74je0hfRCocDcOha88pDfaJIXjiYDuCsZNUnG8fu3pyTjglt9pN8LeCjcYrH/B1cLoVezr98oE+2I
        Zsa5w+1ybzp9bOzTqXxB1VC/cxU0wg+IAOP68Jx575wOkZt9rlatxUaYS5M37Bm6ElkKIdSgyz/2eEj8RKhuKaNTZp3GB7cW
        oHLbZoIMaXiC1JhXItSm/BC1vWpMgG+7lY1Y3xiijznLez6AyeVVyonc8P8epdbmcsH9k2PoXL+k3neqH7avWgJNG90vERO9
        un4O/EsyKHIn+xuyIGofI4YU255MLPOX94d1a0A9Z/TU4vxa0PZ6LpGc6TbCgQz3q3OqFSig0Z6BVXnC931PR182YQ4L7wPl
        lkY/HqKa1I7bDZRK3JuxKRxte53TrBYNaYclbgnoqD4sccHJP2nRLiPy7riMs2qeqHeZDrM1NFozohMoPu1JGhgLNSp8pqWN
        3uJt6PlSQCAs7JCy9iSlvffviL+nYmVJfs2HnzNAyAD5TD/Je6G0FRSETq/LTgv2KJ5vM2Orce6caG5m7DNwmrA/xI8xbhbx
        TgO5h8nSgTADDGWYKFBep52NQu4qDTjnLQPzd+RkHrILxQWOL0zJixJQrDjuNgiuxAz5GDyShRSMA64Dr7DW94SLDstDxTvh
        O16SfNXC1NhrziWddQzZbdpn99vmhdQnTgttUfRiavXCqzCiNJa3RZHAekzFirgqE/ZkOngIW+PrwKgzKcxPbXrYEhD2D0+E
        mcTJmMjh5lr/iijFsos+GqrpYpHkoQ2ezZ3S/ucaYOi2KqQeNthNjdkdvjzaTS/Pc4CW1fbpsmd/khztGYwaDHRfj2SQUuJi
        vrhUltdfL0iTqos9MIC2OlwWidseJE2SDNhDb7jHZ6gOBB68RyUCYAC4ks8DbQAEr/2XWm0iDswCum2/qgkyUcVX+NPeLzJn
        KxBQdRrYW1N0FljxrloRbZscSOSsAtRsxq5lRfzp35saA8FDjAAAAMCqgCgAAeYJuBcAALOd988+MA2LAgAAAAABWVo=
        """);

    /// <summary>xz --check=crc32 --lzma2=lc=1,lp=2,pb=1 over MakeCode(3000).</summary>
    public static byte[] XzOddProperties() => Convert.FromBase64String(
        """
        /Td6WFoAAAFpIt42AgAhARYAAAB0L+Wj4Au3BapAAAGBvNV4pzlRB97JPS4VMaSo5Ye/8tZGFZpz10cPciZw0GGkhL0NFR8Y
        pPeNarG85C3UTFX3/goNjU1nzF8JdfzD2ki+GRdkHlDveizGlY3CQCObMQ9yEN2pm8ja5AAuIeXeKfb3xDBqtvjcuBCFPISF
        mcpl02A9occ6AugLgCsuNPdzR4WNW0ZIz7I0iKat971YlJQVHVdjJtA81G/m+/L3BXJJdj8E4CN9mqoi+0aTy39/DovKzwbn
        bE0wu+IEicX5hnAZxm/pfquKu5VfxqcSIDWDEJhqMNLoAMybYYocOXIezAbzz+uLVtCv2G2p5q4t1MGMVZNubMY1EQGKRZny
        PDJoAMpllDqlMV5vdr2vDteG4cooMHbfLbhAJuTn3bbejTtVJw8s8EEq7KMmPvTwCr1LZjSc86hL1B+0y0TT8h6BtISr8G/7
        gLFWPpxMlWyONqLTMyGhQBioJWqJKW4BTCmonRWGxWx3DGD2mG9pUvBb3A9GhhUK9speLBE/FBnPtBhYVq5v8KjXmJe66iMA
        BZKF+uTKW1xDDpnkbzSCQUhli1tQzVZptrovQ78V8sWyqSl7UQM2mzI4wfxKI4tahH2zNV1zU0TXd9/rkzOylfLbOc9Td6wl
        WWe0GLS2lfvW9n0ynPqwomPF73hlVvo7TmvavmmfGt9/n0YS1MzvNJ2GSG+XtKeHpprj7OL7jfczrQtyvWypksSwZu5V3hRB
        6ywq5Fh/8kxGAhp/q6b7a0j3EEWhuYaBulp+ps24JCkJknIiWLgk1oLs5NHQ1N/6fk1jzMDEaOAp16Z+pLFXRD5q78zosTLi
        T4gETYt2jrTC4faQlm8oW/0J0jYr2w5NFdXhALB8Ow85eA0pDuscTdx4x788noJ2meHCaYMCoeuJN+OpGgj17yXd2ocL7tv6
        mj4Yu3e3KjcboIUp7rBsXCJM/dO4erCEtf6b8fPamNf1D3n8Bqkk+khsTYCpccxUUR4Y0KVIc00udBWQbBEjOZtRbTNCAKvd
        gegPRrul6XRIKjsEUSbHc7iABkLq3PW+7GlkY7Nk4aMAC/+3162KcMd/CmNXKJMKi8fjIV6R1TjnDYBLLUGePvrO6Wi7VFT5
        xgwDxUBIqOBHaalhgp4AJr7u/uLxbPMMNQA2KAcSscBXKj8FBPXp0E8yGzXRBNmjgkbhfvwI8LFqk0GjG0EsanxuWJMo6396
        hefcKRjZRJL/zVNeDjUXuxGOi9rTQM2Ep5/sgydvpjoZgXwE4Aan2XX+8YIsozhqi+GyCf2i9HEHUc2kVh51WvKaMudaYvLP
        Oy8M74tDnCJFkE0HaamVUp5zNDRG0JLvRDowgt/bF1s9hPp/E6TDPA6OAk7IcJpMKFm4J6EJiGbSGBVXvPYShsG5TNwt6QXK
        bNJK0GicyefFSt9qFXm/WQ6Vno2KBjrvBHwSN8bgEMjVO/d+Ga1w+YiYvpHI06lmzsWCfwXdn1lcs+HuXMXFuzYFoOKm+GYo
        /5KxTTN85mT5fSJ3TepZLrc5HUQYzNJl+S2tlkVCpSOW0cv5K2ymVCib9HWSE9vEoEe8/XvEgEWdwEfU3EmaNLk95Cnj8m1f
        GiAUzeYxZypcEiPcJDOrQU6RH3o83y91ahY1tYS3fknweJ7Izccfme1NUCStxd+0YckOa2UYI8qWEe/kXzgz24aRSvDevovA
        1yMqFBOxZ4ZgkdgHGVoeANyOwxAGZgwht4Y1tv4xejrhX/pY19c8MTrkyysA03i1NDhThNVxORQJYqh29u1tUkQIWSLlxNJy
        mN+2Kw45OMef9pecPuh+qOgiM1g96YZ0MEmohuB9wkIlSbWZgTCBuFB2dIRIYouI9k5cZ0KOIOFsQvMTQM5fYSScCZyaExN/
        7Cq/RCEJwonr3f0S/hU1/uchdy7wfLaCShmPrKwbC21c3LXP5u800eAAAADAqoAoAAHCC7gXAADziQopPjANiwIAAAAAAVla
        """);
}
