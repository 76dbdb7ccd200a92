// Random and damaged kernels and RAM disks: whatever the bytes, the loaders answer with a kernel or an
// LhypeException, and what they accept can be placed. One canary plants a bug to show that this search would
// find one. A failure prints the seed: repeat with CsCheck_Seed=SEED in the environment.

using System;
using System.Buffers.Binary;
using CsCheck;
using Lhype.Host;
using Lhype.Machine.Boot;
using Lhype.Machine.Bus;
using Lhype.Tests.Machine.Boot;
using Xunit;

namespace Lhype.Tests.Fuzz;

public sealed class LoaderFuzzTests : IDisposable
{
    private const int Iterations = 2000;

    private static readonly byte[][] Seeds =
    [
        TestImages.Elf32(),
        TestImages.Elf64(),
        TestImages.Elf64Pvh(),
        TestImages.MultibootElf(),
        TestImages.MultibootKludge(),
        TestImages.BzImage(TestImages.Elf32()),
        TestImages.BzImage(TestImages.Elf64Pvh()),
        TestImages.BzImage(TestImages.Gzip(TestImages.Elf32())),
        TestImages.BzImage(TestImages.Zstd(TestImages.Elf32())),
        TestImages.BzImage(TestImages.Lz4Legacy(TestImages.Elf32())),
        TestImages.BzImage(TestImages.WithSize(TestImages.XzWithBranchFilter(), TestImages.CodeBytes)),
        TestImages.Gzip(TestImages.MultibootElf()),
    ];

    // Most fields lie early in an image, so half of all damage goes there.
    private static readonly Gen<(int Image, (int Position, uint Value, int Width)[] Edits, int Keep)> Damage =
        Gen.Select(
            Gen.Int[0, Seeds.Length - 1],
            Gen.Select(
                Gen.OneOf(Gen.Int[0, 0x270], Gen.Int[0, 0x1FFF]),
                Gen.OneOf(Gen.UInt, Pick(0u, 1u, 0x7FFF_FFFFu, 0x8000_0000u, uint.MaxValue)),
                Pick(1, 2, 4)).Array[0, 6],
            Gen.OneOf(Gen.Const(int.MaxValue), Gen.Int[0, 0x2000]));

    private readonly GuestRam _ram = new(8 << 20);
    private readonly GuestMemory _memory;

    public LoaderFuzzTests() => _memory = new GuestMemory(_ram, (_, _) => { });

    public void Dispose() => _ram.Dispose();

    [Fact]
    public void RandomBytesNeverDoWorseThanASentence()
    {
        Gen.Byte.Array[0, 4096].Sample(bytes => Survives(() => Load(bytes)), iter: Iterations, threads: 1);
    }

    [Fact]
    public void DamagedKernelsNeverDoWorseThanASentence()
    {
        Damage.Sample(damage => Survives(() => Load(Apply(damage))), iter: Iterations * 4, threads: 1);
    }

    [Fact]
    public void DamagedXzNeverThrows()
    {
        byte[] seed = TestImages.XzWithBranchFilter();
        var output = new byte[TestImages.CodeBytes];
        Gen.Select(Gen.Int[0, seed.Length - 1], Gen.Byte).Array[1, 4].Sample(
            edits =>
            {
                byte[] bytes = (byte[])seed.Clone();
                foreach ((int position, byte value) in edits)
                {
                    bytes[position] = value;
                }

                // The checksums hide what lies behind them, so the decoder proper is also run without them.
                _ = XzDecoder.TryDecode(bytes, output, out _, out _);
                var decoder = new Lzma2Decoder(bytes.AsSpan(24), output, 1 << 20);
                _ = decoder.TryDecode();
                return decoder.Produced <= output.Length;
            },
            iter: Iterations * 2,
            threads: 1);
    }

    [Fact]
    public void RandomTextIsUnfilteredWithoutThrowing()
    {
        Gen.OneOf(Gen.Byte, Pick<byte>(0xE8, 0xE9, 0, 0xFF)).Array[0, 300].Sample(
            bytes =>
            {
                X86BranchFilter.Decode(bytes);
                return true;
            },
            iter: Iterations,
            threads: 1);
    }

    /// <summary>The canary: a loader that trusts a length field. The search must break it, or it finds
    /// nothing.</summary>
    [Fact]
    public void PlantedBugIsFound()
    {
        static void Trusting(byte[] image)
        {
            if (image.Length >= 84 && image[0] == 0x7F)
            {
                int headers = BinaryPrimitives.ReadInt32LittleEndian(image.AsSpan(28));
                _ = image[headers];
            }
        }

        Assert.Throws<CsCheckException>(() => Damage.Sample(
            damage => Survives(() => Trusting(Apply(damage))), iter: Iterations * 4, threads: 1));
    }

    private static Gen<T> Pick<T>(params T[] values) => Gen.Int[0, values.Length - 1].Select(i => values[i]);

    private static byte[] Apply((int Image, (int Position, uint Value, int Width)[] Edits, int Keep) damage)
    {
        byte[] bytes = (byte[])Seeds[damage.Image].Clone();
        Span<byte> value = stackalloc byte[4];
        foreach ((int position, uint number, int width) in damage.Edits)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(value, number);
            int at = Math.Min(position, bytes.Length);
            value[..Math.Min(width, bytes.Length - at)].CopyTo(bytes.AsSpan(at));
        }

        return bytes[..Math.Min(damage.Keep, bytes.Length)];
    }

    private void Load(byte[] bytes)
    {
        KernelImage kernel = KernelImage.Parse("fuzz", bytes, cache: null);
        var initrd = new InitrdFile("initrd", bytes);
        var inputs = new BootInputs { CommandLine = "a", Initrds = [initrd, initrd] };
        _ = BootLoader.Load(kernel, inputs, _memory);
    }

    private static bool Survives(Action load)
    {
        try
        {
            load();
            return true;
        }
        catch (LhypeException e)
        {
            return e.Message.EndsWith('.') && !e.Message.Contains('\n');
        }
    }
}
