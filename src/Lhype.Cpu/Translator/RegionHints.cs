// Guesses in which TiB the memory operands of a block lie (see LongWindowOperands.cs). A block is translated
// when it is about to run, so the registers are there to look at; what the block loads into a register can
// mostly be looked up in the guest's memory too. A wrong guess costs time and nothing else.

using Iced.Intel;
using Lhype.Cpu.Mmu;

namespace Lhype.Cpu.Translator;

/// <summary>Likely values of the sixteen general registers while a block of 64-bit code is
/// translated.</summary>
internal sealed unsafe class RegionHints(CpuState* state, LinearMemory memory)
{
    private readonly ulong[] _values = new ulong[16];
    private ulong _codePage;
    private uint _loaded;

    /// <summary>A block of these instructions, at the current RIP, is about to be translated.</summary>
    internal void Begin(System.ReadOnlySpan<Instruction> instructions)
    {
        // Once through the block first: it may be a loop.
        _loaded = 0;
        foreach (ref readonly Instruction instruction in instructions)
        {
            FollowLoads(instruction);
        }

        for (int i = 0; i < 16; i++)
        {
            _values[i] = state->Gpr[i];
        }

        _codePage = state->Rip & ~4095UL;
    }

    /// <summary>True if the operand's address is worked out from something the block loads, so that the time
    /// until it is known counts.</summary>
    internal bool DependsOnLoad(in Instruction instruction) =>
        IsLoaded(instruction.MemoryBase) || IsLoaded(instruction.MemoryIndex);

    /// <summary>The likely linear address of the memory operand. Displacements of RIP-relative operands count
    /// for nothing: code and its data share a TiB.</summary>
    internal ulong AddressOf(in Instruction instruction)
    {
        if (instruction.MemoryBase is Register.RIP or Register.EIP)
        {
            return _codePage;
        }

        ulong address = instruction.MemoryDisplacement64 + ValueOf(instruction.MemoryBase)
            + (ValueOf(instruction.MemoryIndex) * (ulong)instruction.MemoryIndexScale);
        return instruction.MemorySegment switch
        {
            Register.FS => address + state->Segment(SegmentRegister.Fs).Base,
            Register.GS => address + state->Segment(SegmentRegister.Gs).Base,
            _ => address,
        };
    }

    /// <summary>The likely value of a general register; 0 for any other.</summary>
    internal ulong ValueOf(Register register)
    {
        int number = LongInstructionCopy.NumberOf(register);
        return number < 0 ? 0 : _values[number];
    }

    /// <summary>What the instruction does to the registers, as far as pointers go.</summary>
    internal void Follow(in Instruction instruction)
    {
        FollowLoads(instruction);
        if (instruction.OpCount == 0 || instruction.Op0Kind != OpKind.Register
            || instruction.Op0Register is not (>= Register.EAX and <= Register.R15))
        {
            return;
        }

        ref ulong value = ref _values[LongInstructionCopy.NumberOf(instruction.Op0Register)];
        bool wide = instruction.Op0Register >= Register.RAX;
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Mov when instruction.Op1Kind == OpKind.Register:
                value = ValueOf(instruction.Op1Register);
                break;
            case Mnemonic.Mov when instruction.Op1Kind == OpKind.Memory:
                value = memory.TryPeek(AddressOf(instruction), wide ? 8 : 4, out ulong loaded) ? loaded : 0;
                break;
            case Mnemonic.Mov:
                value = instruction.GetImmediate(1);
                break;
            case Mnemonic.Lea:
                value = AddressOf(instruction);
                break;
            case Mnemonic.Add when instruction.Op1Kind == OpKind.Register:
                value += ValueOf(instruction.Op1Register);
                break;
            case Mnemonic.Sub when instruction.Op1Kind == OpKind.Register:
                value -= ValueOf(instruction.Op1Register);
                break;
            case Mnemonic.Pop:
                value = memory.TryPeek(_values[4], 8, out ulong popped) ? popped : 0;
                break;
            case Mnemonic.Xor or Mnemonic.Movzx or Mnemonic.And:
                value = 0;
                break;
        }

        if (!wide)
        {
            value = (uint)value;
        }
    }

    private bool IsLoaded(Register register)
    {
        int number = LongInstructionCopy.NumberOf(register);
        return number >= 0 && (_loaded >> number & 1) != 0;
    }

    private void FollowLoads(in Instruction instruction)
    {
        int number = instruction.OpCount != 0 && instruction.Op0Kind == OpKind.Register
            ? LongInstructionCopy.NumberOf(instruction.Op0Register) : -1;
        if (number < 0 || instruction.Mnemonic is Mnemonic.Cmp or Mnemonic.Test or Mnemonic.Push)
        {
            return;
        }

        bool replaces = instruction.Mnemonic is Mnemonic.Mov or Mnemonic.Movzx or Mnemonic.Movsx
            or Mnemonic.Movsxd or Mnemonic.Lea or Mnemonic.Pop;
        bool loaded = instruction.Mnemonic == Mnemonic.Pop
            || (!replaces && (_loaded >> number & 1) != 0);
        for (int i = 1; i < instruction.OpCount; i++)
        {
            loaded |= instruction.GetOpKind(i) switch
            {
                OpKind.Register => IsLoaded(instruction.GetOpRegister(i)),
                OpKind.Memory => instruction.Mnemonic != Mnemonic.Lea || DependsOnLoad(instruction),
                _ => false,
            };
        }

        _loaded = (_loaded & ~(1U << number)) | (loaded ? 1U << number : 0);
    }
}
