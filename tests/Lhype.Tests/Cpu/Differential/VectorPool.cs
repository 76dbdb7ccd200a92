// The instructions of the CPU models with AVX, for random cases: everything VEX-encoded that the host's CPU
// and the model `host` have, and the legacy-encoded ones that came with them. Also what such cases need
// beside operands: upper halves, indices that stay near their base, and stray prefixes.

using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.Intrinsics.X86;
using Iced.Intel;
using Lhype.Cpu.Architecture;
using Lhype.Tests.Cpu.Asm;
using Lhype.Tests.Cpu.Oracle;

namespace Lhype.Tests.Cpu.Differential;

internal static class VectorPool
{
    /// <summary>The first of the registers whose elements are small, as indices of gathers.</summary>
    private const int FirstIndex64 = 12, FirstIndex32 = 6;

    private static readonly byte[] Prefixes = [0x66, 0xF2, 0xF3, 0xF0, 0x2E, 0x3E];

    private static readonly CpuidFeature[] LegacyFeatures =
    [
        CpuidFeature.BMI1, CpuidFeature.LZCNT, CpuidFeature.MOVBE, CpuidFeature.AES, CpuidFeature.PCLMULQDQ,
        CpuidFeature.SHA, CpuidFeature.ADX, CpuidFeature.GFNI,
    ];

    /// <summary>Forms of 64-bit code.</summary>
    internal static IReadOnlyList<Code> Long { get; } = Make(info => info.Mode64);

    /// <summary>Forms of 32-bit code.</summary>
    internal static IReadOnlyList<Code> Narrow { get; } = Make(info => info.Mode32);

    private static Code[] Make(Func<OpCodeInfo, bool> exists)
    {
        CpuModel model = CpuModel.Find("host");
        // What a gather or a masked move that faults half-way leaves beside its progress differs from maker
        // to maker; Intel's way is the one compared.
        bool splits = X86Base.CpuId(0, 0).Ebx == 0x756E_6547;
        return
        [
            .. Enum.GetValues<Code>().Distinct().Where(code => exists(code.ToOpCode())
                && code.ToOpCode().IsInstruction && (splits || !(InstructionForms.IsGather(code.Mnemonic())
                    || InstructionForms.IsMaskedMove(code.Mnemonic())))
                && code.CpuidFeatures().All(model.Accepts)
                && (code.Encoding() == EncodingKind.VEX || (code.Encoding() == EncodingKind.Legacy
                    && code.CpuidFeatures().Any(LegacyFeatures.Contains)))),
        ];
    }

    /// <summary>Fills all vector registers and MXCSR.</summary>
    internal static void FillState(LongImage cpu, Random random)
    {
        var high = new CpuImage();
        StateVariation.FillXmm(high, random);
        high.Fx.AsSpan(160, 128).CopyTo(cpu.Fx.AsSpan(160 + 128));
        FillUpper(cpu.Upper, random);
        FillIndices(cpu.Fx, cpu.Upper, FirstIndex64, 16, random);
        SetControl(cpu.Fx, random);
    }

    /// <summary>The same for 32-bit code, whose MXCSR is random already.</summary>
    internal static void FillState(CpuImage cpu, Random random)
    {
        FillUpper(cpu.Upper, random);
        FillIndices(cpu.Fx, cpu.Upper, FirstIndex32, 8, random);
    }

    private static void FillUpper(byte[] upper, Random random)
    {
        if (random.Next(4) == 0)
        {
            return;
        }

        for (int i = 0; i < upper.Length; i += 128)
        {
            var image = new CpuImage();
            StateVariation.FillXmm(image, random);
            image.Fx.AsSpan(160, 128).CopyTo(upper.AsSpan(i));
        }
    }

    private static void FillIndices(byte[] fx, byte[] upper, int first, int end, Random random)
    {
        for (int i = first; i < end; i++)
        {
            for (int j = 0; j < 4; j++)
            {
                // As doublewords and as quadwords a small number.
                long value = random.Next(-40, 80);
                BitConverter.TryWriteBytes((j < 2 ? fx.AsSpan(160 + (i * 16)) : upper.AsSpan(i * 16))[
                    (j % 2 * 8)..], value);
            }
        }
    }

    private static void SetControl(byte[] fx, Random random)
    {
        int control = (random.Next(8) == 0 ? random.Next(64) << 7 : 0x1F80) | (random.Next(4) << 13)
            | (random.Next(6) == 0 ? 0x8000 : 0);
        BitConverter.TryWriteBytes(fx.AsSpan(24), control);
    }

    /// <summary>VCVTPS2PH to memory: CPUs set the flags in MXCSR before they find that they cannot
    /// store.</summary>
    internal static bool DependsOnCpu(in Instruction instruction) =>
        instruction.Mnemonic == Mnemonic.Vcvtps2ph && instruction.Op0Kind == OpKind.Memory;

    /// <summary>Ignored bits of VEX prefixes, and their long form.</summary>
    internal static void Vary(Encoder encoder, Random random)
    {
        encoder.PreventVEX2 = random.Next(4) == 0;
        encoder.VEX_WIG = (uint)random.Next(2);
        encoder.VEX_LIG = (uint)random.Next(2);
    }

    /// <summary>Now and then a prefix that is #UD before VEX, or a segment.</summary>
    internal static byte[] WithPrefix(Code code, byte[] bytes, Random random) =>
        code.Encoding() == EncodingKind.VEX && random.Next(30) == 0
        ? [Prefixes[random.Next(Prefixes.Length)], .. bytes] : bytes;

    /// <summary>A memory operand with a vector as index. Quadwords can name any address, also one of this
    /// process: unless <paramref name="anyAddress"/> says that the indices are still the small ones, the
    /// address is cut to 32 bits.</summary>
    internal static void SetVectorIndex(ref Instruction instruction, int i, string kind, Random random,
        Register pointer, bool anyAddress)
    {
        bool narrow = pointer < Register.RAX;
        instruction.SetOpKind(i, OpKind.Memory);
        instruction.MemoryBase = narrow || anyAddress ? pointer : pointer - Register.RAX + Register.EAX;
        Register first = kind.EndsWith('y') ? Register.YMM0 : Register.XMM0;
        instruction.MemoryIndex = first + (narrow ? FirstIndex32 + random.Next(2)
            : FirstIndex64 + random.Next(4));
        instruction.MemoryIndexScale = 1 << random.Next(4);
        int displacement = random.Next(3) == 0 ? 0 : random.Next(-256, 256);
        instruction.MemoryDisplSize = displacement == 0 ? 0
            : displacement is >= -128 and < 128 ? 1 : narrow ? 4 : 8;
        instruction.MemoryDisplacement64 = narrow ? (uint)displacement : (ulong)(long)displacement;
    }
}
