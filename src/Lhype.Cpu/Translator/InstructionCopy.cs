// Re-encodes one guest instruction as a 64-bit host instruction from its own bytes: prefixes and opcode stay,
// guest ESP becomes r12, and a memory operand becomes [r8], which by then holds its host address. This covers
// the vast majority of instructions; what has no 64-bit encoding (short INC/DEC, absolute MOV) is given its
// long form.

using Iced.Intel;

namespace Lhype.Cpu.Translator;

/// <summary>What becomes of an instruction's memory operand.</summary>
internal enum OperandForm
{
    /// <summary>There is none, or it is not accessed.</summary>
    None,
    /// <summary>It is at [r8].</summary>
    Pointer,
    /// <summary>It is at gs:[r8].</summary>
    WindowPointer,
    /// <summary>It is at gs:[the guest's own address], computed in 32 bits.</summary>
    Window,
}

/// <summary>Copies 32-bit instructions into host code.</summary>
internal static unsafe class InstructionCopy
{
    // Opcodes that have a ModRM byte: one bit per opcode, bit n of word n / 32. Row one is the one-byte map,
    // row two the 0F map (SDM vol. 2, tables ).
    private static readonly uint[] ModRmOneByte =
    [
        0x0F0F0F0F, 0x0F0F0F0F, 0x00000000, 0x00000A0C, 0x0000FFFF, 0x00000000, 0xFF0F00F3, 0xC0C00000,
    ];

    private static readonly uint[] ModRmTwoByte =
    [
        0xFFFFA00F, 0xFF00FFFF, 0xFFFFFFFF, 0xFF7FFFFF, 0xFFFF0000, 0xFFFFF8F8, 0xFFFF00FF, 0xFFFFFFFF,
    ];

    /// <summary>Emits <paramref name="instruction"/>, whose bytes are at
    /// <paramref name="code"/>.</summary>
    internal static void Emit(Emitter emitter, byte* code, in Instruction instruction, OperandForm form)
    {
        if (instruction.Code.Encoding() == EncodingKind.VEX)
        {
            EmitVex(emitter, code, instruction, form);
            return;
        }

        int position = 0;
        bool operandSize = false;
        bool locked = false;
        int repeat = 0;
        for (; ; position++)
        {
            byte prefix = code[position];
            if (prefix == 0x66)
            {
                operandSize = true;
            }
            else if (prefix is 0xF2 or 0xF3)
            {
                repeat = prefix;
            }
            else if (prefix == 0xF0)
            {
                locked = true;
            }
            else if (prefix is not (0x2E or 0x36 or 0x3E or 0x26 or 0x64 or 0x65 or 0x67))
            {
                break;
            }
        }

        int map = 0;
        int opcode = code[position++];
        if (opcode == 0x0F)
        {
            map = 1;
            opcode = code[position++];
            if (opcode is 0x38 or 0x3A)
            {
                map = opcode;
                opcode = code[position++];
            }
        }

        if (instruction.Mnemonic is Mnemonic.Bsf or Mnemonic.Bsr)
        {
            // REP BSF is TZCNT on hosts that have it; this guest's CPU has not.
            repeat = 0;
        }

        if (instruction.CodeSize == CodeSize.Code16 && !IsVector(map, opcode))
        {
            // In 16-bit code the prefix selects 32-bit operands; in the host's 64-bit mode it selects 16-bit
            // ones.
            operandSize = !operandSize;
        }

        Prefixes prefixes = new(operandSize, locked, repeat, map);
        if (!HasModRm(map, opcode))
        {
            EmitPlain(emitter, prefixes, opcode, code + position, instruction.Length - position, instruction,
                form);
            return;
        }

        if (map == 0 && opcode == 0x82)
        {
            opcode = 0x80;
        }

        int modRm = code[position++];
        byte* address = code + position;
        int immediate =
            position + AddressBytes(code + position, modRm, instruction.CodeSize == CodeSize.Code32
            ? HasPrefix(code, 0x67) : !HasPrefix(code, 0x67));
        int immediateBytes = instruction.Length - immediate;
        if (form == OperandForm.Window)
        {
            EmitWindowForm(emitter, prefixes, opcode, modRm, address, immediate - position, instruction);
            for (int i = 0; i < immediateBytes; i++)
            {
                emitter.Byte(code[immediate + i]);
            }

            return;
        }

        EmitModRm(emitter, prefixes, opcode, modRm, code + immediate, immediateBytes, instruction, form);
    }

    private static void EmitVex(Emitter emitter, byte* code, in Instruction instruction, OperandForm form)
    {
        VexInstruction vex = VexInstruction.Read(code, instruction);
        OpCodeInfo info = instruction.Code.ToOpCode();
        for (int i = 0; i < instruction.OpCount; i++)
        {
            int place = LongInstructionCopy.PlaceOf(info.GetOpKind(i));
            if (place == LongInstructionCopy.InNothing)
            {
                continue;
            }

            vex.ClearWide();
            if (instruction.GetOpKind(i) == OpKind.Register && instruction.GetOpRegister(i) == Register.ESP)
            {
                switch (place)
                {
                    case LongInstructionCopy.InReg:
                        vex.Reg = Host.GuestEsp;
                        break;
                    case LongInstructionCopy.InRm:
                        vex.Rm = Host.GuestEsp;
                        break;
                    default:
                        vex.Source = Host.GuestEsp;
                        break;
                }
            }
        }

        vex.Emit(emitter, form, instruction.MemoryBase == Register.ESP);
    }

    private readonly struct Prefixes(bool operandSize, bool locked, int repeat, int map)
    {
        internal void Emit(Emitter emitter, int rex, int opcode)
        {
            if (locked)
            {
                emitter.Byte(0xF0);
            }

            if (operandSize)
            {
                emitter.Byte(0x66);
            }

            if (repeat != 0)
            {
                emitter.Byte(repeat);
            }

            if (rex != 0)
            {
                emitter.Byte(rex);
            }

            if (map != 0)
            {
                emitter.Byte(0x0F);
                if (map != 1)
                {
                    emitter.Byte(map);
                }
            }

            emitter.Byte(opcode);
        }
    }

    private static void EmitPlain(Emitter emitter, Prefixes prefixes, int opcode, byte* rest, int restBytes,
        in Instruction instruction, OperandForm form)
    {
        int rex = UsesEsp(instruction, out _) ? 0x41 : 0;
        if (form == OperandForm.Window)
        {
            // MOV AL/eAX, moffs and back: the long form with an absolute 32-bit address.
            emitter.Bytes(0x65, 0x67);
            prefixes.Emit(emitter, 0, LongMove(opcode));
            emitter.Bytes(0x04, 0x25);
            emitter.Int32(*(int*)rest);
            return;
        }

        if (form != OperandForm.None)
        {
            // The same with [r8]; the address bytes are dropped.
            EmitWindowPrefix(emitter, form);
            prefixes.Emit(emitter, 0x41, LongMove(opcode));
            emitter.Byte(0x00);
            return;
        }

        if ((opcode & 0xF0) == 0x40 && instruction.Mnemonic is Mnemonic.Inc or Mnemonic.Dec)
        {
            prefixes.Emit(emitter, rex, 0xFF);
            emitter.Byte(0xC0 | ((opcode & 8) != 0 ? 8 : 0) | (opcode & 7));
            return;
        }

        prefixes.Emit(emitter, rex, opcode);
        for (int i = 0; i < restBytes; i++)
        {
            emitter.Byte(rest[i]);
        }
    }

    /// <summary>The long form of MOV AL/eAX, moffs (A0-A3).</summary>
    internal static int LongMove(int opcode) =>
        opcode switch { 0xA0 => 0x8A, 0xA1 => 0x8B, 0xA2 => 0x88, _ => 0x89 };

    private static void EmitWindowPrefix(Emitter emitter, OperandForm form)
    {
        if (form == OperandForm.WindowPointer)
        {
            emitter.Byte(0x65);
        }
    }

    /// <summary>gs: and an address-size prefix before the instruction as it was: the address wraps at 4 GiB,
    /// and GS points to the window.</summary>
    private static void EmitWindowForm(Emitter emitter, Prefixes prefixes, int opcode, int modRm,
        byte* address, int addressBytes, in Instruction instruction)
    {
        int rex = UsesEsp(instruction, out _) && ((modRm >> 3) & 7) == 4 ? 0x44 : 0;
        bool espBase = instruction.MemoryBase == Register.ESP;
        emitter.Bytes(0x65, 0x67);
        prefixes.Emit(emitter, rex | (espBase ? 0x41 : 0), opcode);
        if ((modRm & 0xC7) == 0x05)
        {
            // In 64-bit code this form is relative to RIP; the one with a SIB byte is absolute.
            emitter.Bytes((byte)((modRm & 0x38) | 4), 0x25);
        }
        else
        {
            emitter.Byte(modRm);
        }

        for (int i = 0; i < addressBytes; i++)
        {
            emitter.Byte(address[i]);
        }
    }

    private static void EmitModRm(Emitter emitter, Prefixes prefixes, int opcode, int modRm, byte* immediate,
        int immediateBytes, in Instruction instruction, OperandForm form)
    {
        int reg = (modRm >> 3) & 7;
        int rm = modRm & 7;
        bool registerForm = (modRm & 0xC0) == 0xC0;
        bool usesEsp = UsesEsp(instruction, out int espOperands);
        int high = HighByteRegister(instruction);
        int rex = 0;
        if (usesEsp)
        {
            bool inRm = registerForm && rm == 4;
            bool inReg = reg == 4;
            if (inRm && inReg && espOperands == 1)
            {
                inReg = EspIsReg(instruction);
                inRm = !inReg;
            }

            rex |= (inReg ? 0x44 : 0) | (inRm ? 0x41 : 0);
        }

        if (form != OperandForm.None)
        {
            EmitWindowPrefix(emitter, form);
            EmitMemoryForm(emitter, prefixes, opcode, reg, rex | 0x41, immediate, immediateBytes, high >= 0);
            return;
        }

        if (high >= 0 && rex != 0)
        {
            // MOVZX/MOVSX ESP, AH..BH: no REX form can name the high byte; swap it down for the moment.
            int low = high - 4;
            emitter.Bytes(0x86, (byte)(0xC0 | (high << 3) | low));
            prefixes.Emit(emitter, rex, opcode);
            emitter.Byte(0xC0 | (reg << 3) | low);
            emitter.Bytes(0x86, (byte)(0xC0 | (high << 3) | low));
            return;
        }

        prefixes.Emit(emitter, rex, opcode);
        emitter.Byte(registerForm ? modRm : 0xC0 | (reg << 3) | rm);
        for (int i = 0; i < immediateBytes; i++)
        {
            emitter.Byte(immediate[i]);
        }
    }

    private static void EmitMemoryForm(Emitter emitter, Prefixes prefixes, int opcode, int reg, int rex,
        byte* immediate,
        int immediateBytes, bool highByte)
    {
        if (highByte)
        {
            // AH..BH cannot be named beside a REX prefix, so the address moves to rsi for this one
            // instruction, whose other operand is a byte register and therefore not ESI.
            emitter.OpRegister(0x87, Host.Address, Host.Rsi, wide: true);
            prefixes.Emit(emitter, 0, opcode);
            emitter.Byte((reg << 3) | Host.Rsi);
        }
        else
        {
            prefixes.Emit(emitter, rex, opcode);
            emitter.Byte(reg << 3);
        }

        for (int i = 0; i < immediateBytes; i++)
        {
            emitter.Byte(immediate[i]);
        }

        if (highByte)
        {
            emitter.OpRegister(0x87, Host.Address, Host.Rsi, wide: true);
        }
    }

    /// <summary>True if a ModRM byte follows the opcode.</summary>
    internal static bool HasModRm(int map, int opcode) =>
        map > 1 || ((map == 0 ? ModRmOneByte : ModRmTwoByte)[opcode >> 5] >> (opcode & 31) & 1) != 0;

    /// <summary>MMX, SSE and MOVNTI opcodes, where 66 is part of the opcode and not an operand
    /// size.</summary>
    private static bool IsVector(int map, int opcode) => (map > 1 && !(map == 0x38 && opcode is 0xF0 or 0xF1))
        || (map == 1 && opcode is (>= 0x10 and <= 0x17)
        or (>= 0x28 and <= 0x2F) or (>= 0x50 and <= 0x7F) or (>= 0xC2 and <= 0xC6) or >= 0xD0);

    private static bool HasPrefix(byte* code, byte wanted)
    {
        for (int i =
            0; code[i]
                is 0x66 or 0x67 or 0xF0 or 0xF2 or 0xF3 or 0x2E or 0x36 or 0x3E or 0x26 or 0x64 or 0x65;
            i++)
        {
            if (code[i] == wanted)
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Bytes of SIB and displacement after a ModRM byte (SDM vol. 2, tables 2-1 to 2-3).</summary>
    internal static int AddressBytes(byte* afterModRm, int modRm, bool address16)
    {
        int mod = modRm >> 6;
        int rm = modRm & 7;
        if (mod == 3)
        {
            return 0;
        }

        if (address16)
        {
            return mod == 0 ? (rm == 6 ? 2 : 0) : mod;
        }

        int sib = rm == 4 ? 1 : 0;
        int baseRegister = sib != 0 ? *afterModRm & 7 : rm;
        return sib + (mod == 1 ? 1 : mod == 2 || baseRegister == 5 ? 4 : 0);
    }

    private static bool UsesEsp(in Instruction instruction, out int operands)
    {
        operands = 0;
        for (int i = 0; i < instruction.OpCount; i++)
        {
            if (instruction.GetOpKind(i) == OpKind.Register
                && instruction.GetOpRegister(i) is Register.ESP or Register.SP)
            {
                operands++;
            }
        }

        return operands != 0;
    }

    /// <summary>True if AH, CH, DH or BH is an operand: no REX prefix can stand beside it.</summary>
    internal static bool UsesHighByte(in Instruction instruction) => HighByteRegister(instruction) >= 0;

    /// <summary>4 to 7 for AH, CH, DH or BH among the operands, otherwise -1.</summary>
    internal static int HighByteRegister(in Instruction instruction)
    {
        for (int i = 0; i < instruction.OpCount; i++)
        {
            if (instruction.GetOpKind(i) == OpKind.Register)
            {
                Register register = instruction.GetOpRegister(i);
                if (register is >= Register.AH and <= Register.BH)
                {
                    return register - Register.AH + 4;
                }
            }
        }

        return -1;
    }

    /// <summary>Both ModRM fields say 4 but only one of them means ESP (the other is an opcode extension or a
    /// vector register): ask the encoding which operand sits in the reg field.</summary>
    private static bool EspIsReg(in Instruction instruction)
    {
        OpCodeInfo info = instruction.Code.ToOpCode();
        for (int i = 0; i < instruction.OpCount; i++)
        {
            if (instruction.GetOpKind(i) == OpKind.Register
                && instruction.GetOpRegister(i) is Register.ESP or Register.SP)
            {
                return info.GetOpKind(i) is OpCodeOperandKind.r16_reg or OpCodeOperandKind.r32_reg
                    or OpCodeOperandKind.r32_reg_mem;
            }
        }

        return false;
    }
}
