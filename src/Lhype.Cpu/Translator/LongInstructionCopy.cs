// Re-encodes one 64-bit guest instruction from its own bytes, as InstructionCopy does for 32-bit ones:
// prefixes and opcode stay, RSP becomes r12, a memory operand becomes [r8]. Guest R8 to R15 live in CpuState:
// an instruction that names one gets a scratch register in its place, loaded before and stored behind it.
// Called by Translator for what InstructionClasses says can be copied; one object for each translator,
// because it remembers where each opcode's operands sit.

using Iced.Intel;

namespace Lhype.Cpu.Translator;

/// <summary>Copies 64-bit instructions into host code.</summary>
internal sealed unsafe class LongInstructionCopy
{
    private const int RexW = 8, RexR = 4, RexX = 2, RexB = 1;
    private const int NoRegister = -1;

    /// <summary>More than the highest value of Iced's Code enumeration.</summary>
    private const int CodeCount = 8192;

    /// <summary>Which field of the encoding names an operand, 3 bits for each operand.</summary>
    internal const int InNothing = 0, InReg = 1, InRm = 2, InOpcode = 3, InSource = 4;
    private const ushort Known = 0x8000;

    private readonly Emitter _emitter;
    private readonly HighRegisters _high;
    private readonly InstructionInfoFactory _info = new();
    private readonly ushort[] _places = new ushort[CodeCount];

    // Host registers of the operands in the reg, rm, opcode and vvvv fields, or NoRegister.
    private readonly int[] _fields = new int[5];
    private readonly int[] _lent = new int[3];
    private int _lentCount;
    private int _loads;
    private int _stores;
    private int _swappedHigh;
    private bool _byteForm;

    // Host registers and displacement of the memory operand.
    private int _base;
    private int _index;
    private int _displacement;

    internal LongInstructionCopy(Emitter emitter, HighRegisters high)
    {
        _emitter = emitter;
        _high = high;
    }

    /// <summary>Guest general register number (0-15) of any width, or -1 for AH to BH and for all that are no
    /// general registers.</summary>
    internal static int NumberOf(Register register)
    {
        if (register is >= Register.AX and <= Register.R15)
        {
            return (register - Register.AX) & 15;
        }

        int index = register - Register.AL;
        return index is < 0 or > 19 or (>= 4 and < 8) ? NoRegister : index < 4 ? index : index - 4;
    }

    /// <summary>r10 was lent in the last instruction.</summary>
    internal bool UsedScratch2 => _lentCount >= 2;

    /// <summary>Where memory operands are from now on; no index if that is negative.</summary>
    internal void SetOperand(int hostBase, int index, int displacement)
    {
        _base = hostBase;
        _index = index;
        _displacement = displacement;
    }

    /// <summary>Emits <paramref name="instruction"/>, whose bytes are at <paramref name="code"/>. With
    /// <paramref name="pointer"/> its memory operand is where <see cref="SetOperand"/> says; otherwise it has
    /// none that is accessed.</summary>
    internal void Emit(byte* code, in Instruction instruction, bool pointer)
    {
        if (instruction.Code.Encoding() == EncodingKind.VEX)
        {
            EmitVex(code, instruction, pointer);
            return;
        }

        int position = ReadPrefixes(code, out LongPrefixes prefixes);
        int opcode = code[position++];
        if (opcode == 0x0F)
        {
            prefixes.Map = 1;
            opcode = code[position++];
            if (opcode is 0x38 or 0x3A)
            {
                prefixes.Map = opcode;
                opcode = code[position++];
            }
        }

        if (instruction.Mnemonic is Mnemonic.Bsf or Mnemonic.Bsr)
        {
            // REP BSF is TZCNT on hosts that have it; this guest's CPU has not.
            prefixes.Repeat = 0;
        }

        Assign(instruction);
        if (!InstructionCopy.HasModRm(prefixes.Map, opcode))
        {
            EmitPlain(prefixes, opcode, code + position, instruction.Length - position, pointer);
        }
        else
        {
            int modRm = code[position++];
            int immediate = position + InstructionCopy.AddressBytes(code + position, modRm, address16: false);
            EmitModRm(prefixes, opcode, modRm, instruction, pointer);
            for (; immediate < instruction.Length; immediate++)
            {
                _emitter.Byte(code[immediate]);
            }

            EmitAfter(instruction, pointer);
        }

        EmitStores();
    }

    private void EmitVex(byte* code, in Instruction instruction, bool pointer)
    {
        Assign(instruction);
        VexInstruction vex = VexInstruction.Read(code, instruction);
        vex.Reg = _fields[InReg] >= 0 ? _fields[InReg] : vex.Reg;
        vex.Rm = _fields[InRm] >= 0 ? _fields[InRm] : vex.Rm;
        vex.Source = _fields[InSource] >= 0 ? _fields[InSource] : vex.Source;
        if (pointer)
        {
            vex.EmitOperand(_emitter, _base, _index, _displacement);
        }
        else
        {
            vex.Emit(_emitter, OperandForm.None);
        }

        EmitStores();
    }

    private struct LongPrefixes
    {
        internal bool OperandSize;
        internal bool Locked;
        internal int Repeat;
        internal int Rex;
        internal int Map;

        internal readonly void Emit(Emitter emitter, int rex, int opcode)
        {
            if (Locked)
            {
                emitter.Byte(0xF0);
            }

            if (OperandSize)
            {
                emitter.Byte(0x66);
            }

            if (Repeat != 0)
            {
                emitter.Byte(Repeat);
            }

            if (rex != 0)
            {
                emitter.Byte(0x40 | rex);
            }

            if (Map != 0)
            {
                emitter.Byte(0x0F);
                if (Map != 1)
                {
                    emitter.Byte(Map);
                }
            }

            emitter.Byte(opcode);
        }
    }

    /// <summary>A REX prefix counts only if the opcode follows it at once (SDM vol. 2, 2.2.1).</summary>
    private static int ReadPrefixes(byte* code, out LongPrefixes prefixes)
    {
        prefixes = default;
        for (int position = 0; ; position++)
        {
            byte prefix = code[position];
            switch (prefix)
            {
                case 0x66:
                    prefixes.OperandSize = true;
                    break;
                case 0xF2 or 0xF3:
                    prefixes.Repeat = prefix;
                    break;
                case 0xF0:
                    prefixes.Locked = true;
                    break;
                case 0x2E or 0x36 or 0x3E or 0x26 or 0x64 or 0x65 or 0x67:
                    break;
                case >= 0x40 and <= 0x4F:
                    prefixes.Rex = prefix;
                    continue;
                default:
                    return position;
            }

            prefixes.Rex = 0;
        }
    }

    /// <summary>Finds a host register for every general register operand and loads those that live in the
    /// state.</summary>
    private void Assign(in Instruction instruction)
    {
        _fields[InReg] = _fields[InRm] = _fields[InOpcode] = _fields[InSource] = NoRegister;
        _lentCount = 0;
        _loads = 0;
        _stores = 0;
        _byteForm = false;
        int places = PlacesOf(instruction.Code, instruction.OpCount);
        bool inspected = false;
        InstructionInfo info = default;
        for (int i = 0; i < instruction.OpCount; i++)
        {
            int place = (places >> (i * 3)) & 7;
            if (place == InNothing || instruction.GetOpKind(i) != OpKind.Register)
            {
                continue;
            }

            Register register = instruction.GetOpRegister(i);
            int number = NumberOf(register);
            if (number < 0)
            {
                continue;
            }

            // SPL, BPL, SIL and DIL exist beside a REX prefix only.
            _byteForm |= register is >= Register.SPL and <= Register.DIL;
            if (number < 8)
            {
                _fields[place] = Host.Of(number);
                continue;
            }

            if (!inspected)
            {
                inspected = true;
                info = _info.GetInfo(instruction,
                    InstructionInfoOptions.NoMemoryUsage | InstructionInfoOptions.NoRegisterUsage);
            }

            _fields[place] = Lend(number, register, info.GetOpAccess(i), instruction.Mnemonic);
        }

        for (int i = 0; i < _lentCount; i++)
        {
            if ((_loads >> i & 1) != 0)
            {
                _ = _high.Load(_lent[i], ScratchOf(i));
            }
        }
    }

    /// <summary>Three registers are lent only to instructions without a memory operand, which leave r8
    /// free.</summary>
    private static int ScratchOf(int lent) =>
        lent switch { 0 => Host.Scratch, 1 => Host.Scratch2, _ => Host.Address };

    private int Lend(int number, Register register, OpAccess access, Mnemonic mnemonic)
    {
        int index = 0;
        while (index < _lentCount && _lent[index] != number)
        {
            index++;
        }

        int host = _high.Holder(number, ScratchOf(index));
        bool replaced = access == OpAccess.Write && register >= Register.EAX
            && mnemonic is not (Mnemonic.Bsf or Mnemonic.Bsr);
        if (index == _lentCount)
        {
            _lent[_lentCount++] = number;
        }

        if (!replaced)
        {
            _loads |= 1 << index;
        }

        if (access is not (OpAccess.Read or OpAccess.None or OpAccess.CondRead or OpAccess.NoMemAccess))
        {
            _stores |= 1 << index;
        }

        return host;
    }

    private void EmitStores()
    {
        for (int i = 0; i < _lentCount; i++)
        {
            if ((_stores >> i & 1) != 0)
            {
                _high.Store(_lent[i], _high.Holder(_lent[i], ScratchOf(i)));
            }
        }
    }

    private int PlacesOf(Code code, int operands)
    {
        ushort places = _places[(int)code];
        if (places == 0)
        {
            OpCodeInfo opcode = code.ToOpCode();
            for (int i = 0; i < operands; i++)
            {
                places |= (ushort)(PlaceOf(opcode.GetOpKind(i)) << (i * 3));
            }

            places |= Known;
            _places[(int)code] = places;
        }

        return places;
    }

    /// <summary>The field that names a general register operand.</summary>
    internal static int PlaceOf(OpCodeOperandKind kind) => kind switch
    {
        OpCodeOperandKind.r8_reg or OpCodeOperandKind.r16_reg or OpCodeOperandKind.r16_reg_mem
            or OpCodeOperandKind.r32_reg or OpCodeOperandKind.r32_reg_mem or OpCodeOperandKind.r64_reg
            or OpCodeOperandKind.r64_reg_mem => InReg,
        OpCodeOperandKind.r8_or_mem or OpCodeOperandKind.r16_or_mem or OpCodeOperandKind.r32_or_mem
            or OpCodeOperandKind.r64_or_mem or OpCodeOperandKind.r16_rm or OpCodeOperandKind.r32_rm
            or OpCodeOperandKind.r64_rm => InRm,
        OpCodeOperandKind.r8_opcode or OpCodeOperandKind.r16_opcode or OpCodeOperandKind.r32_opcode
            or OpCodeOperandKind.r64_opcode => InOpcode,
        OpCodeOperandKind.r32_vvvv or OpCodeOperandKind.r64_vvvv => InSource,
        _ => InNothing,
    };

    private void EmitPlain(LongPrefixes prefixes, int opcode, byte* rest, int restBytes, bool pointer)
    {
        int rex = prefixes.Rex & RexW;
        if (pointer)
        {
            // MOV AL/rAX, moffs and back: the long form on [r8]; the address bytes are dropped.
            prefixes.Emit(_emitter, rex | OperandRex, InstructionCopy.LongMove(opcode));
            _emitter.Memory(0, _base, _index, _displacement);
            return;
        }

        int register = _fields[InOpcode];
        if (register >= 0)
        {
            opcode = (opcode & ~7) | (register & 7);
            rex |= register >> 3;
        }

        Emit(prefixes, rex, opcode);
        for (int i = 0; i < restBytes; i++)
        {
            _emitter.Byte(rest[i]);
        }
    }

    private int OperandRex => (_base >= 8 ? RexB : 0) | (_index >= 8 ? RexX : 0);

    private void Emit(LongPrefixes prefixes, int rex, int opcode)
    {
        if (rex == 0 && _byteForm)
        {
            // An empty REX prefix, which LongPrefixes would leave out.
            prefixes.Emit(_emitter, 0x40, opcode);
            return;
        }

        prefixes.Emit(_emitter, rex, opcode);
    }

    private void EmitModRm(LongPrefixes prefixes, int opcode, int modRm, in Instruction instruction,
        bool pointer)
    {
        int reg = _fields[InReg];
        int regField = reg >= 0 ? reg & 7 : (modRm >> 3) & 7;
        int rex = (prefixes.Rex & RexW) | (reg >= 0 ? (reg >> 3) * RexR : prefixes.Rex & RexR);
        int high = InstructionCopy.HighByteRegister(instruction);
        _swappedHigh = NoRegister;
        if (pointer)
        {
            if (high >= 0)
            {
                // AH..BH cannot be named beside a REX prefix: the address moves to rsi for this one
                // instruction, whose other operand is a byte register and therefore not RSI.
                _emitter.OpRegister(0x87, Host.Address, Host.Rsi, wide: true);
                prefixes.Emit(_emitter, 0, opcode);
                _emitter.Byte((regField << 3) | Host.Rsi);
                return;
            }

            Emit(prefixes, rex | OperandRex, opcode);
            _emitter.Memory(regField, _base, _index, _displacement);
            return;
        }

        int rm = _fields[InRm];
        rex |= rm >= 0 ? rm >> 3 : prefixes.Rex & RexB;
        int rmField = rm >= 0 ? rm & 7 : modRm & 7;
        if (high >= 0 && rex != 0)
        {
            // MOVZX/MOVSX ESP, AH..BH: no REX form can name the high byte; swap it down for the moment.
            _swappedHigh = high;
            int low = high - 4;
            _emitter.Bytes(0x86, (byte)(0xC0 | (high << 3) | low));
            rmField = low;
        }

        Emit(prefixes, rex, opcode);
        _emitter.Byte(0xC0 | (regField << 3) | rmField);
    }

    /// <summary>Undoes what EmitModRm lent for a high byte register.</summary>
    private void EmitAfter(in Instruction instruction, bool pointer)
    {
        if (_swappedHigh >= 0)
        {
            _emitter.Bytes(0x86, (byte)(0xC0 | (_swappedHigh << 3) | (_swappedHigh - 4)));
        }
        else if (pointer && InstructionCopy.HighByteRegister(instruction) >= 0)
        {
            _emitter.OpRegister(0x87, Host.Address, Host.Rsi, wide: true);
        }
    }
}
