// The x86 branch filter (BCJ) of .xz: before compression the relative targets of CALL (E8) and JMP (E9) were
// made absolute, so that calls of one function look alike. This turns them back. Called by XzDecoder for
// each block.

using System;
using System.Buffers.Binary;

namespace Lhype.Machine.Boot;

/// <summary>Undoes the x86 BCJ filter in place (.xz format 1.1.0, section 5.3.2).</summary>
internal static class X86BranchFilter
{
    private const int OperandSize = 4;

    /// <summary>Converts a whole block, whose first byte has filter offset 0.</summary>
    public static void Decode(Span<byte> data)
    {
        // The encoder left operands alone that look as if they overlap an earlier E8/E9; `recent` remembers
        // in its low three bits which of the three bytes before this one was such an opcode without a
        // converted operand.
        int previous = -1;
        uint recent = 0;
        for (int i = 0; i < data.Length - OperandSize; i++)
        {
            if ((data[i] & 0xFE) != 0xE8)
            {
                continue;
            }

            int gap = i - previous;
            previous = i;
            recent = gap > 3 ? 0 : (recent << (gap - 1)) & 7;
            bool overlaps = recent != 0
                && (recent is 3 or > 4 || IsSignByte(data[i + OperandSize - OpcodeDistance(recent)]));
            if (overlaps || !IsSignByte(data[i + OperandSize]))
            {
                recent = (recent << 1) | 1;
                continue;
            }

            uint operand = BinaryPrimitives.ReadUInt32LittleEndian(data[(i + 1)..]);
            uint relative = ToRelative(operand, (uint)i + 1 + OperandSize, recent);
            // The result is a 25-bit signed number: bit 24 fills the top byte.
            relative = (relative & 0x01FF_FFFF) | (0 - (relative & 0x0100_0000));
            BinaryPrimitives.WriteUInt32LittleEndian(data[(i + 1)..], relative);
            i += OperandSize;
        }
    }

    private static uint ToRelative(uint operand, uint next, uint recent)
    {
        uint relative = operand - next;
        if (recent == 0)
        {
            return relative;
        }

        // Valid data needs at most two turns; the bound keeps hostile data from looping.
        int shift = OpcodeDistance(recent) * 8;
        for (int turn = 0; turn < 4 && IsSignByte((byte)(relative >> (24 - shift))); turn++)
        {
            operand = relative ^ ((1u << (32 - shift)) - 1);
            relative = operand - next;
        }

        return relative;
    }

    private static int OpcodeDistance(uint recent) => recent switch { 0 => 0, 1 => 1, 2 or 3 => 2, _ => 3 };

    private static bool IsSignByte(byte value) => value is 0x00 or 0xFF;
}
