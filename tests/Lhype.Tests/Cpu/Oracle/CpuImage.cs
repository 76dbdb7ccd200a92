// What a run starts from and what it ends with, in a form both the native CPU and an engine can fill.
// The oracle and the engine harness make RunResults; the asm and differential tests compare them.

using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Text;
using Lhype.Cpu;

namespace Lhype.Tests.Cpu.Oracle;

/// <summary>Registers of a 32-bit user program.</summary>
internal sealed class CpuImage
{
    /// <summary>EFLAGS of a fresh user program: IF and the bit that is always 1.</summary>
    internal const uint InitialEflags = 0x202;

    internal static readonly string[] GprNames = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"];

    /// <summary>EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI.</summary>
    internal uint[] Gpr { get; } = new uint[8];
    internal uint Eip { get; set; } = TestLayout.Code;
    internal uint Eflags { get; set; } = InitialEflags;
    internal uint FsBase { get; set; }
    internal uint GsBase { get; set; }
    /// <summary>x87, MMX, XMM0-7 and MXCSR as FXSAVE lays them out (SDM vol. 1, 10.5.1).</summary>
    internal byte[] Fx { get; } = new byte[512];
    /// <summary>Bits 255-128 of YMM0-7.</summary>
    internal byte[] Upper { get; } = new byte[8 * 16];

    internal CpuImage()
    {
        Gpr[4] = TestLayout.StackPointer;
        BinaryPrimitives.WriteUInt16LittleEndian(Fx, 0x37F);
        BinaryPrimitives.WriteUInt32LittleEndian(Fx.AsSpan(24), 0x1F80);
    }

    internal CpuImage Clone()
    {
        var copy = new CpuImage { Eip = Eip, Eflags = Eflags, FsBase = FsBase, GsBase = GsBase };
        Gpr.CopyTo(copy.Gpr, 0);
        Fx.CopyTo(copy.Fx, 0);
        Upper.CopyTo(copy.Upper, 0);
        return copy;
    }
}

/// <summary>The bytes of all regions of <see cref="TestLayout"/>.</summary>
internal sealed class TestMemory
{
    internal byte[] Bytes { get; } = new byte[TestLayout.TotalLength];

    internal Span<byte> Code => Bytes.AsSpan(TestLayout.CodeOffset, TestLayout.CodeLength);
    internal Span<byte> Data => Bytes.AsSpan(TestLayout.DataOffset, TestLayout.DataLength + 4096);
    internal Span<byte> Stack => Bytes.AsSpan(TestLayout.StackOffset, TestLayout.StackLength);

    /// <summary>Fills data and stack with a pattern in which every byte differs from its
    /// neighbours.</summary>
    internal void FillPattern()
    {
        for (int i = TestLayout.DataOffset; i < Bytes.Length; i++)
        {
            Bytes[i] = (byte)((i * 37) + (i >> 8));
        }
    }

    internal TestMemory Clone()
    {
        var copy = new TestMemory();
        Bytes.CopyTo(copy.Bytes, 0);
        return copy;
    }
}

/// <summary>The state at the exception that ended a run (a snippet's closing HLT is one: #GP at CPL
/// 3).</summary>
internal sealed class RunResult
{
    internal required CpuImage Cpu { get; init; }
    internal required TestMemory Memory { get; init; }
    internal uint Vector { get; init; }
    internal uint ErrorCode { get; init; }
    /// <summary>CR2 for #PF, otherwise 0.</summary>
    internal uint FaultAddress { get; init; }

    /// <summary>True if the run ended at its HLT and not at some other exception.</summary>
    internal bool Completed => Vector == Lhype.Cpu.Vector.GeneralProtection
        && TestLayout.OffsetOf(Cpu.Eip) is >= 0 and int at && Memory.Bytes[at] == 0xF4;

    /// <summary>What differs, one line each; empty if nothing does.</summary>
    internal static string Compare(RunResult expected, RunResult actual, Latitude latitude = default)
    {
        var text = new StringBuilder();
        void Check(string name, ulong want, ulong got)
        {
            if (want != got)
            {
                text.AppendLine($"  {name}: native {want:x} translated {got:x}");
            }
        }

        Check("vector", expected.Vector, actual.Vector);
        if (!latitude.Covers(expected.FaultAddress) || !latitude.Covers(actual.FaultAddress))
        {
            Check("error code", expected.ErrorCode, actual.ErrorCode);
            Check("fault address", expected.FaultAddress, actual.FaultAddress);
        }

        Check("eip", expected.Cpu.Eip, actual.Cpu.Eip);
        Check("eflags", expected.Cpu.Eflags & ~latitude.Flags, actual.Cpu.Eflags & ~latitude.Flags);
        for (int i = 0; i < 8; i++)
        {
            if (i == 4 || !latitude.Popped)
            {
                Check(CpuImage.GprNames[i], expected.Cpu.Gpr[i], actual.Cpu.Gpr[i]);
            }
        }

        byte[] wanted = latitude.Top && (expected.Cpu.Fx[3] & 0x38) == 0
            ? WithTop(expected.Cpu.Fx, actual.Cpu.Fx) : expected.Cpu.Fx;
        foreach ((string name, int offset, int length) in FxFields())
        {
            ReadOnlySpan<byte> want = wanted.AsSpan(offset, length);
            ReadOnlySpan<byte> got = actual.Cpu.Fx.AsSpan(offset, length);
            if (!want.SequenceEqual(got))
            {
                text.AppendLine(
                    $"  {name}: native {Convert.ToHexString(want)} "
                    + $"translated {Convert.ToHexString(got)} (low byte first)");
            }
        }

        for (int i = 0; i < 8; i++)
        {
            text.Append(CompareUpper(i, expected.Cpu.Upper, actual.Cpu.Upper));
        }

        CompareMemory(expected.Memory, actual.Memory, text);
        return text.ToString();
    }

    /// <summary>A line if upper half <paramref name="i"/> of the two arrays differs.</summary>
    internal static string CompareUpper(int i, byte[] expected, byte[] actual)
    {
        ReadOnlySpan<byte> want = expected.AsSpan(i * 16, 16), got = actual.AsSpan(i * 16, 16);
        return want.SequenceEqual(got) ? "" : $"  upper half of ymm{i}: native {Convert.ToHexString(want)} "
            + $"translated {Convert.ToHexString(got)}\n";
    }

    /// <summary>The FXSAVE image <paramref name="fx"/> with the TOP of <paramref name="other"/>: ST(i) is
    /// physical register (TOP + i) mod 8.</summary>
    private static byte[] WithTop(byte[] fx, byte[] other)
    {
        byte[] turned = [.. fx];
        turned[3] = (byte)((fx[3] & ~0x38) | (other[3] & 0x38));
        int distance = ((other[3] >> 3) - (fx[3] >> 3)) & 7;
        for (int i = 0; i < 8; i++)
        {
            fx.AsSpan(32 + (((i + distance) & 7) * 16), 16).CopyTo(turned.AsSpan(32 + (i * 16)));
        }

        return turned;
    }

    private static void CompareMemory(TestMemory expected, TestMemory actual, StringBuilder text)
    {
        ReadOnlySpan<byte> want = expected.Bytes;
        ReadOnlySpan<byte> got = actual.Bytes;
        int at = 0;
        for (int shown = 0; shown < 16; shown++)
        {
            at += want[at..].CommonPrefixLength(got[at..]);
            if (at == want.Length)
            {
                return;
            }

            text.AppendLine(
                $"  [{TestLayout.AddressOf(at):x8}]: native {want[at]:x2} translated {got[at]:x2}");
            at++;
        }
    }

    /// <summary>The parts of the FXSAVE image both sides define. Instruction and data pointers are left out:
    /// AMD saves them only with an unmasked exception pending, and they name host addresses under a
    /// translator.</summary>
    private static IEnumerable<(string Name, int Offset, int Length)> FxFields()
    {
        yield return ("fcw", 0, 2);
        yield return ("fsw", 2, 2);
        yield return ("ftw", 4, 1);
        yield return ("mxcsr", 24, 4);
        for (int i = 0; i < 8; i++)
        {
            yield return ($"st{i}", 32 + (i * 16), 10);
        }

        for (int i = 0; i < 8; i++)
        {
            yield return ($"xmm{i}", 160 + (i * 16), 16);
        }
    }

    /// <summary>A one-line account of how the run ended.</summary>
    public override string ToString() =>
        $"vector {Vector} error {ErrorCode:x} eip {Cpu.Eip:x8} eflags {Cpu.Eflags:x} "
        + $"address {FaultAddress:x8}";
}
