// One random 64-bit program with its start state, made from a seed alone, and its instructions. The program
// runs on the host in this process, so no address it computes may be one of the process: pointers (RBX, RSI,
// RDI, R9, R14, RSP) and the small index (RBP) are written with 32 bits at most, and nothing else is an
// address.

using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;
using Iced.Intel;
using Lhype.Tests.Cpu.Asm;
using Lhype.Tests.Cpu.Oracle;

namespace Lhype.Tests.Cpu.Differential;

/// <summary>A random 64-bit program.</summary>
internal sealed class LongCase : IRandomProgram<LongCase>
{
    private static readonly Register[] Pointers =
        [Register.RBX, Register.RSI, Register.RDI, Register.R9, Register.R14];

    /// <summary>Numbers of registers that may hold any 64-bit value.</summary>
    private static readonly int[] Free = [0, 1, 2, 8, 10, 11, 12, 13, 15];

    private static readonly Code[] Pool =
    [
        .. Enum.GetValues<Code>().Distinct().Where(IsUsable),
    ];

    private readonly List<byte[]> _items;
    private readonly Random _random;
    private readonly int _memorySeed;
    private readonly uint _start;
    private readonly bool _vector;
    private readonly bool _single;

    private LongCase(LongCase from, List<byte[]> items)
    {
        _items = items;
        _random = from._random;
        _memorySeed = from._memorySeed;
        _start = from._start;
        Cpu = from.Cpu;
        Seed = from.Seed;
    }

    /// <summary>With <paramref name="vector"/> most instructions are those of <see cref="VectorPool"/>.
    /// </summary>
    internal LongCase(int seed, int length, bool vector = false)
    {
        Seed = seed;
        _random = new Random(seed);
        _vector = vector;
        _single = length == 1;
        _start = TestLayout.Code + (_random.Next(2) == 0 ? 0x100u : 0x1000u - (uint)_random.Next(60));
        Cpu = RandomState();
        if (vector)
        {
            VectorPool.FillState(Cpu, _random);
        }

        Cpu.Rip = _start;
        _memorySeed = _random.Next();
        int count = length == 1 ? 1 : _random.Next(2, length);
        _items = [];
        for (int i = 0; i < count; i++)
        {
            _items.Add(Next());
        }
    }

    internal LongImage Cpu { get; }
    public int Seed { get; }
    public int Length => _items.Count;

    /// <summary>All versions with one instruction less.</summary>
    public IEnumerable<LongCase> Shorter() => _items.Count == 1
        ? []
        : _items.Select((_, i) => new LongCase(this, [.. _items.Where((_, j) => j != i)]));

    /// <summary>Lays the program out in fresh memory.</summary>
    internal TestMemory MakeMemory()
    {
        var memory = new TestMemory();
        RandomCase.Fill(memory.Data, (ulong)_memorySeed);
        RandomCase.Fill(memory.Stack, ~(ulong)_memorySeed);
        byte[] code = [.. _items.SelectMany(item => item), 0xF4];
        code.CopyTo(memory.Bytes, TestLayout.OffsetOf(_start));
        return memory;
    }

    /// <summary>Registers and a listing, for a failure message.</summary>
    public string Describe()
    {
        var text = new StringBuilder("  start:");
        for (int i = 0; i < 16; i++)
        {
            text.Append($" r{i}={Cpu.Gpr[i]:x}");
        }

        text.AppendLine($" rflags={Cpu.Rflags:x} fs={Cpu.FsBase:x} gs={Cpu.GsBase:x}");
        byte[] code = [.. _items.SelectMany(item => item), 0xF4];
        var decoder = Iced.Intel.Decoder.Create(64, code);
        decoder.IP = _start;
        var formatter = new NasmFormatter();
        while (decoder.IP < _start + (ulong)code.Length)
        {
            int at = (int)(decoder.IP - _start);
            Instruction instruction = decoder.Decode();
            var output = new StringOutput();
            formatter.Format(instruction, output);
            text.AppendLine($"  {instruction.IP:x8}  {Convert.ToHexString(code, at, instruction.Length),-24} "
                + output.ToStringAndReset());
        }

        return text.ToString();
    }

    private static bool IsUsable(Code code)
    {
        OpCodeInfo info = code.ToOpCode();
        Instruction instruction = default;
        instruction.Code = code;
        return info.IsInstruction && info.Mode64 && info.Encoding == EncodingKind.Legacy
            && code.CpuidFeatures().All(InstructionPool.Has64)
            && instruction.FlowControl == FlowControl.Next && !instruction.IsPrivileged
            && !info.IsInputOutput && !InstructionPool.IsExcluded(code);
    }

    private byte[] Next()
    {
        var bytes = new MemoryStream();
        while (true)
        {
            IReadOnlyList<Code> pool = _vector && _random.Next(4) != 0 ? VectorPool.Long : Pool;
            Code code = pool[_random.Next(pool.Count)];
            OpCodeInfo info = code.ToOpCode();
            Instruction instruction = default;
            instruction.Code = code;
            bool memory = false;
            bool made = true;
            for (int i = 0; i < info.OpCount && made; i++)
            {
                made = SetOperand(ref instruction, i, info.GetOpKind(i), ref memory);
            }

            if (!made || VectorPool.DependsOnCpu(instruction)
                || (instruction.Mnemonic is Mnemonic.Rcl or Mnemonic.Rcr
                && instruction.Op1Kind == OpKind.Immediate8
                && ((instruction.Immediate8 & 31) % 9 == 0 || (instruction.Immediate8 & 31) == 17)))
            {
                continue;
            }

            if (memory && info.CanUseLockPrefix && _random.Next(6) == 0)
            {
                instruction.HasLockPrefix = true;
            }
            else if (info.CanUseRepPrefix && _random.Next(2) == 0)
            {
                instruction.HasRepPrefix = true;
            }
            else if (info.CanUseRepnePrefix && _random.Next(2) == 0)
            {
                instruction.HasRepnePrefix = true;
            }

            bytes.SetLength(0);
            var encoder = Iced.Intel.Encoder.Create(64, new StreamCodeWriter(bytes));
            VectorPool.Vary(encoder, _random);
            if (encoder.TryEncode(instruction, 0, out _, out _))
            {
                return VectorPool.WithPrefix(code, bytes.ToArray(), _random);
            }
        }
    }

    private bool SetOperand(ref Instruction instruction, int i, OpCodeOperandKind kind, ref bool memory)
    {
        string name = kind.ToString();
        if (name.StartsWith("mem_vsib", StringComparison.Ordinal))
        {
            memory = true;
            VectorPool.SetVectorIndex(ref instruction, i, name, _random, Pointers[_random.Next(5)],
                anyAddress: _single);
            return true;
        }

        if (name.EndsWith("_or_mem", StringComparison.Ordinal) && _random.Next(5) < 3)
        {
            memory = true;
            return SetMemory(ref instruction, i);
        }

        switch (kind)
        {
            case OpCodeOperandKind.mem:
                memory = true;
                return SetMemory(ref instruction, i);
            case OpCodeOperandKind.mem_offs:
                instruction.SetOpKind(i, OpKind.Memory);
                instruction.MemoryDisplSize = 8;
                instruction.MemoryDisplacement64 = TestLayout.Data + (uint)_random.Next(0x4000);
                return true;
            case OpCodeOperandKind.seg_reg:
                return SetFixed(ref instruction, i, Register.ES + _random.Next(6));
            case OpCodeOperandKind.sti_opcode:
                return SetFixed(ref instruction, i, Register.ST0 + _random.Next(8));
        }

        Register first = name switch
        {
            "r8_or_mem" or "r8_reg" or "r8_opcode" => Register.AL,
            "r16_or_mem" or "r16_reg" or "r16_opcode" or "r16_rm" => Register.AX,
            "r32_or_mem" or "r32_reg" or "r32_opcode" or "r32_rm" => Register.EAX,
            "r64_or_mem" or "r64_reg" or "r64_opcode" or "r64_rm" => Register.RAX,
            "mm_or_mem" or "mm_reg" or "mm_rm" => Register.MM0,
            "xmm_or_mem" or "xmm_reg" or "xmm_rm" or "xmm_vvvv" or "xmm_is4" => Register.XMM0,
            "ymm_or_mem" or "ymm_reg" or "ymm_rm" or "ymm_vvvv" or "ymm_is4" => Register.YMM0,
            "r32_vvvv" => Register.EAX,
            "r64_vvvv" => Register.RAX,
            _ => Register.None,
        };
        return first != Register.None ? SetRegister(ref instruction, i, first)
            : SetImplied(ref instruction, i, kind);
    }

    private bool SetRegister(ref Instruction instruction, int i, Register first)
    {
        int number = first switch
        {
            Register.RAX => Free[_random.Next(Free.Length)],
            Register.AL => _random.Next(20),
            Register.MM0 => _random.Next(8),
            Register.XMM0 or Register.YMM0 => _random.Next(16),
            _ => _random.Next(6) == 0 ? _random.Next(16) : Free[_random.Next(Free.Length)],
        };
        return SetFixed(ref instruction, i, first + number);
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
            OpCodeOperandKind.rax => Register.RAX,
            OpCodeOperandKind.st0 => Register.ST0,
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
            OpCodeOperandKind.imm8 or OpCodeOperandKind.imm8_const_1 => OpKind.Immediate8,
            OpCodeOperandKind.imm8sex16 => OpKind.Immediate8to16,
            OpCodeOperandKind.imm8sex32 => OpKind.Immediate8to32,
            OpCodeOperandKind.imm8sex64 => OpKind.Immediate8to64,
            OpCodeOperandKind.imm16 => OpKind.Immediate16,
            OpCodeOperandKind.imm32 => OpKind.Immediate32,
            OpCodeOperandKind.imm32sex64 => OpKind.Immediate32to64,
            OpCodeOperandKind.imm64 => OpKind.Immediate64,
            OpCodeOperandKind.seg_rSI => OpKind.MemorySegRSI,
            OpCodeOperandKind.seg_rDI => OpKind.MemorySegRDI,
            OpCodeOperandKind.es_rDI => OpKind.MemoryESRDI,
            _ => OpKind.Register,
        };
        if (kind == OpCodeOperandKind.seg_rBX_al)
        {
            instruction.SetOpKind(i, OpKind.Memory);
            instruction.MemoryBase = Register.RBX;
            instruction.MemoryIndex = Register.AL;
            return true;
        }

        instruction.SetOpKind(i, implied);
        if (implied == OpKind.Register)
        {
            return false;
        }

        if (implied is OpKind.MemorySegRSI or OpKind.MemorySegRDI or OpKind.MemoryESRDI)
        {
            return true;
        }

        ulong value = Value();
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
            case OpKind.Immediate8to64:
                instruction.Immediate8to64 = (sbyte)value;
                break;
            case OpKind.Immediate16:
                instruction.Immediate16 = (ushort)value;
                break;
            case OpKind.Immediate32to64:
                instruction.Immediate32to64 = (int)value;
                break;
            case OpKind.Immediate64:
                instruction.Immediate64 = value;
                break;
            default:
                instruction.Immediate32 = (uint)value;
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

    private bool SetMemory(ref Instruction instruction, int i)
    {
        instruction.SetOpKind(i, OpKind.Memory);
        bool aligned = instruction.MemorySize.GetSize() >= 16 && _random.Next(8) != 0;
        int mask = aligned ? ~15 : ~0;
        uint data = TestLayout.Data + (uint)(_random.Next(0x3F00) & mask);
        switch (_random.Next(16))
        {
            case 0:
                instruction.MemoryDisplSize = _random.Next(2) == 0 ? 8 : 4;
                instruction.MemoryDisplacement64 = data;
                return true;
            case 1 or 2:
                // Encoded at address 0, so the distance is what counts.
                instruction.MemoryBase = Register.RIP;
                instruction.MemoryDisplSize = 8;
                instruction.MemoryDisplacement64 = data - _start;
                return true;
            case 3 or 4:
                instruction.MemoryBase = Register.RSP;
                SetDisplacement(ref instruction, _random.Next(-64, 128) & mask);
                return true;
            case 5:
                instruction.SegmentPrefix = _random.Next(2) == 0 ? Register.FS : Register.GS;
                instruction.MemoryDisplSize = 8;
                instruction.MemoryDisplacement64 = (uint)(_random.Next(0x2000) & mask);
                return true;
            case 6:
                instruction.MemoryIndex = Register.RBP;
                instruction.MemoryIndexScale = 1 << _random.Next(4);
                instruction.MemoryDisplSize = 8;
                instruction.MemoryDisplacement64 = data;
                return true;
            case 7 or 8:
                instruction.MemoryIndex = Register.RBP;
                instruction.MemoryIndexScale = 1 << _random.Next(4);
                break;
            case 9:
                // A 32-bit address.
                instruction.MemoryBase = Register.EAX + (Pointers[_random.Next(5)] - Register.RAX);
                SetDisplacement(ref instruction, _random.Next(-128, 128) & mask);
                return true;
            case 10:
                instruction.MemoryBase = Register.RBP;
                instruction.MemoryIndex = _random.Next(2) == 0 ? Register.R9 : Register.R14;
                instruction.MemoryIndexScale = 1;
                SetDisplacement(ref instruction, _random.Next(-128, 128) & mask);
                return true;
        }

        instruction.MemoryBase = Pointers[_random.Next(Pointers.Length)];
        SetDisplacement(ref instruction, _random.Next(4) switch
        {
            0 => 0,
            1 => _random.Next(-0x900, 0x900) & mask,
            _ => _random.Next(-128, 128) & mask,
        });
        return true;
    }

    private static void SetDisplacement(ref Instruction instruction, int value)
    {
        instruction.MemoryDisplSize = value == 0 ? 0 : value is >= -128 and <= 127 ? 1 : 8;
        instruction.MemoryDisplacement64 = (ulong)(long)value;
    }

    private ulong Value() => StateVariation.NextWide(_random);

    private LongImage RandomState()
    {
        var low = new CpuImage();
        StateVariation.FillStack(low, _random, _random.Next(9));
        StateVariation.FillXmm(low, _random);
        var cpu = new LongImage();
        low.Fx.CopyTo(cpu.Fx, 0);
        for (int i = 0; i < 16; i++)
        {
            cpu.Gpr[i] = Value();
        }

        cpu.Gpr[1] = _random.Next(2) == 0 ? (uint)_random.Next(64) : cpu.Gpr[1];
        cpu.Gpr[5] = (uint)_random.Next(32) * 16;
        foreach (int pointer in (ReadOnlySpan<int>)[3, 6, 7, 9, 14])
        {
            cpu.Gpr[pointer] = TestLayout.Data + _random.Next(10) switch
            {
                0 => (uint)_random.Next(4) * 4096,
                1 => 0x1000 - (uint)_random.Next(16),
                2 => (uint)_random.Next(0x4000),
                _ => (uint)_random.Next(0x900, 0x3700) & ~15u,
            };
        }

        cpu.Gpr[4] = _random.Next(8) == 0 ? TestLayout.Stack + 0x1000 + (uint)_random.Next(-8, 9)
            : TestLayout.StackPointer - 0x200;
        cpu.Rflags = CpuImage.InitialEflags | ((uint)_random.Next() & Lhype.Cpu.EflagsBits.Arithmetic)
            | (_random.Next(8) == 0 ? Lhype.Cpu.EflagsBits.Direction : 0);
        cpu.FsBase = TestLayout.Data + 0x800;
        cpu.GsBase = TestLayout.Data + (uint)_random.Next(0x1000);
        return cpu;
    }
}
