// Gathers: one access for each element that the mask selects. Nothing is committed before the last access;
// what cannot be reached at once sends the whole instruction to C#, which knows what a gather leaves behind
// when it faults in the middle. Mask, indices and target go through memory of CpuState, where general
// registers reach their elements.
//
//      base, mask, indices and target to the buffer
//      for each element:   cmp mask, 0 / jns next
//                          r8 = base + index * scale, looked up as any operand
//                          mov r9, [r8] / mov target element, r9
//      target from the buffer; mask = 0

using Iced.Intel;
using Offset = Lhype.Cpu.CpuState.Offset;

namespace Lhype.Cpu.Translator;

internal sealed unsafe partial class Translator
{
    // The buffer is the one of bounced operands, which a gather never has.
    private const int GatherMask = Offset.Bounce, GatherIndex = Offset.Bounce + 32;
    private const int GatherData = Offset.Bounce + 64, GatherBase = Offset.Bounce + 96;

    private bool LowerGather(in Instruction instruction)
    {
        if (Windowed && !_long && CopiesAddress(instruction))
        {
            return LowerCopy(instruction);
        }

        if (instruction.MemorySegment is Register.FS or Register.GS
            || NeedsSegmentCheck(SegmentOf(instruction.MemorySegment), write: false))
        {
            return LowerTrap(instruction, stepsOut: Windowed && !_long);
        }

        int trap = AddTrap(instruction);
        bool longIndex = instruction.Mnemonic is Mnemonic.Vgatherqps or Mnemonic.Vgatherqpd
            or Mnemonic.Vpgatherqd or Mnemonic.Vpgatherqq;
        int size = instruction.MemorySize.GetSize(), indexSize = longIndex ? 8 : 4;
        int targetBytes = instruction.Op0Register.IsYMM() ? 32 : 16;
        int indexBytes = instruction.MemoryIndex.IsYMM() ? 32 : 16;
        int count = System.Math.Min(targetBytes / size, indexBytes / indexSize);
        bool wide = IsWideAddress(instruction);

        FreeFlags();
        NoteInstruction();
        Instruction start = instruction;
        start.MemoryIndex = Register.None;
        EmitAddress(start, segment: null);
        _emit.Store(Host.Address, Host.State, GatherBase, wide: true);
        EmitVectorMove(store: true, instruction.Op2Register, GatherMask);
        EmitVectorMove(store: true, instruction.MemoryIndex, GatherIndex);
        EmitVectorMove(store: true, instruction.Op0Register, GatherData);
        CodeLabel miss = new();
        for (int i = 0; i < count; i++)
        {
            _emit.CompareMemory(Host.State, GatherMask + ((i + 1) * size) - 4, 0);
            int next = _emit.JumpForward(Condition.NotSign);
            _emit.OpMemory(longIndex ? 0x8B : 0x63, Host.Address, Host.State, GatherIndex + (i * indexSize),
                wide: true);
            _emit.Load(Host.Scratch, Host.State, GatherBase, wide: true);
            _emit.LeaScaled(Host.Address, Host.Scratch, Host.Address, instruction.MemoryIndexScale, 0, wide);
            EmitElementAddress(size, miss);
            _emit.Load(Host.Scratch, Host.Address, 0, wide: size == 8);
            _emit.Store(Host.Scratch, Host.State, GatherData + (i * size), wide: size == 8);
            _emit.PatchHere(next);
        }

        if (count * size < 16)
        {
            _emit.OpMemory(0xC7, 0, Host.State, GatherData + 8, wide: true);
            _emit.Int32(0);
        }

        EmitVectorMove(store: false, instruction.Op0Register, GatherData);
        EmitZeroVector(instruction.Op2Register);
        EmitGatherEnd(trap, miss);
        return false;
    }

    /// <summary>r8 = host address of the element at linear r8, or off to <paramref name="miss"/>.</summary>
    private void EmitElementAddress(int size, CodeLabel miss)
    {
        if (Windowed)
        {
            EmitWindowAddress(NoHint);
            return;
        }

        bool wide = LongTags;
        int table = CpuState.DataTlbOffset((_mode & ModeKey.User) != 0, write: false);
        EmitTlbSlot();
        _emit.Lea(Host.Scratch2, Host.Address, size - 1, wide);
        _emit.Arithmetic(Alu.And, Host.Scratch2, -4096, wide);
        _emit.OpIndexed(0x3B, Host.Scratch2, Host.State, Host.Scratch, table, wide);
        _emit.Jump(Condition.NotEqual, miss);
        _emit.OpIndexed(0x03, Host.Address, Host.State, Host.Scratch, table + 8, wide: true);
    }

    private void EmitGatherEnd(int trap, CodeLabel miss)
    {
        bool parked = Parked;
        EnsureFlags();
        if (miss.Jumps.Count != 0)
        {
            int done = _emit.JumpForward();
            _emit.Bind(miss);
            if (parked)
            {
                _emit.UnparkFlags();
            }

            _emit.MoveImmediate(Host.Scratch, trap);
            _emit.Jump(_thunks.Trap);
            _emit.PatchHere(done);
        }

        ContinueAfter(trap);
    }

    /// <summary>The base, or without one the address size, has 64 bits.</summary>
    private bool IsWideAddress(in Instruction instruction) => _long
        && (instruction.MemoryBase != Register.None
            ? instruction.MemoryBase is >= Register.RAX and <= Register.R15
            : instruction.MemoryDisplSize == 8);

    /// <summary>vmovdqu between a register and the buffer.</summary>
    private void EmitVectorMove(bool store, Register register, int offset)
    {
        bool ymm = register.IsYMM();
        int number = register - (ymm ? Register.YMM0 : Register.XMM0);
        _emit.Bytes(0xC4, (byte)(number < 8 ? 0xC1 : 0x41), (byte)(ymm ? 0x7E : 0x7A),
            (byte)(store ? 0x7F : 0x6F));
        _emit.Memory(number, Host.State, offset);
    }

    /// <summary>vpxor xmm, xmm, xmm, which clears the upper half too.</summary>
    private void EmitZeroVector(Register register)
    {
        int number = register - (register.IsYMM() ? Register.YMM0 : Register.XMM0);
        _emit.Bytes(0xC4, (byte)(number < 8 ? 0xE1 : 0x41), (byte)(((~number & 15) << 3) | 1), 0xEF);
        _emit.Byte(0xC0 | ((number & 7) << 3) | (number & 7));
    }
}
