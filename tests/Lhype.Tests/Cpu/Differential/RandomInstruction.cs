// Fills in operands for an instruction form: registers, immediates and memory operands that mostly hit the
// case's data pages, sometimes cross a page, and now and then fault.

using System;
using System.IO;
using Iced.Intel;
using Lhype.Tests.Cpu.Asm;
using Lhype.Tests.Cpu.Oracle;

namespace Lhype.Tests.Cpu.Differential;

/// <summary>Makes encoded instructions. EBX, ESI and EDI are kept as pointers and EBP as a small index, most
/// times.</summary>
internal sealed class RandomInstruction(Random random, bool vector = false)
{
    private static readonly Register[] Pointers = [Register.EBX, Register.ESI, Register.EDI];
    private static readonly byte[] Prefixes =
        [0x66, 0x67, 0x2E, 0x36, 0x3E, 0x26, 0x64, 0x65, 0xF2, 0xF3, 0xF0];

    private readonly MemoryStream _bytes = new();

    /// <summary>Encodes one instruction of the pool for address 0 (none depends on its address).</summary>
    internal byte[] Next()
    {
        while (true)
        {
            System.Collections.Generic.IReadOnlyList<Code> pool =
                vector && random.Next(4) != 0 ? VectorPool.Narrow : InstructionPool.All;
            Code code = pool[random.Next(pool.Count)];
            if (TryMake(code, out byte[] bytes))
            {
                if (pool != InstructionPool.All)
                {
                    return VectorPool.WithPrefix(code, bytes, random);
                }

                return random.Next(25) == 0 ? WithPrefix(bytes) : bytes;
            }
        }
    }

    private bool TryMake(Code code, out byte[] bytes)
    {
        bytes = [];
        OpCodeInfo info = code.ToOpCode();
        Instruction instruction = default;
        instruction.Code = code;
        bool memory = false;
        for (int i = 0; i < info.OpCount; i++)
        {
            if (!SetOperand(ref instruction, i, info.GetOpKind(i), info, ref memory))
            {
                return false;
            }
        }

        if (VectorPool.DependsOnCpu(instruction))
        {
            return false;
        }

        // A rotation by 9 or 17 bits through CF changes nothing but OF, which is undefined: seen as a NOP.
        if (instruction.Mnemonic is Mnemonic.Rcl or Mnemonic.Rcr && instruction.Immediate8 is var count
            && instruction.Op1Kind == OpKind.Immediate8 && ((count & 31) % 9 == 0 || (count & 31) == 17))
        {
            return false;
        }

        if (memory && info.CanUseLockPrefix && random.Next(6) == 0)
        {
            instruction.HasLockPrefix = true;
        }
        else if (info.CanUseRepPrefix && random.Next(2) == 0)
        {
            instruction.HasRepPrefix = true;
        }
        else if (info.CanUseRepnePrefix && random.Next(2) == 0)
        {
            instruction.HasRepnePrefix = true;
        }

        _bytes.SetLength(0);
        var encoder = Encoder.Create(32, new StreamCodeWriter(_bytes));
        VectorPool.Vary(encoder, random);
        if (!encoder.TryEncode(instruction, 0, out uint _, out string? _))
        {
            return false;
        }

        bytes = _bytes.ToArray();
        return true;
    }

    /// <summary>A stray prefix, if what comes out is still an instruction of the pool (for LOCK: or #UD).
    /// </summary>
    private byte[] WithPrefix(byte[] bytes)
    {
        byte prefix = Prefixes[random.Next(Prefixes.Length)];
        byte[] longer = [prefix, .. bytes];
        var decoder = Decoder.Create(32, longer, DecoderOptions.NoInvalidCheck);
        Instruction instruction = decoder.Decode();
        return InstructionPool.Contains(instruction.Code) && instruction.Length == longer.Length
            && (prefix != 0xF0 || random.Next(4) == 0) ? longer : bytes;
    }

    private bool SetOperand(ref Instruction instruction, int i, OpCodeOperandKind kind, OpCodeInfo info,
        ref bool memory)
    {
        switch (kind)
        {
            case OpCodeOperandKind.r8_or_mem:
            case OpCodeOperandKind.r16_or_mem:
            case OpCodeOperandKind.r32_or_mem:
            case OpCodeOperandKind.mm_or_mem:
            case OpCodeOperandKind.xmm_or_mem:
            case OpCodeOperandKind.ymm_or_mem:
                if (random.Next(5) < 3)
                {
                    memory = true;
                    return SetMemory(ref instruction, i);
                }

                return SetRegister(ref instruction, i, kind switch
                {
                    OpCodeOperandKind.r8_or_mem => Register.AL,
                    OpCodeOperandKind.r16_or_mem => Register.AX,
                    OpCodeOperandKind.r32_or_mem => Register.EAX,
                    OpCodeOperandKind.mm_or_mem => Register.MM0,
                    OpCodeOperandKind.ymm_or_mem => Register.YMM0,
                    _ => Register.XMM0,
                });
            case OpCodeOperandKind.mem:
            case OpCodeOperandKind.mem_offs:
                memory = true;
                bool made = SetMemory(ref instruction, i);
                if (kind == OpCodeOperandKind.mem_offs)
                {
                    SetAbsolute(ref instruction);
                }

                return made;
            case OpCodeOperandKind.r8_reg or OpCodeOperandKind.r8_opcode:
                return SetRegister(ref instruction, i, Register.AL);
            case OpCodeOperandKind.r16_reg or OpCodeOperandKind.r16_rm or OpCodeOperandKind.r16_opcode:
                return SetRegister(ref instruction, i, Register.AX);
            case OpCodeOperandKind.mem_vsib32x or OpCodeOperandKind.mem_vsib32y
                or OpCodeOperandKind.mem_vsib64x or OpCodeOperandKind.mem_vsib64y:
                memory = true;
                VectorPool.SetVectorIndex(ref instruction, i, kind.ToString(), random,
                    Pointers[random.Next(3)], anyAddress: true);
                return true;
            case OpCodeOperandKind.ymm_reg or OpCodeOperandKind.ymm_rm or OpCodeOperandKind.ymm_vvvv
                or OpCodeOperandKind.ymm_is4:
                return SetRegister(ref instruction, i, Register.YMM0);
            case OpCodeOperandKind.r32_reg or OpCodeOperandKind.r32_rm or OpCodeOperandKind.r32_opcode
                or OpCodeOperandKind.r32_vvvv:
                return SetRegister(ref instruction, i, Register.EAX);
            case OpCodeOperandKind.mm_reg or OpCodeOperandKind.mm_rm:
                return SetRegister(ref instruction, i, Register.MM0);
            case OpCodeOperandKind.xmm_reg or OpCodeOperandKind.xmm_rm or OpCodeOperandKind.xmm_vvvv
                or OpCodeOperandKind.xmm_is4:
                return SetRegister(ref instruction, i, Register.XMM0);
            case OpCodeOperandKind.seg_reg:
                return SetFixed(ref instruction, i, Register.ES + random.Next(6));
            case OpCodeOperandKind.sti_opcode:
                return SetFixed(ref instruction, i, Register.ST0 + random.Next(8));
            default:
                return SetImplied(ref instruction, i, kind);
        }
    }

    private bool SetImplied(ref Instruction instruction, int i, OpCodeOperandKind kind)
    {
        Register register = kind switch
        {
            OpCodeOperandKind.al => Register.AL,
            OpCodeOperandKind.cl => Register.CL,
            OpCodeOperandKind.ax => Register.AX,
            OpCodeOperandKind.dx => Register.DX,
            OpCodeOperandKind.eax => Register.EAX,
            OpCodeOperandKind.st0 => Register.ST0,
            OpCodeOperandKind.es => Register.ES,
            OpCodeOperandKind.cs => Register.CS,
            OpCodeOperandKind.ss => Register.SS,
            OpCodeOperandKind.ds => Register.DS,
            OpCodeOperandKind.fs => Register.FS,
            OpCodeOperandKind.gs => Register.GS,
            _ => Register.None,
        };
        if (register != Register.None)
        {
            return SetFixed(ref instruction, i, register);
        }

        OpKind implied = kind switch
        {
            OpCodeOperandKind.imm8 => OpKind.Immediate8,
            OpCodeOperandKind.imm8_const_1 => OpKind.Immediate8,
            OpCodeOperandKind.imm8sex16 => OpKind.Immediate8to16,
            OpCodeOperandKind.imm8sex32 => OpKind.Immediate8to32,
            OpCodeOperandKind.imm16 => OpKind.Immediate16,
            OpCodeOperandKind.imm32 => OpKind.Immediate32,
            OpCodeOperandKind.seg_rSI => OpKind.MemorySegESI,
            OpCodeOperandKind.seg_rDI => OpKind.MemorySegEDI,
            OpCodeOperandKind.es_rDI => OpKind.MemoryESEDI,
            OpCodeOperandKind.seg_rBX_al => OpKind.Memory,
            _ => OpKind.Register,
        };
        instruction.SetOpKind(i, implied);
        if (kind == OpCodeOperandKind.seg_rBX_al)
        {
            instruction.MemoryBase = Register.EBX;
            instruction.MemoryIndex = Register.AL;
            return true;
        }

        if (implied is OpKind.MemorySegESI or OpKind.MemorySegEDI or OpKind.MemoryESEDI)
        {
            return true;
        }

        if (implied == OpKind.Register)
        {
            return false;
        }

        uint value = StateVariation.NextValue(random);
        switch (implied)
        {
            case OpKind.Immediate8:
                instruction.Immediate8 = kind == OpCodeOperandKind.imm8_const_1 ? (byte)1 : (byte)value;
                break;
            case OpKind.Immediate8to16:
                instruction.Immediate8to16 = (sbyte)value;
                break;
            case OpKind.Immediate8to32:
                instruction.Immediate8to32 = (sbyte)value;
                break;
            case OpKind.Immediate16:
                instruction.Immediate16 = (ushort)value;
                break;
            default:
                instruction.Immediate32 = value;
                break;
        }

        return true;
    }

    private static bool SetFixed(ref Instruction instruction, int i, Register register)
    {
        instruction.SetOpKind(i, OpKind.Register);
        instruction.SetOpRegister(i, register);
        return true;
    }

    /// <summary>A register of the class <paramref name="first"/> begins; pointers and ESP seldom.</summary>
    private bool SetRegister(ref Instruction instruction, int i, Register first)
    {
        int number = random.Next(8);
        if (first is Register.EAX or Register.AX && number >= 3 && random.Next(6) != 0)
        {
            number %= 3;
        }
        else if (first == Register.AL && (number & 3) == 3 && random.Next(4) != 0)
        {
            number &= 5;
        }

        return SetFixed(ref instruction, i, first + number);
    }

    private bool SetMemory(ref Instruction instruction, int i)
    {
        instruction.SetOpKind(i, OpKind.Memory);
        bool aligned = instruction.MemorySize.GetSize() >= 16 && random.Next(8) != 0;
        int mask = aligned ? ~15 : ~0;
        switch (random.Next(16))
        {
            case 0 or 1 or 2:
                SetAbsolute(ref instruction);
                instruction.MemoryDisplacement32 &= (uint)mask;
                return true;
            case 3 or 4:
                instruction.MemoryBase = Register.ESP;
                SetDisplacement(ref instruction, random.Next(-64, 128) & mask);
                return true;
            case 5:
                instruction.SegmentPrefix = random.Next(2) == 0 ? Register.FS : Register.GS;
                instruction.MemoryDisplSize = 4;
                instruction.MemoryDisplacement32 = (uint)(random.Next(0x2000) & mask);
                return true;
            case 6:
                instruction.MemoryIndex = Register.EBP;
                instruction.MemoryIndexScale = 1 << random.Next(4);
                instruction.MemoryDisplSize = 4;
                instruction.MemoryDisplacement32 = TestLayout.Data + (uint)(random.Next(0x3000) & mask);
                return true;
            case 7 or 8:
                instruction.MemoryIndex = random.Next(8) == 0 ? Register.EAX + random.Next(3) : Register.EBP;
                instruction.MemoryIndexScale = 1 << random.Next(4);
                break;
        }

        instruction.MemoryBase = Pointers[random.Next(Pointers.Length)];
        SetDisplacement(ref instruction, random.Next(4) switch
        {
            0 => 0,
            1 => random.Next(-0x900, 0x900) & mask,
            _ => random.Next(-128, 128) & mask,
        });
        return true;
    }

    private void SetAbsolute(ref Instruction instruction)
    {
        instruction.MemoryBase = Register.None;
        instruction.MemoryIndex = Register.None;
        instruction.MemoryIndexScale = 1;
        instruction.MemoryDisplSize = 4;
        instruction.MemoryDisplacement32 = TestLayout.Data + (uint)random.Next(0x4000);
    }

    private static void SetDisplacement(ref Instruction instruction, int value)
    {
        instruction.MemoryDisplSize = value == 0 ? 0 : value is >= -128 and <= 127 ? 1 : 4;
        instruction.MemoryDisplacement32 = (uint)value;
    }
}
