// Pseudo-random start states with a taste for corner values. Used by the `vary:` line of tests/asm and by
// the random differential tests.

using System;
using System.Collections.Generic;
using Lhype.Cpu;
using Lhype.Tests.Cpu.Oracle;

namespace Lhype.Tests.Cpu.Asm;

internal static class StateVariation
{
    private static readonly uint[] Corners =
    [
        0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 33, 63, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000,
        0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFE, 0xFFFF_FFFF,
    ];

    /// <summary>Doubles as bit patterns: zeros, ones, denormals, infinities, NaNs, limits.</summary>
    private static readonly ulong[] Doubles =
    [
        0, 0x8000_0000_0000_0000, 0x3FF0_0000_0000_0000, 0xBFF0_0000_0000_0000, 0x7FF0_0000_0000_0000,
        0xFFF0_0000_0000_0000, 0x7FF8_0000_0000_0000, 0x7FF0_0000_0000_0001, 1, 0x000F_FFFF_FFFF_FFFF,
        0x7FEF_FFFF_FFFF_FFFF, 0x41DF_FFFF_FFC0_0000, 0x4009_21FB_5444_2D18, 0xC1E0_0000_0000_0000,
    ];

    /// <summary>Changes what <paramref name="what"/> names: a register, "flags", "st" or "xmm".</summary>
    internal static void Apply(CpuImage cpu, IReadOnlyList<string> what, Random random)
    {
        foreach (string name in what)
        {
            switch (name)
            {
                case "flags":
                    cpu.Eflags = (cpu.Eflags & ~EflagsBits.Arithmetic)
                        | ((uint)random.Next() & EflagsBits.Arithmetic);
                    break;
                case "st":
                    FillStack(cpu, random, random.Next(9));
                    break;
                case "xmm":
                    FillXmm(cpu, random);
                    break;
                default:
                    cpu.Gpr[Array.IndexOf(CpuImage.GprNames, name)] = NextValue(random);
                    break;
            }
        }
    }

    /// <summary>The same in 64-bit code.</summary>
    internal static void Apply(LongImage cpu, IReadOnlyList<string> what, Random random)
    {
        foreach (string name in what)
        {
            switch (name)
            {
                case "flags":
                    cpu.Rflags = (cpu.Rflags & ~(ulong)EflagsBits.Arithmetic)
                        | ((uint)random.Next() & EflagsBits.Arithmetic);
                    break;
                case "st":
                    var stack = new CpuImage();
                    FillStack(stack, random, random.Next(9));
                    stack.Fx.AsSpan(0, 160).CopyTo(cpu.Fx);
                    break;
                case "xmm":
                    var vectors = new CpuImage();
                    foreach (int offset in (ReadOnlySpan<int>)[160, 288])
                    {
                        FillXmm(vectors, random);
                        vectors.Fx.AsSpan(160, 128).CopyTo(cpu.Fx.AsSpan(offset));
                    }

                    break;
                default:
                    cpu.Gpr[Array.IndexOf(LongImage.GprNames, name)] = NextWide(random);
                    break;
            }
        }
    }

    /// <summary>A 64-bit value: often one whose upper half is all zeros or all ones.</summary>
    internal static ulong NextWide(Random random)
    {
        ulong value = NextValue(random);
        return random.Next(4) switch
        {
            0 => value,
            1 => (ulong)(int)value,
            2 => value << 32 | NextValue(random),
            _ => (ulong)random.NextInt64(),
        };
    }

    /// <summary>A 32-bit value: a corner case every other time.</summary>
    internal static uint NextValue(Random random) => random.Next(2) == 0
        ? Corners[random.Next(Corners.Length)]
        : (uint)random.NextInt64(1L << 32);

    /// <summary>Puts <paramref name="depth"/> values on the x87 stack, top at ST(0), converted from
    /// doubles.</summary>
    internal static void FillStack(CpuImage cpu, Random random, int depth)
    {
        int top = (8 - depth) & 7;
        cpu.Fx[2] = 0;
        cpu.Fx[3] = (byte)(top << 3);
        cpu.Fx[4] = (byte)(depth == 8 ? 0xFF : (0xFF << top) & (depth == 0 ? 0 : 0xFF));
        for (int i = 0; i < 8; i++)
        {
            WriteExtended(cpu.Fx.AsSpan(32 + (i * 16), 10), NextDouble(random));
        }
    }

    /// <summary>XMM0-7 as doubles, floats or raw integers.</summary>
    internal static void FillXmm(CpuImage cpu, Random random)
    {
        for (int i = 0; i < 16; i++)
        {
            ulong value = random.Next(3) switch
            {
                0 => NextDouble(random),
                1 => BitConverter.SingleToUInt32Bits(
                        (float)BitConverter.UInt64BitsToDouble(NextDouble(random)))
                    | ((ulong)BitConverter.SingleToUInt32Bits(random.NextSingle()) << 32),
                _ => NextValue(random) | ((ulong)NextValue(random) << 32),
            };
            BitConverter.TryWriteBytes(cpu.Fx.AsSpan(160 + (i * 8)), value);
        }
    }

    private static ulong NextDouble(Random random) => random.Next(2) == 0
        ? Doubles[random.Next(Doubles.Length)]
        : BitConverter.DoubleToUInt64Bits((random.NextDouble() - 0.5) * Math.Pow(2, random.Next(-70, 70)));

    /// <summary>Double to 80-bit extended (SDM vol. 1, 4.2.2); denormal doubles become normal.</summary>
    private static void WriteExtended(Span<byte> target, ulong bits)
    {
        ulong fraction = bits & 0xF_FFFF_FFFF_FFFF;
        int exponent = (int)(bits >> 52) & 0x7FF;
        ulong significand = fraction << 11;
        int extended = 0;
        if (exponent == 0x7FF)
        {
            significand |= 1UL << 63;
            extended = 0x7FFF;
        }
        else if (exponent != 0)
        {
            significand |= 1UL << 63;
            extended = exponent - 1023 + 16383;
        }
        else if (significand != 0)
        {
            int shift = System.Numerics.BitOperations.LeadingZeroCount(significand);
            significand <<= shift;
            extended = 1 - 1023 + 16383 - shift;
        }

        BitConverter.TryWriteBytes(target, significand);
        BitConverter.TryWriteBytes(target[8..], (ushort)(extended | ((int)(bits >> 63) << 15)));
    }
}
