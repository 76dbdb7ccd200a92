// Writes host machine code: a cursor over the writable view of code memory and the few instruction forms the
// translator and the thunks need. Guest instructions that are copied do not come through here byte by byte;
// they are re-encoded from their own bytes (InstructionCopy). Displacements are patched through offsets,
// never raw pointers.

using System.Runtime.CompilerServices;
using Lhype.Host;

namespace Lhype.Cpu.Translator;

/// <summary>Condition codes as in Jcc opcodes.</summary>
internal static class Condition
{
    internal const int Below = 2, NotBelow = 3, Equal = 4, NotEqual = 5, NotAbove = 6, Above = 7, Sign = 8;
    internal const int NotSign = 9;
}

/// <summary>An x86-64 code writer. Offsets count from the start of code memory.</summary>
internal sealed unsafe partial class Emitter
{
    private readonly CodeMemory _memory;
    private byte* _cursor;

    internal Emitter(CodeMemory memory)
    {
        _memory = memory;
        _cursor = memory.Writable;
    }

    /// <summary>Offset of the next byte.</summary>
    internal int Offset
    {
        get => (int)(_cursor - _memory.Writable);
        set => _cursor = _memory.Writable + value;
    }

    /// <summary>Bytes left.</summary>
    internal int Left => _memory.Size - Offset;

    internal void Byte(int value) => *_cursor++ = (byte)value;

    internal void Int32(int value)
    {
        Unsafe.WriteUnaligned(_cursor, value);
        _cursor += 4;
    }

    internal void Int64(long value)
    {
        Unsafe.WriteUnaligned(_cursor, value);
        _cursor += 8;
    }

    internal void Bytes(byte a, byte b)
    {
        Byte(a);
        Byte(b);
    }

    internal void Bytes(byte a, byte b, byte c)
    {
        Byte(a);
        Byte(b);
        Byte(c);
    }

    internal void Bytes(byte a, byte b, byte c, byte d)
    {
        Byte(a);
        Byte(b);
        Byte(c);
        Byte(d);
    }

    /// <summary>Copies code that was emitted at [<paramref name="start"/>, <paramref name="end"/>); it must
    /// not contain relative references out of itself.</summary>
    internal void CopyFrom(int start, int end)
    {
        int length = end - start;
        System.Buffer.MemoryCopy(_memory.Writable + start, _cursor, length, length);
        _cursor += length;
    }

    /// <summary>ModRM (and SIB, displacement) for [<paramref name="baseRegister"/> +
    /// <paramref name="displacement"/>].</summary>
    internal void Memory(int reg, int baseRegister, int displacement)
    {
        int low = baseRegister & 7;
        bool none = displacement == 0 && low != 5;
        bool small = displacement == (sbyte)displacement;
        Byte((none ? 0 : small ? 0x40 : 0x80) | ((reg & 7) << 3) | low);
        if (low == 4)
        {
            Byte(0x24);
        }

        if (!none)
        {
            if (small)
            {
                Byte(displacement);
            }
            else
            {
                Int32(displacement);
            }
        }
    }

    /// <summary>ModRM and the rest for [<paramref name="baseRegister"/> + <paramref name="index"/> +
    /// <paramref name="displacement"/>]; without index if that is negative.</summary>
    internal void Memory(int reg, int baseRegister, int index, int displacement)
    {
        if (index < 0)
        {
            Memory(reg, baseRegister, displacement);
            return;
        }

        bool none = displacement == 0 && (baseRegister & 7) != 5;
        bool small = displacement == (sbyte)displacement;
        Byte((none ? 0 : small ? 0x40 : 0x80) | ((reg & 7) << 3) | 4);
        Byte(((index & 7) << 3) | (baseRegister & 7));
        if (none)
        {
            return;
        }

        if (small)
        {
            Byte(displacement);
        }
        else
        {
            Int32(displacement);
        }
    }

    /// <summary>One-byte opcode with a register and a [base + displacement] operand.</summary>
    internal void OpMemory(int opcode, int reg, int baseRegister, int displacement, bool wide = false)
    {
        Rex(wide, reg, 0, baseRegister, force: false);
        Byte(opcode);
        Memory(reg, baseRegister, displacement);
    }

    /// <summary>One-byte opcode with a register and a [base + index * 2^scale + disp32] operand.</summary>
    internal void OpIndexed(int opcode, int reg, int baseRegister, int index, int displacement,
        bool wide = false, int scale = 0)
    {
        Rex(wide, reg, index, baseRegister, force: false);
        Byte(opcode);
        Byte(0x84 | ((reg & 7) << 3));
        Byte((scale << 6) | ((index & 7) << 3) | (baseRegister & 7));
        Int32(displacement);
    }

    /// <summary>One-byte opcode, register forms.</summary>
    internal void OpRegister(int opcode, int reg, int rm, bool wide = false)
    {
        Rex(wide, reg, 0, rm, force: false);
        Byte(opcode);
        Byte(0xC0 | ((reg & 7) << 3) | (rm & 7));
    }

    internal void Rex(bool wide, int reg, int index, int baseRegister, bool force)
    {
        int rex = 0x40 | (wide ? 8 : 0) | ((reg & 8) >> 1) | ((index & 8) >> 2) | ((baseRegister & 8) >> 3);
        if (rex != 0x40 || force)
        {
            Byte(rex);
        }
    }

    /// <summary>mov r32, r32 (zero-extends) or mov r64, r64.</summary>
    internal void Move(int destination, int source, bool wide = false) =>
        OpRegister(0x8B, destination, source, wide);

    /// <summary>mov r32, imm32 (zero-extends).</summary>
    internal void MoveImmediate(int destination, int value)
    {
        Rex(false, 0, 0, destination, force: false);
        Byte(0xB8 | (destination & 7));
        Int32(value);
    }

    /// <summary>mov r64, imm64.</summary>
    internal void MoveImmediate64(int destination, long value)
    {
        Rex(true, 0, 0, destination, force: true);
        Byte(0xB8 | (destination & 7));
        Int64(value);
    }

    /// <summary>mov r, [base + displacement].</summary>
    internal void Load(int destination, int baseRegister, int displacement, bool wide = false) =>
        OpMemory(0x8B, destination, baseRegister, displacement, wide);

    /// <summary>mov [base + displacement], r.</summary>
    internal void Store(int source, int baseRegister, int displacement, bool wide = false) =>
        OpMemory(0x89, source, baseRegister, displacement, wide);

    /// <summary>mov dword [base + displacement], imm32.</summary>
    internal void StoreImmediate(int baseRegister, int displacement, int value)
    {
        OpMemory(0xC7, 0, baseRegister, displacement);
        Int32(value);
    }

    /// <summary>lea r, [base + displacement]; 32-bit results are truncated, flags untouched.</summary>
    internal void Lea(int destination, int baseRegister, int displacement, bool wide = false) =>
        OpMemory(0x8D, destination, baseRegister, displacement, wide);

    /// <summary>lea r, [base + displacement] for any displacement: one that 32 bits do not hold needs a step
    /// of 2 GiB more. Flags untouched.</summary>
    internal void LeaFar(int destination, int baseRegister, long displacement, bool wide)
    {
        if (displacement > int.MaxValue)
        {
            Lea(destination, baseRegister, int.MaxValue, wide: true);
            Lea(destination, destination, (int)(displacement - int.MaxValue), wide);
            return;
        }

        Lea(destination, baseRegister, (int)displacement, wide);
    }

    /// <summary>lea r, [base + index * scale + displacement]; no base if it is negative. Flags
    /// untouched.</summary>
    internal void LeaScaled(int destination, int baseRegister, int index, int scale, int displacement,
        bool wide)
    {
        int scaleBits = scale switch { 1 => 0, 2 => 1, 4 => 2, _ => 3 };
        bool none = baseRegister < 0;
        Rex(wide, destination, index, none ? 0 : baseRegister, force: false);
        Byte(0x8D);
        bool small = !none && displacement == (sbyte)displacement;
        Byte((none ? 0 : small ? 0x40 : 0x80) | ((destination & 7) << 3) | 4);
        Byte((scaleBits << 6) | ((index & 7) << 3) | (none ? 5 : baseRegister & 7));
        if (small)
        {
            Byte(displacement);
        }
        else
        {
            Int32(displacement);
        }
    }

    /// <summary>mov r64, constant, in the shortest form.</summary>
    internal void MoveConstant(int destination, long value)
    {
        if (value == (uint)value)
        {
            MoveImmediate(destination, (int)value);
        }
        else if (value == (int)value)
        {
            Rex(true, 0, 0, destination, force: true);
            Bytes(0xC7, (byte)(0xC0 | (destination & 7)));
            Int32((int)value);
        }
        else
        {
            MoveImmediate64(destination, value);
        }
    }

    /// <summary>lea r64, [base + index].</summary>
    internal void LeaIndexed(int destination, int baseRegister, int index)
    {
        Rex(true, destination, index, baseRegister, force: true);
        Bytes(0x8D, (byte)(0x04 | ((destination & 7) << 3)), (byte)(((index & 7) << 3) | (baseRegister & 7)));
    }

    /// <summary>Group 1 (add or adc sbb and sub xor cmp = 0-7) r32, imm.</summary>
    internal void Arithmetic(int operation, int register, int value, bool wide = false)
    {
        bool small = value == (sbyte)value;
        OpRegister(small ? 0x83 : 0x81, operation, register, wide);
        if (small)
        {
            Byte(value);
        }
        else
        {
            Int32(value);
        }
    }

    /// <summary>cmp dword [base + displacement], imm.</summary>
    internal void CompareMemory(int baseRegister, int displacement, int value)
    {
        bool small = value == (sbyte)value;
        OpMemory(small ? 0x83 : 0x81, 7, baseRegister, displacement);
        if (small)
        {
            Byte(value);
        }
        else
        {
            Int32(value);
        }
    }

    /// <summary>cmp byte [base + index + displacement], imm8.</summary>
    internal void CompareByteIndexed(int baseRegister, int index, int displacement, int value)
    {
        OpIndexed(0x80, 7, baseRegister, index, displacement);
        Byte(value);
    }

    /// <summary>rorx r64, r64, imm8 (BMI2); flags untouched.</summary>
    internal void RotateRight64(int destination, int source, int count)
    {
        Bytes(0xC4, (byte)(0x43 | (destination >= 8 ? 0 : 0x80) | (source >= 8 ? 0 : 0x20)), 0xFB, 0xF0);
        Bytes((byte)(0xC0 | ((destination & 7) << 3) | (source & 7)), (byte)count);
    }

    /// <summary>movzx r32, r16 of the same register.</summary>
    internal void TruncateTo16(int register)
    {
        Rex(false, register, 0, register, force: false);
        Bytes(0x0F, 0xB7, (byte)(0xC0 | ((register & 7) << 3) | (register & 7)));
    }

    /// <summary>jmp rel32 to a known offset.</summary>
    internal void Jump(int target)
    {
        Byte(0xE9);
        Int32(target - (Offset + 4));
    }

    /// <summary>jmp rel32 to be patched; returns the offset of the displacement.</summary>
    internal int JumpForward()
    {
        Byte(0xE9);
        Int32(0);
        return Offset - 4;
    }

    /// <summary>jcc rel32 to be patched; returns the offset of the displacement.</summary>
    internal int JumpForward(int condition)
    {
        Byte(0x0F);
        Byte(0x80 | condition);
        Int32(0);
        return Offset - 4;
    }

    /// <summary>jcc rel32 to a known offset.</summary>
    internal void Jump(int condition, int target)
    {
        Byte(0x0F);
        Byte(0x80 | condition);
        Int32(target - (Offset + 4));
    }

    /// <summary>call rel32 to a known offset.</summary>
    internal void Call(int target)
    {
        Byte(0xE8);
        Int32(target - (Offset + 4));
    }

    /// <summary>jmp r64.</summary>
    internal void JumpRegister(int register)
    {
        Rex(false, 0, 0, register, force: false);
        Byte(0xFF);
        Byte(0xE0 | (register & 7));
    }

    /// <summary>call r64.</summary>
    internal void CallRegister(int register)
    {
        Rex(false, 0, 0, register, force: false);
        Byte(0xFF);
        Byte(0xD0 | (register & 7));
    }

    /// <summary>Makes the rel32 at <paramref name="displacementOffset"/> lead to
    /// <paramref name="target"/>.</summary>
    internal void Patch(int displacementOffset, int target) =>
        Unsafe.WriteUnaligned(_memory.Writable + displacementOffset, target - (displacementOffset + 4));

    /// <summary>Makes the rel32 at <paramref name="displacementOffset"/> lead here.</summary>
    internal void PatchHere(int displacementOffset) => Patch(displacementOffset, Offset);

    /// <summary>Replaces one byte, a displacement of a short jump.</summary>
    internal void PatchByte(int offset, int value) => _memory.Writable[offset] = (byte)value;

    /// <summary>Replaces the five bytes at <paramref name="offset"/> by jmp rel32.</summary>
    internal void OverwriteWithJump(int offset, int target)
    {
        _memory.Writable[offset] = 0xE9;
        Patch(offset + 1, target);
    }

    /// <summary>Where the rel32 at <paramref name="displacementOffset"/> leads.</summary>
    internal int TargetOf(int displacementOffset) =>
        Unsafe.ReadUnaligned<int>(_memory.Writable + displacementOffset) + displacementOffset + 4;

    /// <summary>Moves the guest's flags from the host flags into r11 (lahf, seto). Leaves r10
    /// changed.</summary>
    internal void ParkFlags()
    {
        Move(Host.Scratch2, Host.Rax, wide: true);
        Byte(0x9F);
        Bytes(0x0F, 0x90, 0xC0);
        Move(Host.Flags, Host.Rax, wide: true);
        Move(Host.Rax, Host.Scratch2, wide: true);
    }

    /// <summary>Moves the guest's flags from r11 back: al + 0x7F overflows exactly if OF was set, then sahf
    /// sets the rest. Changes <paramref name="temporary"/>.</summary>
    internal void UnparkFlags(int temporary = Host.Scratch2)
    {
        Move(temporary, Host.Rax, wide: true);
        Move(Host.Rax, Host.Flags, wide: true);
        Bytes(0x04, 0x7F);
        Byte(0x9E);
        Move(Host.Rax, temporary, wide: true);
    }
}
