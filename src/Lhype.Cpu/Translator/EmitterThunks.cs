// The instruction forms that only the shared thunks use, and labels for their forward jumps: a thunk is a
// page of straight code with many exits to one place, which offsets to be patched would make unreadable.

using System.Collections.Generic;

namespace Lhype.Cpu.Translator;

/// <summary>Group 1 operations, as in the opcodes 80 to 83 and 00 to 3F.</summary>
internal static class Alu
{
    internal const int Add = 0, Or = 1, And = 4, Sub = 5, Xor = 6, Compare = 7;
}

/// <summary>A place in a thunk that code before it jumps to.</summary>
internal sealed class CodeLabel
{
    /// <summary>Offsets of the rel32 that lead here.</summary>
    internal List<int> Jumps { get; } = [];
}

internal sealed unsafe partial class Emitter
{
    /// <summary>jmp rel32 to a place further on.</summary>
    internal void Jump(CodeLabel label) => label.Jumps.Add(JumpForward());

    /// <summary>jcc rel32 to a place further on.</summary>
    internal void Jump(int condition, CodeLabel label) => label.Jumps.Add(JumpForward(condition));

    /// <summary>Every jump to <paramref name="label"/> so far leads here.</summary>
    internal void Bind(CodeLabel label)
    {
        foreach (int jump in label.Jumps)
        {
            PatchHere(jump);
        }
    }

    /// <summary>add, or, and, sub, xor or cmp of two registers.</summary>
    internal void Operate(int operation, int destination, int source, bool wide = false) =>
        OpRegister((operation * 8) + 3, destination, source, wide);

    /// <summary>The same with a source in memory.</summary>
    internal void OperateLoad(int operation, int destination, int baseRegister, int displacement,
        bool wide = false) =>
        OpMemory((operation * 8) + 3, destination, baseRegister, displacement, wide);

    /// <summary>The same with a destination in memory and an immediate.</summary>
    internal void OperateMemory(int operation, int baseRegister, int displacement, int value)
    {
        bool small = value == (sbyte)value;
        OpMemory(small ? 0x83 : 0x81, operation, baseRegister, displacement);
        if (small)
        {
            Byte(value);
        }
        else
        {
            Int32(value);
        }
    }

    /// <summary>shl r, count.</summary>
    internal void ShiftLeft(int register, int count, bool wide = false)
    {
        OpRegister(0xC1, 4, register, wide);
        Byte(count);
    }

    /// <summary>shr r, count.</summary>
    internal void ShiftRight(int register, int count, bool wide = false)
    {
        OpRegister(0xC1, 5, register, wide);
        Byte(count);
    }

    /// <summary>test r32, imm32.</summary>
    internal void Test(int register, int value)
    {
        OpRegister(0xF7, 0, register);
        Int32(value);
    }

    /// <summary>test dword [base + displacement], imm32.</summary>
    internal void TestMemory(int baseRegister, int displacement, int value)
    {
        OpMemory(0xF7, 0, baseRegister, displacement);
        Int32(value);
    }

    /// <summary>movzx r32, byte or word [base + displacement].</summary>
    internal void LoadZeroExtended(int destination, int baseRegister, int displacement, int size)
    {
        Rex(false, destination, 0, baseRegister, force: false);
        Bytes(0x0F, (byte)(size == 1 ? 0xB6 : 0xB7));
        Memory(destination, baseRegister, displacement);
    }

    /// <summary>mov word [base + displacement], r16.</summary>
    internal void StoreWord(int source, int baseRegister, int displacement)
    {
        Byte(0x66);
        Store(source, baseRegister, displacement);
    }

    /// <summary>movzx r32, r16.</summary>
    internal void ZeroExtendWord(int destination, int source)
    {
        Rex(false, destination, 0, source, force: false);
        Bytes(0x0F, 0xB7, (byte)(0xC0 | ((destination & 7) << 3) | (source & 7)));
    }

    /// <summary>movzx r32, byte [base + index].</summary>
    internal void LoadByteIndexed(int destination, int baseRegister, int index)
    {
        Rex(false, destination, index, baseRegister, force: false);
        Byte(0x0F);
        Byte(0xB6);
        Byte(0x44 | ((destination & 7) << 3));
        Byte(((index & 7) << 3) | (baseRegister & 7));
        Byte(0);
    }

    /// <summary>bts dword [base + displacement], r32: the register is a bit number in the string that starts
    /// there.</summary>
    internal void SetBit(int register, int baseRegister, int displacement)
    {
        Rex(false, register, 0, baseRegister, force: false);
        Bytes(0x0F, 0xAB);
        Memory(register, baseRegister, displacement);
    }

    /// <summary>bt dword [base + displacement], r32: CF = that bit of the string that starts there.</summary>
    internal void TestBit(int register, int baseRegister, int displacement)
    {
        Rex(false, register, 0, baseRegister, force: false);
        Bytes(0x0F, 0xA3);
        Memory(register, baseRegister, displacement);
    }

    /// <summary>inc qword [base + displacement].</summary>
    internal void Increment64(int baseRegister, int displacement) =>
        OpMemory(0xFF, 0, baseRegister, displacement, wide: true);

    /// <summary>ret.</summary>
    internal void Return() => Byte(0xC3);
}
