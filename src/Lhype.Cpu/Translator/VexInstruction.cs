// The fields of a VEX-encoded instruction (SDM vol. 2, 2.3), taken from its bytes and put together again with
// other registers and another memory operand. InstructionCopy and LongInstructionCopy use it for what legacy
// prefixes do not encode: three register fields, one of which (vvvv) lies in the prefix.

using Iced.Intel;

namespace Lhype.Cpu.Translator;

/// <summary>A VEX-encoded instruction being re-encoded.</summary>
internal unsafe struct VexInstruction
{
    private const int Prefix = 3, VectorLength = 4, Wide = 0x80;

    private int _map;
    private int _opcode;
    /// <summary>W, L and pp of the prefix, in its places.</summary>
    private int _bits;
    private int _modRm;
    private bool _hasModRm;
    private byte* _address;
    private int _addressBytes;
    private byte* _immediate;
    private int _immediateBytes;
    private int _immediateMask;

    /// <summary>The register in the reg field, 0-15.</summary>
    internal int Reg { get; set; }

    /// <summary>The register in the rm field, if it is one.</summary>
    internal int Rm { get; set; }

    /// <summary>The register in vvvv; 0 if there is none.</summary>
    internal int Source { get; set; }

    /// <summary>Reads <paramref name="instruction"/>, whose bytes are at <paramref name="code"/>. Outside
    /// 64-bit code there are eight registers, and what would name others is ignored.</summary>
    internal static VexInstruction Read(byte* code, in Instruction instruction)
    {
        bool wide = instruction.CodeSize == CodeSize.Code64;
        bool address16 = false;
        int position = 0;
        while (code[position] is not (0xC4 or 0xC5))
        {
            address16 |= code[position++] == 0x67 && !wide;
        }

        VexInstruction vex = default;
        int extension = code[position + 1];
        int last;
        if (code[position] == 0xC5)
        {
            // The short form: R in the place of W, and the 0F map.
            last = extension;
            vex._map = 1;
            vex._bits = last & ~Wide;
            extension |= 0x60;
            position += 2;
        }
        else
        {
            last = code[position + 2];
            vex._map = extension & 31;
            vex._bits = last;
            position += 3;
        }

        vex.Source = (~last >> 3) & 15;
        vex._bits &= Wide | VectorLength | Prefix;
        vex._opcode = code[position++];
        vex._hasModRm = vex._map != 1 || vex._opcode != 0x77;
        if (!vex._hasModRm)
        {
            return vex;
        }

        vex._modRm = code[position++];
        vex.Reg = ((vex._modRm >> 3) & 7) | ((~extension & 0x80) >> 4);
        vex.Rm = (vex._modRm & 7) | ((~extension & 0x20) >> 2);
        vex._address = code + position;
        vex._addressBytes = InstructionCopy.AddressBytes(code + position, vex._modRm, address16);
        vex._immediate = vex._address + vex._addressBytes;
        vex._immediateBytes = instruction.Length - position - vex._addressBytes;
        vex._immediateMask = 0xFF;
        if (!wide)
        {
            vex.Reg &= 7;
            vex.Rm &= 7;
            vex.Source &= 7;
            // The fourth register of a blend is in its immediate.
            vex._immediateMask = vex._map == 3 && vex._opcode is >= 0x4A and <= 0x4C ? 0x7F : 0xFF;
        }

        return vex;
    }

    /// <summary>W counts on general registers in 64-bit code only.</summary>
    internal void ClearWide() => _bits &= ~Wide;

    /// <summary>Emits the instruction with its memory operand, if it has one, in the given form.</summary>
    internal readonly void Emit(Emitter emitter, OperandForm form, bool stackBase = false)
    {
        if (form == OperandForm.Window)
        {
            emitter.Bytes(0x65, 0x67);
            EmitPrefix(emitter, stackBase);
            EmitAddress(emitter);
        }
        else if (form != OperandForm.None)
        {
            if (form == OperandForm.WindowPointer)
            {
                emitter.Byte(0x65);
            }

            EmitOperand(emitter, Host.Address, -1, 0);
            return;
        }
        else
        {
            EmitPrefix(emitter, (Rm & 8) != 0);
            if (_hasModRm)
            {
                emitter.Byte(0xC0 | ((Reg & 7) << 3) | (Rm & 7));
            }
        }

        EmitImmediate(emitter);
    }

    /// <summary>Emits the instruction with its memory operand at [<paramref name="hostBase"/> +
    /// <paramref name="index"/> + <paramref name="displacement"/>]; without index if that is
    /// negative.</summary>
    internal readonly void EmitOperand(Emitter emitter, int hostBase, int index, int displacement)
    {
        EmitPrefix(emitter, hostBase >= 8, index >= 8);
        emitter.Memory(Reg, hostBase, index, displacement);
        EmitImmediate(emitter);
    }

    private readonly void EmitImmediate(Emitter emitter)
    {
        for (int i = 0; i < _immediateBytes; i++)
        {
            emitter.Byte(_immediate[i] & _immediateMask);
        }
    }

    private readonly void EmitPrefix(Emitter emitter, bool extendRm, bool extendIndex = false)
    {
        int inverted = (~Source & 15) << 3;
        int reg = (Reg & 8) != 0 ? 0 : 0x80;
        if (_map == 1 && !extendRm && !extendIndex && (_bits & Wide) == 0)
        {
            emitter.Bytes(0xC5, (byte)(reg | inverted | _bits));
        }
        else
        {
            emitter.Bytes(0xC4, (byte)(reg | (extendIndex ? 0 : 0x40) | (extendRm ? 0 : 0x20) | _map));
            emitter.Byte(_bits | inverted);
        }

        emitter.Byte(_opcode);
    }

    /// <summary>The guest's own address bytes; an absolute address needs a SIB byte on the host.</summary>
    private readonly void EmitAddress(Emitter emitter)
    {
        int modRm = (_modRm & 0xC7) | ((Reg & 7) << 3);
        if ((_modRm & 0xC7) == 0x05)
        {
            emitter.Bytes((byte)((modRm & 0x38) | 4), 0x25);
        }
        else
        {
            emitter.Byte(modRm);
        }

        for (int i = 0; i < _addressBytes; i++)
        {
            emitter.Byte(_address[i]);
        }
    }
}
