// What CPUs may do differently at the exception that ends a run, and do: each rule here was seen as a
// difference between two makers' CPUs, and names the place in the manual that leaves it open. A comparison
// leaves out exactly that and nothing else. Used by every test that compares an engine with the host.

using System;
using Iced.Intel;
using Lhype.Cpu;

namespace Lhype.Tests.Cpu.Oracle;

/// <summary>What a comparison of two results leaves out.</summary>
/// <param name="Flags">EFLAGS bits that need not agree.</param>
/// <param name="Top">True if TOP need not agree: an instruction with MMX operands that faults has set it to
/// 0 already on some CPUs (SDM vol. 3, 12.5). The registers are compared by their physical numbers.</param>
/// <param name="Operand">Any address in these bytes is right as the fault's (MASKMOVDQU: the order of its
/// byte stores is the CPU's choice, SDM vol. 2).</param>
/// <param name="Popped">True if the general registers but ESP need not agree: a POPA that faults has loaded
/// some of them on some CPUs; it pops them once more when it is restarted.</param>
internal readonly record struct Latitude(
    uint Flags = 0, bool Top = false, (ulong Start, uint Length) Operand = default, bool Popped = false)
{
    /// <summary>What the instruction at which <paramref name="result"/> ended leaves open, and
    /// <paramref name="flags"/> besides.</summary>
    internal static Latitude At(RunResult result, int bitness, uint flags = 0)
    {
        if (result.Completed || TestLayout.OffsetOf(result.Cpu.Eip) < 0)
        {
            return new Latitude(flags);
        }

        Instruction instruction = Decode(result, bitness);
        bool mmx = false;
        for (int i = 0; i < instruction.OpCount; i++)
        {
            mmx |= instruction.GetOpKind(i) == OpKind.Register && instruction.GetOpRegister(i).IsMM();
        }

        // The manual restores EFLAGS to those before REP SCAS or CMPS (SDM vol. 2, REP); AMD's CPUs keep
        // those of the last iteration.
        bool repeated = instruction.IsStringInstruction
            && (instruction.HasRepPrefix || instruction.HasRepnePrefix);
        if (repeated && result.Vector == Vector.PageFault)
        {
            flags |= EflagsBits.Arithmetic;
        }

        // A single-step trap between two iterations pushes RF = 1 on Intel's CPUs (SDM vol. 3, 17.3.1.1),
        // 0 on AMD's.
        if (repeated && result.Vector == Vector.Debug)
        {
            flags |= EflagsBits.Resume;
        }

        (ulong, uint) operand = default;
        if (instruction.Mnemonic is Mnemonic.Maskmovdqu or Mnemonic.Maskmovq or Mnemonic.Vmaskmovdqu)
        {
            ulong start = instruction.GetVirtualAddress(0, 0, (register, _, _) => Read(result, register));
            operand = (bitness == 32 ? (uint)start : start, (uint)instruction.MemorySize.GetSize());
        }

        return new Latitude(flags, mmx, operand, instruction.Mnemonic is Mnemonic.Popa or Mnemonic.Popad);
    }

    /// <summary>True if an x87 store that faults in <paramref name="actual"/> has raised an unmasked
    /// exception instead in <paramref name="native"/>, which suppresses the store. Which of the two comes
    /// first is the CPU's choice (SDM vol. 3, 7.9), and the programs part here.</summary>
    internal static bool IsUnmaskedStore(RunResult native, RunResult actual, int bitness)
    {
        const byte ExceptionSummary = 0x80;
        if (actual.Vector is not (Vector.PageFault or Vector.GeneralProtection or Vector.StackFault)
            || TestLayout.OffsetOf(actual.Cpu.Eip) < 0
            || ((native.Cpu.Fx[2] & ~actual.Cpu.Fx[2]) & ExceptionSummary) == 0)
        {
            return false;
        }

        return Decode(actual, bitness).Mnemonic is Mnemonic.Fst or Mnemonic.Fstp or Mnemonic.Fist
            or Mnemonic.Fistp or Mnemonic.Fisttp or Mnemonic.Fbstp;
    }

    /// <summary>True if a repeated string instruction of the straight code at <paramref name="from"/> was
    /// overwritten, presumably by itself: how many iterations of the old one are still done is the CPU's
    /// choice (SDM vol. 3, 9.1.3).</summary>
    internal static bool IsOverwrittenRepeat(
        TestMemory start, uint from, TestMemory native, TestMemory actual)
    {
        int at = TestLayout.OffsetOf(from);
        var decoder = Iced.Intel.Decoder.Create(32, new ByteArrayCodeReader(start.Bytes, at, 1024));
        for (Instruction instruction = decoder.Decode(); instruction.Mnemonic != Mnemonic.Hlt;
            instruction = decoder.Decode())
        {
            int length = instruction.Length;
            if (instruction.IsStringInstruction && (instruction.HasRepPrefix || instruction.HasRepnePrefix)
                && !(start.Bytes.AsSpan(at, length).SequenceEqual(native.Bytes.AsSpan(at, length))
                    && start.Bytes.AsSpan(at, length).SequenceEqual(actual.Bytes.AsSpan(at, length))))
            {
                return true;
            }

            at += length;
        }

        return false;
    }

    private static Instruction Decode(RunResult result, int bitness)
    {
        int at = TestLayout.OffsetOf(result.Cpu.Eip);
        var reader = new ByteArrayCodeReader(
            result.Memory.Bytes, at, Math.Min(15, TestLayout.TotalLength - at));
        return Iced.Intel.Decoder.Create(bitness, reader).Decode();
    }

    /// <summary>True if <paramref name="address"/> may be reported.</summary>
    internal bool Covers(ulong address)
    {
        ulong distance = address - Operand.Start;
        return (Operand.Start >> 32 == 0 ? (uint)distance : distance) < Operand.Length;
    }

    private static ulong Read(RunResult result, Register register) => register switch
    {
        Register.FS => result.Cpu.FsBase,
        Register.GS => result.Cpu.GsBase,
        Register.DI => (ushort)result.Cpu.Gpr[7],
        Register.EDI => result.Cpu.Gpr[7],
        // LongCase makes no address above 4 GiB; what is computed past it is reported as it is.
        Register.RDI => result.Cpu.Gpr[7],
        _ => 0,
    };
}
