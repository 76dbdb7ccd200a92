// String instructions in flat mode. Kernels' strcmp and friends are loops of LODS and SCAS, so these must not
// leave emitted code. Repeated forms run as the host's own instruction as far as one page reaches; what is
// left, and all rarer cases, C# runs page by page.

using Iced.Intel;
using Lhype.Cpu.Mmu;
using Offset = Lhype.Cpu.CpuState.Offset;

namespace Lhype.Cpu.Translator;

internal sealed unsafe partial class Translator
{
    /// <summary> REP MOVS and REP STOS upwards whose runs stay inside one page on each side: two TLB checks
    /// over the whole run, then the host's own instruction. Everything else (DF set, no or too many
    /// iterations, a TLB miss) goes to C#, which leaves off at the same place. One trip to C# costs more than
    /// copying a few hundred bytes. </summary>
    private void LowerRepeatedString(in Instruction instruction)
    {
        if (Windowed)
        {
            LowerRepeatedInWindow(instruction);
            return;
        }

        bool move = instruction.Mnemonic is Mnemonic.Movsb or Mnemonic.Movsw or Mnemonic.Movsd
            or Mnemonic.Movsq;
        if (!move && instruction.Mnemonic is not (Mnemonic.Stosb or Mnemonic.Stosw or Mnemonic.Stosd
            or Mnemonic.Stosq))
        {
            LowerRepeatedScan(instruction);
            return;
        }

        int size = instruction.MemorySize.GetSize();
        int trap = AddTrap(instruction);
        FreeFlags();
        _emit.CompareMemory(Host.State, Offset.DirectionStep, 1);
        AddTrapStub(trap, Condition.NotEqual);
        _emit.Lea(Host.Scratch, Host.Rcx, -1, wide: _long);
        _emit.Arithmetic(7, Host.Scratch, (4096 / size) - 1, wide: _long);
        AddTrapStub(trap, Condition.Above);
        if (move)
        {
            _emit.Move(Host.Address, Host.Rsi, wide: _long);
            EmitSegmentBase(SegmentOf(instruction.MemorySegment));
            EmitRunCheck(trap, size, write: false);
            _emit.Store(Host.Address, Host.State, Offset.Temp0, wide: true);
        }

        _emit.Move(Host.Address, Host.Rdi, wide: _long);
        EmitRunCheck(trap, size, write: true);
        _emit.Move(Host.Scratch2, Host.Rcx);
        EmitRunCharge();
        _emit.OpRegister(0x87, Host.Address, Host.Rdi, wide: true);
        _emit.Move(Host.Scratch, Host.Rcx);
        if (move)
        {
            _emit.Move(Host.Scratch2, Host.Rsi, wide: _long);
            _emit.Load(Host.Rsi, Host.State, Offset.Temp0, wide: true);
        }

        EmitRepeated(instruction);
        EmitIndexed(Host.Rdi, Host.Address, Host.Scratch, size);
        if (move)
        {
            EmitIndexed(Host.Rsi, Host.Scratch2, Host.Scratch, size);
        }

        EnsureFlags();
        ContinueAfter(trap);
    }

    /// <summary>Every REP string instruction, on host addresses. Where it faults, its registers say
    /// how far it came once they are cut to 32 bits again. Huge counts go to C#, which does them in pieces,
    /// so that interrupts get in.</summary>
    private void LowerRepeatedInWindow(in Instruction instruction)
    {
        const int MaxBytes = 1 << 20;
        int size = instruction.MemorySize.GetSize();
        bool source = instruction.Mnemonic is not (Mnemonic.Stosb or Mnemonic.Stosw or Mnemonic.Stosd
            or Mnemonic.Stosq or Mnemonic.Scasb or Mnemonic.Scasw or Mnemonic.Scasd or Mnemonic.Scasq);
        bool destination = instruction.Mnemonic is not (Mnemonic.Lodsb or Mnemonic.Lodsw or Mnemonic.Lodsd
            or Mnemonic.Lodsq);
        int trap = AddTrap(instruction);
        FreeFlags();
        _emit.Arithmetic(7, Host.Rcx, MaxBytes / size, wide: _long);
        AddTrapStub(trap, Condition.Above);
        if (_long)
        {
            _emit.CompareMemory(Host.State, Offset.DirectionStep, 1);
            AddTrapStub(trap, Condition.NotEqual);
            _emit.Move(Host.Scratch2, Host.Rcx);
            EmitRunCharge();
            LowerRepeatedInLongWindow(instruction, source, destination);
            ContinueAfter(trap);
            return;
        }

        _emit.Move(Host.Scratch2, Host.Rcx);
        EmitRunCharge();
        _emit.CompareMemory(Host.State, Offset.DirectionStep, 1);
        int upwards = _emit.JumpForward(Condition.Equal);
        _emit.Byte(0xFD);
        _emit.PatchHere(upwards);
        EnsureFlags();
        _emit.Load(Host.Scratch, Host.State, Offset.WindowBase, wide: true);
        NoteInstruction();
        if (source)
        {
            _emit.LeaIndexed(Host.Rsi, Host.Rsi, Host.Scratch);
        }

        if (destination)
        {
            _emit.LeaIndexed(Host.Rdi, Host.Rdi, Host.Scratch);
        }

        InstructionCopy.Emit(_emit, CurrentBytes, instruction, OperandForm.None);
        _emit.Byte(0xFC);
        if (source)
        {
            _emit.Move(Host.Rsi, Host.Rsi);
        }

        if (destination)
        {
            _emit.Move(Host.Rdi, Host.Rdi);
        }

        ContinueAfter(trap);
    }

    /// <summary>The same upwards in 64-bit code: r9 says how far the host addresses are from RSI, r10 from
    /// RDI (see TranslatorVcpu.TakeLentRegisters).</summary>
    private void LowerRepeatedInLongWindow(in Instruction instruction, bool source, bool destination)
    {
        if (source)
        {
            EmitRegion(Host.Scratch, Host.Rsi, NoHint);
        }

        if (destination)
        {
            EmitRegion(Host.Scratch2, Host.Rdi, NoHint);
        }

        if (source)
        {
            _emit.LeaIndexed(Host.Rsi, Host.Rsi, Host.Scratch);
        }

        if (destination)
        {
            _emit.LeaIndexed(Host.Rdi, Host.Rdi, Host.Scratch2);
        }

        if (Parked)
        {
            _emit.UnparkFlags(Host.Address);
            Parked = false;
        }

        NoteInstruction();
        EmitRepeated(instruction);

        // reg - x = reg + ~x + 1, which leaves the flags alone.
        if (source)
        {
            _emit.OpRegister(0xF7, 2, Host.Scratch, wide: true);
            _emit.LeaScaled(Host.Rsi, Host.Rsi, Host.Scratch, 1, 1, wide: true);
        }

        if (destination)
        {
            _emit.OpRegister(0xF7, 2, Host.Scratch2, wide: true);
            _emit.LeaScaled(Host.Rdi, Host.Rdi, Host.Scratch2, 1, 1, wide: true);
        }
    }

    /// <summary>The host's repeated instruction of the same name and size. Those that compare nothing take
    /// REPNE for REP.</summary>
    private void EmitRepeated(in Instruction instruction)
    {
        int size = instruction.MemorySize.GetSize();
        int opcode = StringOpcode(instruction.Mnemonic);
        _emit.Byte(instruction.HasRepnePrefix && opcode is (0xA6 or 0xAE) ? 0xF2 : 0xF3);
        if (size == 2)
        {
            _emit.Byte(0x66);
        }
        else if (size == 8)
        {
            _emit.Byte(0x48);
        }

        _emit.Byte(opcode | (size == 1 ? 0 : 1));
    }

    /// <summary>The byte form's opcode.</summary>
    private static int StringOpcode(Mnemonic mnemonic) => mnemonic switch
    {
        Mnemonic.Movsb or Mnemonic.Movsw or Mnemonic.Movsd or Mnemonic.Movsq => 0xA4,
        Mnemonic.Cmpsb or Mnemonic.Cmpsw or Mnemonic.Cmpsd or Mnemonic.Cmpsq => 0xA6,
        Mnemonic.Stosb or Mnemonic.Stosw or Mnemonic.Stosd or Mnemonic.Stosq => 0xAA,
        Mnemonic.Lodsb or Mnemonic.Lodsw or Mnemonic.Lodsd or Mnemonic.Lodsq => 0xAC,
        _ => 0xAE,
    };

    /// <summary>REPE and REPNE CMPS and SCAS upwards, to the end of the nearest page: a kernel's strlen asks
    /// for 4 GiB. If neither the count nor the comparison ended it there, C# goes on.</summary>
    private void LowerRepeatedScan(in Instruction instruction)
    {
        bool compare = instruction.Mnemonic is Mnemonic.Cmpsb or Mnemonic.Cmpsw or Mnemonic.Cmpsd
            or Mnemonic.Cmpsq;
        int size = instruction.MemorySize.GetSize();
        int trap = AddTrap(instruction);
        FreeFlags();
        _emit.CompareMemory(Host.State, Offset.DirectionStep, 1);
        AddTrapStub(trap, Condition.NotEqual);
        _emit.Move(Host.Scratch, Host.Rcx, wide: _long);
        _emit.OpRegister(0x85, Host.Scratch, Host.Scratch, wide: _long);
        AddTrapStub(trap, Condition.Equal);
        if (compare)
        {
            _emit.Move(Host.Address, Host.Rsi, wide: _long);
            EmitSegmentBase(SegmentOf(instruction.MemorySegment), Host.Scratch2);
            EmitToPageEnd(trap, Host.Address, size);
        }

        EmitToPageEnd(trap, Host.Rdi, size);
        _emit.Store(Host.Scratch, Host.State, Offset.Temp0);
        if (compare)
        {
            EmitPageCheck(trap);
            _emit.Store(Host.Address, Host.State, Offset.Temp1, wide: true);
        }

        _emit.Move(Host.Address, Host.Rdi, wide: _long);
        EmitPageCheck(trap);
        _emit.Load(Host.Scratch2, Host.State, Offset.Temp0);
        EmitRunCharge();

        // The guest's registers rest in r8 to r10. There is an iteration, so that all flags are replaced.
        Parked = false;
        _emit.OpRegister(0x87, Host.Address, Host.Rdi, wide: true);
        _emit.Move(Host.Scratch2, Host.Rcx, wide: _long);
        _emit.Load(Host.Rcx, Host.State, Offset.Temp0);
        if (compare)
        {
            _emit.Move(Host.Scratch, Host.Rsi, wide: _long);
            _emit.Load(Host.Rsi, Host.State, Offset.Temp1, wide: true);
        }

        EmitRepeated(instruction);

        // r11 = iterations done = Temp0 - ecx, without touching flags: -x = ~x + 1.
        _emit.OpRegister(0xF7, 2, Host.Rcx);
        _emit.Load(Host.Flags, Host.State, Offset.Temp0);
        EmitIndexed(Host.Flags, Host.Flags, Host.Rcx, 1);
        _emit.Lea(Host.Flags, Host.Flags, 1);
        EmitIndexed(Host.Rdi, Host.Address, Host.Flags, size);
        if (compare)
        {
            EmitIndexed(Host.Rsi, Host.Scratch, Host.Flags, size);
        }

        _emit.OpRegister(0xF7, 2, Host.Flags, wide: _long);
        EmitIndexed(Host.Rcx, Host.Scratch2, Host.Flags, 1);
        _emit.Lea(Host.Rcx, Host.Rcx, 1, wide: _long);
        EmitJumpIfRcxZero(6);
        AddTrapStub(trap, instruction.HasRepnePrefix ? Condition.NotEqual : Condition.Equal);
        ContinueAfter(trap);
    }

    /// <summary>r9d = the lesser of itself and the elements from the linear address in
    /// <paramref name="register"/> to the end of its page. Changes r10.</summary>
    private void EmitToPageEnd(int trap, int register, int size)
    {
        _emit.Move(Host.Scratch2, register);
        _emit.Arithmetic(Alu.Or, Host.Scratch2, -4096);
        _emit.OpRegister(0xF7, 3, Host.Scratch2);
        if (size > 1)
        {
            _emit.ShiftRight(Host.Scratch2, System.Numerics.BitOperations.Log2((uint)size));
            AddTrapStub(trap, Condition.Equal);
        }

        _emit.Operate(Alu.Compare, Host.Scratch2, Host.Scratch, wide: _long);
        // cmovb r9d, r10d
        _emit.Bytes(0x45, 0x0F, 0x42, 0xCA);
    }

    /// <summary>r8 = host address of the linear address in it, for reads inside one page. Changes r9,
    /// r10.</summary>
    private void EmitPageCheck(int trap)
    {
        int inside = EmitInMap(write: false);
        int table = CpuState.DataTlbOffset((_mode & ModeKey.User) != 0, write: false);
        EmitTlbSlot();
        _emit.Move(Host.Scratch2, Host.Address, wide: LongTags);
        EmitTlbCheck(trap, table);
        PatchMap(inside);
    }

    /// <summary>The TLB check of <see cref="BeginAccess"/> for ECX elements from the linear address in r8: r8
    /// becomes the host address.</summary>
    private void EmitRunCheck(int trap, int size, bool write)
    {
        int inside = EmitInMap(write);
        int table = CpuState.DataTlbOffset((_mode & ModeKey.User) != 0, write);
        EmitTlbSlot();
        EmitIndexed(Host.Scratch2, Host.Address, Host.Rcx, size);
        _emit.Lea(Host.Scratch2, Host.Scratch2, -1, wide: _long);
        EmitTlbCheck(trap, table);
        PatchMap(inside);
    }

    /// <summary>r9d = offset of the TLB entry for the linear address in r8.</summary>
    private void EmitTlbSlot()
    {
        _emit.Move(Host.Scratch, Host.Address);
        _emit.ShiftRight(Host.Scratch, 8);
        _emit.Arithmetic(Alu.And, Host.Scratch, (CpuState.TlbEntries - 1) << 4);
    }

    /// <summary>The page of the linear address in r10d must be that of the entry at r9; r8 += its
    /// addend.</summary>
    private void EmitTlbCheck(int trap, int table)
    {
        _emit.Arithmetic(Alu.And, Host.Scratch2, -4096, wide: LongTags);
        _emit.OpIndexed(0x3B, Host.Scratch2, Host.State, Host.Scratch, table, wide: LongTags);
        AddTrapStub(trap, Condition.NotEqual);
        _emit.OpIndexed(0x03, Host.Address, Host.State, Host.Scratch, table + 8, wide: true);
    }

    /// <summary>If this mode has a map and the address in r8 lies in it, r8 becomes the host address and the
    /// jump whose place is returned is taken. A run of at most 4096 bytes may begin there.</summary>
    private int EmitInMap(bool write)
    {
        if (!Mapped)
        {
            return -1;
        }

        int outside = EmitMapCheck(write);
        int inside = _emit.JumpForward();
        _emit.PatchHere(outside);
        return inside;
    }

    private void PatchMap(int inside)
    {
        if (inside >= 0)
        {
            _emit.PatchHere(inside);
        }
    }

    /// <summary>Charges the budget for r10d elements, 16 to an instruction: a long run must not keep timers
    /// and interrupts waiting. It counts as one instruction all the same, for the budget's start moves along.
    /// Changes r10 and flags.</summary>
    private void EmitRunCharge()
    {
        _emit.ShiftRight(Host.Scratch2, 4);
        _emit.Operate(Alu.Sub, Host.Counter, Host.Scratch2);
        _emit.OpMemory(0x29, Host.Scratch2, Host.State, Offset.BudgetStart);
    }

    private void AddTrapStub(int trap, int condition) => _cold[_coldCount++] = new ColdStub
    {
        Kind = ColdKind.Trap,
        Patch = _emit.JumpForward(condition),
        Target = trap,
        FlagsParked = Parked,
    };

    /// <summary>lea destination, [base + index * scale], 32 bits, or 64 in 64-bit code.</summary>
    private void EmitIndexed(int destination, int baseRegister, int index, int scale)
    {
        int scaleBits = scale switch { 1 => 0, 2 => 1, 4 => 2, _ => 3 };
        _emit.Rex(_long, destination, index, baseRegister, force: false);
        _emit.Bytes(0x8D, (byte)(0x04 | ((destination & 7) << 3)),
            (byte)((scaleBits << 6) | ((index & 7) << 3) | (baseRegister & 7)));
    }

    private void LowerLoadString(in Instruction instruction)
    {
        int size = instruction.MemorySize.GetSize();
        BeginSource(instruction, size);
        EmitSized(0x8A, size, Host.Rax);
        EmitStep(Host.Rsi, size);
        EndOperand();
    }

    private void LowerStoreString(in Instruction instruction)
    {
        int size = instruction.MemorySize.GetSize();
        BeginDestination(instruction, size, write: true);
        EmitSized(0x88, size, Host.Rax);
        EmitStep(Host.Rdi, size);
        EndOperand();
    }

    private void LowerScanString(in Instruction instruction)
    {
        int size = instruction.MemorySize.GetSize();
        BeginDestination(instruction, size, write: false);
        EmitSized(0x3A, size, Host.Rax);
        EmitStep(Host.Rdi, size);
        EndOperand();
    }

    private void LowerMoveString(in Instruction instruction)
    {
        int size = instruction.MemorySize.GetSize();
        EmitSourceToTemp(instruction, size);
        BeginDestination(instruction, size, write: true);
        _emit.Load(Host.Scratch, Host.State, Offset.Temp0, wide: size == 8);
        EmitSized(0x88, size, Host.Scratch);
        EmitStep(Host.Rsi, size);
        EmitStep(Host.Rdi, size);
        EndOperand();
    }

    private void LowerCompareString(in Instruction instruction)
    {
        int size = instruction.MemorySize.GetSize();
        EmitSourceToTemp(instruction, size);
        BeginDestination(instruction, size, write: false);
        _emit.Load(Host.Scratch, Host.State, Offset.Temp0, wide: size == 8);
        EmitSized(0x3A, size, Host.Scratch);
        EmitStep(Host.Rsi, size);
        EmitStep(Host.Rdi, size);
        EndOperand();
    }

    /// <summary>The element at [ESI], kept in Temp0 while the other operand is checked.</summary>
    private void EmitSourceToTemp(in Instruction instruction, int size)
    {
        BeginSource(instruction, size);
        EmitSized(0x8A, size, Host.Scratch);
        _emit.Store(Host.Scratch, Host.State, Offset.Temp0, wide: size == 8);
        EndOperand();
    }

    /// <summary>Checks a read at the (possibly overridden) segment:ESI.</summary>
    private void BeginSource(in Instruction instruction, int size)
    {
        SegmentRegister segment = SegmentOf(instruction.MemorySegment);
        bool segmented = NeedsSegmentCheck(segment, write: false);
        _emit.Move(Host.Address, Host.Rsi, wide: _long);
        EmitSegmentBase(segmented ? null : segment);
        BeginAccess(instruction, size, read: true, write: false, segmented, segment);
    }

    /// <summary>Checks an access at ES:EDI.</summary>
    private void BeginDestination(in Instruction instruction, int size, bool write)
    {
        _emit.Move(Host.Address, Host.Rdi, wide: _long);
        BeginAccess(instruction, size, !write, write, segmented: false, SegmentRegister.Es);
    }

    /// <summary>A byte opcode, or the 16-, 32- or 64-bit form one above it, on a register and
    /// [r8].</summary>
    private void EmitSized(int byteOpcode, int size, int register)
    {
        if (size == 2)
        {
            _emit.Byte(0x66);
        }

        EmitOnOperand(size == 1 ? byteOpcode : byteOpcode + 1, register, wide: size == 8);
    }

    /// <summary>register += DF step * size, without touching flags: lea reg, [reg + r9 * size].</summary>
    private void EmitStep(int register, int size)
    {
        _emit.Load(Host.Scratch, Host.State, Offset.DirectionStep, wide: true);
        EmitIndexed(register, register, Host.Scratch, size);
    }

    /// <summary>r8d += base of FS or GS; other segments are flat here.</summary>
    private void EmitSegmentBase(SegmentRegister? segment, int temporary = Host.Scratch)
    {
        if (segment is SegmentRegister.Fs or SegmentRegister.Gs)
        {
            _emit.Load(temporary, Host.State, Offset.Segments + ((int)segment * 32), wide: _long);
            EmitIndexed(Host.Address, Host.Address, temporary, 1);
        }
    }
}
