// How each guest instruction becomes host code, in 32-bit flat mode for everything and in other modes for
// what does not touch stack or control flow. One dispatch switch; the families with more to say are in
// LoweringControl.cs.

using Iced.Intel;
using Lhype.Cpu.Mmu;
using Offset = Lhype.Cpu.CpuState.Offset;

namespace Lhype.Cpu.Translator;

internal sealed unsafe partial class Translator
{
    /// <summary>Emits one instruction. True if it ended the block.</summary>
    private bool Lower(in Instruction instruction)
    {
        InstructionKind kind = _classes.KindOf(instruction, _mode);
        NoteInstruction();
        EmitGroupCheck();
        if (Windowed && kind is InstructionKind.Copy or InstructionKind.Special && LeavesWindow(instruction))
        {
            return LowerTrap(instruction, stepsOut: true);
        }

        switch (kind)
        {
            case InstructionKind.Nop:
                return false;
            case InstructionKind.Copy:
                return LowerCopy(instruction);
            case InstructionKind.Trap:
                return LowerTrap(instruction);
        }

        if (instruction.IsStringInstruction && (instruction.HasRepPrefix || instruction.HasRepnePrefix))
        {
            LowerRepeatedString(instruction);
            ForgetNear();
            return false;
        }

        if (InstructionClasses.IsEmittedSystem(instruction, _mode))
        {
            ForgetNear();
            return LowerSystem(instruction);
        }

        switch (instruction.Mnemonic)
        {
            case Mnemonic.Jmp:
                return LowerJump(instruction);
            case Mnemonic.Call:
                return LowerCall(instruction);
            case Mnemonic.Ret:
                return LowerReturn(instruction);
            case Mnemonic.Jecxz or Mnemonic.Jrcxz or Mnemonic.Loop or Mnemonic.Loope or Mnemonic.Loopne:
                return LowerLoop(instruction);
            case Mnemonic.Push:
                LowerPush(instruction);
                return false;
            case Mnemonic.Pop:
                LowerPop(instruction);
                return false;
            case Mnemonic.Leave:
                LowerLeave(instruction);
                return false;
            case Mnemonic.Pushfd or Mnemonic.Pushfq:
                LowerPushFlags(instruction);
                return false;
            case Mnemonic.Cli:
                _emit.StoreImmediate(Host.State, Offset.InterruptFlag, 0);
                return false;
            case Mnemonic.Sti:
                return LowerSti(instruction);
            case Mnemonic.Cld or Mnemonic.Std:
                _emit.OpMemory(0xC7, 0, Host.State, Offset.DirectionStep, wide: true);
                _emit.Int32(instruction.Mnemonic == Mnemonic.Cld ? 1 : -1);
                return false;
            case Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc:
                LowerBitString(instruction);
                return false;
            case Mnemonic.Lodsb or Mnemonic.Lodsw or Mnemonic.Lodsd or Mnemonic.Lodsq:
                LowerLoadString(instruction);
                return false;
            case Mnemonic.Stosb or Mnemonic.Stosw or Mnemonic.Stosd or Mnemonic.Stosq:
                LowerStoreString(instruction);
                return false;
            case Mnemonic.Scasb or Mnemonic.Scasw or Mnemonic.Scasd or Mnemonic.Scasq:
                LowerScanString(instruction);
                return false;
            case Mnemonic.Movsb or Mnemonic.Movsw or Mnemonic.Movsd or Mnemonic.Movsq:
                LowerMoveString(instruction);
                return false;
            case Mnemonic.Cmpsb or Mnemonic.Cmpsw or Mnemonic.Cmpsd or Mnemonic.Cmpsq:
                LowerCompareString(instruction);
                return false;
            case Mnemonic.Lea:
                LowerLea(instruction);
                return false;
            case Mnemonic.Maskmovq or Mnemonic.Maskmovdqu or Mnemonic.Vmaskmovdqu:
                LowerMaskedStore(instruction);
                return false;
            case Mnemonic.Mov:
                LowerMoveFromSegment(instruction);
                return false;
            case Mnemonic.Vzeroupper:
                LowerZeroUpper();
                return false;
            case Mnemonic.Vmaskmovps or Mnemonic.Vmaskmovpd or Mnemonic.Vpmaskmovd or Mnemonic.Vpmaskmovq:
                return LowerMaskedMove(instruction);
            default:
                return LowerConditional(instruction);
        }
    }

    /// <summary>Host code from here on belongs to the current instruction.</summary>
    private void NoteInstruction() => Note(_current, Parked);

    private byte* CurrentBytes => _code + _offsets[_current];

    private bool LowerCopy(in Instruction instruction)
    {
        if (!HasMemoryOperand(instruction))
        {
            FlagsForBody(instruction);
            EmitCopy(instruction, OperandForm.None);
            return false;
        }

        if (IsSplitGather(instruction))
        {
            return LowerTrap(instruction);
        }

        if (Windowed && !_long && CopiesAddress(instruction))
        {
            NoteBody(instruction);
            InstructionCopy.Emit(_emit, CurrentBytes, instruction, OperandForm.Window);
            return false;
        }

        GetAccess(instruction, out bool read, out bool write);
        int size = instruction.MemorySize.GetSize();
        if (size == 0)
        {
            // An operand of unknown extent cannot be checked. None that the CPU models show is known to be
            // left.
            return LowerTrap(instruction);
        }

        BeginOperand(instruction, size, read, write, copied: true);
        EmitCopy(instruction, PointerForm);
        EndOperand();
        return false;
    }

    private void EmitCopy(in Instruction instruction, OperandForm form)
    {
        if (_long)
        {
            _longCopy.SetOperand(_operandBase, _operandIndex, _operandOffset);
            _longCopy.Emit(CurrentBytes, instruction, form != OperandForm.None);
            if (_longCopy.UsedScratch2)
            {
                ForgetNear();
            }
        }
        else
        {
            InstructionCopy.Emit(_emit, CurrentBytes, instruction, form);
        }
    }

    private OperandForm PointerForm => Windowed ? OperandForm.WindowPointer : OperandForm.Pointer;

    private static bool HasMemoryOperand(in Instruction instruction)
    {
        for (int i = 0; i < instruction.OpCount; i++)
        {
            if (instruction.GetOpKind(i) == OpKind.Memory)
            {
                return true;
            }
        }

        return false;
    }

    private void GetAccess(in Instruction instruction, out bool read, out bool write)
    {
        InstructionInfo info = _info.GetInfo(instruction, InstructionInfoOptions.NoRegisterUsage);
        read = false;
        write = false;
        for (int i = 0; i < instruction.OpCount; i++)
        {
            if (instruction.GetOpKind(i) == OpKind.Memory)
            {
                OpAccess access = info.GetOpAccess(i);
                read |= access
                    is OpAccess.Read or OpAccess.CondRead or OpAccess.ReadWrite or OpAccess.ReadCondWrite;
                write |= access is OpAccess.Write or OpAccess.CondWrite or OpAccess.ReadWrite
                    or OpAccess.ReadCondWrite;
            }
        }
    }

    /// <summary>Leaves to C# and comes back, unless the instruction ends the block.</summary>
    private bool LowerTrap(in Instruction instruction, bool stepsOut = false)
    {
        EnsureFlags();
        int index = AddTrap(instruction);
        _traps[index].StepsOut = stepsOut;
        _emit.MoveImmediate(Host.Scratch, index);
        _emit.Jump(_thunks.Trap);
        bool ends = _classes.EndsBlock(instruction, _mode) || SingleStep;
        if (!ends)
        {
            ContinueAfter(index);
        }

        return ends;
    }

    private int AddTrap(in Instruction instruction)
    {
        if (_trapCount == _traps.Length)
        {
            System.Array.Resize(ref _traps, _traps.Length * 2);
        }

        _traps[_trapCount] = new TrapSite
        {
            Instruction = instruction,
            GuestOffset = _offsets[_current],
            Charged = _segmentEnd[_current] - _current - 1,
            ChangesMode = !InstructionClasses.KeepsMode(instruction),
        };
        return _trapCount++;
    }

    private void LowerLea(in Instruction instruction)
    {
        Register destination = instruction.Op0Register;
        if (_long)
        {
            LowerLongLea(instruction);
            return;
        }

        bool wide = destination >= Register.EAX;
        bool address16 = IsAddress16(instruction);
        int target = wide ? Host.Of(Number(destination)) : Host.Address;
        EmitEffectiveAddress(target, instruction.MemoryBase, instruction.MemoryIndex,
            instruction.MemoryIndexScale,
            (int)instruction.MemoryDisplacement32, address16);
        if (!wide)
        {
            _emit.Byte(0x66);
            _emit.OpRegister(0x89, Host.Address, Host.Of(Number(destination)));
        }
    }

    /// <summary>LEA to a register of 64, 32 or 16 bits in 64-bit code.</summary>
    private void LowerLongLea(in Instruction instruction)
    {
        Register destination = instruction.Op0Register;
        if (destination >= Register.EAX)
        {
            EmitLongEffectiveAddress(TargetRegister(destination, Host.Scratch), instruction,
                destination >= Register.RAX);
        }
        else
        {
            EmitLongEffectiveAddress(Host.Address, instruction);
            int target = LoadedRegister(destination, Host.Scratch);
            _emit.Byte(0x66);
            _emit.OpRegister(0x89, Host.Address, target);
        }

        StoreLoaded(destination, Host.Scratch);
    }

    private void LowerPush(in Instruction instruction)
    {
        if (instruction.Op0Kind == OpKind.Memory)
        {
            BeginOperand(instruction, SlotBytes, read: true, write: false);
            EmitLoadOperand(Host.Scratch);
            _emit.Store(Host.Scratch, Host.State, Offset.Temp0, wide: _long);
            EndOperand();
        }

        BeginStackOperand(instruction, -SlotBytes, write: true);
        if (instruction.Op0Kind == OpKind.Memory)
        {
            _emit.Load(Host.Scratch, Host.State, Offset.Temp0, wide: _long);
            EmitStoreOperand(Host.Scratch);
        }
        else if (instruction.Op0Kind != OpKind.Register)
        {
            // In 64-bit code the immediate is sign-extended.
            EmitOnOperand(0xC7, 0, _long);
            _emit.Int32((int)instruction.GetImmediate(0));
        }
        else if (instruction.Op0Register.IsSegmentRegister())
        {
            // Some CPUs write two bytes, others the zero-extended selector (SDM vol. 2, PUSH).
            EmitLoadSelector(Host.Scratch, SegmentOf(instruction.Op0Register));
            EmitStoreOperand(Host.Scratch);
        }
        else
        {
            EmitStoreOperand(LoadedRegister(instruction.Op0Register, Host.Scratch));
        }

        _emit.Lea(Host.GuestEsp, Host.GuestEsp, -SlotBytes, wide: _long);
        EndOperand();
    }

    private void LowerPop(in Instruction instruction)
    {
        BeginStackOperand(instruction, 0, write: false);
        if (instruction.Op0Kind == OpKind.Register)
        {
            int destination = TargetRegister(instruction.Op0Register, Host.Scratch);
            EmitLoadOperand(destination);
            StoreLoaded(instruction.Op0Register, Host.Scratch);
            if (destination != Host.GuestEsp)
            {
                _emit.Lea(Host.GuestEsp, Host.GuestEsp, SlotBytes, wide: _long);
            }

            EndOperand();
            return;
        }

        // POP to memory computes an ESP-based address after ESP has been incremented, yet must not change ESP
        // if the store faults.
        EmitLoadOperand(Host.Scratch);
        _emit.Store(Host.Scratch, Host.State, Offset.Temp0, wide: _long);
        EndOperand();
        Instruction adjusted = instruction;
        if (adjusted.MemoryBase is Register.ESP or Register.RSP)
        {
            adjusted.MemoryDisplacement64 += (ulong)SlotBytes;
        }

        BeginOperand(adjusted, SlotBytes, read: false, write: true);
        _emit.Load(Host.Scratch, Host.State, Offset.Temp0, wide: _long);
        EmitStoreOperand(Host.Scratch);
        _emit.Lea(Host.GuestEsp, Host.GuestEsp, SlotBytes, wide: _long);
        EndOperand();
    }

    private void LowerLeave(in Instruction instruction)
    {
        _emit.Move(Host.Address, Host.Rbp, wide: _long);
        BeginAccess(instruction, SlotBytes, read: true, write: false, segmented: false, SegmentRegister.Ss);
        EmitLoadOperand(Host.Scratch);
        _emit.Lea(Host.GuestEsp, Host.Rbp, SlotBytes, wide: _long);
        _emit.Move(Host.Rbp, Host.Scratch, wide: _long);
        EndOperand();
    }

    /// <summary>PUSHFD at CPL 0: arithmetic flags from the host, the rest from the state; VM and RF read as
    /// 0.</summary>
    private void LowerPushFlags(in Instruction instruction)
    {
        EnsureFlags();
        _emit.Byte(0x9C);
        _emit.Bytes(0x41, 0x5A);
        _emit.Store(Host.Scratch2, Host.State, Offset.Temp0);
        BeginStackOperand(instruction, -SlotBytes, write: true);
        EnsureFlags();
        EmitPushFlagsBody();
        _emit.Lea(Host.GuestEsp, Host.GuestEsp, -SlotBytes, wide: _long);
        EndOperand();
    }

    private void EmitPushFlagsBody()
    {
        ForgetScratch();
        _emit.ParkFlags();
        _emit.Load(Host.Scratch, Host.State, Offset.Temp0);
        _emit.Arithmetic(4, Host.Scratch, (int)EflagsBits.Arithmetic);
        _emit.OpMemory(0x0B, Host.Scratch, Host.State, Offset.InterruptFlag);
        _emit.Load(Host.Scratch2, Host.State, Offset.SystemFlags);
        _emit.Arithmetic(4, Host.Scratch2, unchecked((int)~(EflagsBits.Virtual8086 | EflagsBits.Resume)));
        _emit.OpRegister(0x0B, Host.Scratch, Host.Scratch2);
        _emit.Load(Host.Scratch2, Host.State, Offset.DirectionStep);
        _emit.Arithmetic(4, Host.Scratch2, (int)EflagsBits.Direction);
        _emit.OpRegister(0x0B, Host.Scratch, Host.Scratch2);
        // The step is 1 or -1: bit 10 of it is DF.
        _emit.Arithmetic(1, Host.Scratch, 2);
        EmitStoreOperand(Host.Scratch);
        _emit.UnparkFlags();
    }

    /// <summary>STI at CPL 0. With an interrupt waiting it is left to C#, which runs one instruction more and
    /// then delivers; so "sti; nop; cli" in one block lets it in. Likewise where the block ends.</summary>
    private bool LowerSti(in Instruction instruction)
    {
        if (_current == _count - 1)
        {
            return LowerTrap(instruction);
        }

        int trap = AddTrap(instruction);
        FreeFlags();
        _emit.CompareMemory(Host.State, Offset.InterruptWaiting, 0);
        AddTrapStub(trap, Condition.NotEqual);
        _emit.StoreImmediate(Host.State, Offset.InterruptFlag, (int)EflagsBits.Interrupt);
        EnsureFlags();
        ContinueAfter(trap);
        return false;
    }

    /// <summary>BT, BTS, BTR, BTC with a memory bit string and a register offset: the operand is the word
    /// that holds the bit, but the host instruction wants the string's start, so the difference is taken off
    /// again.</summary>
    private void LowerBitString(in Instruction instruction)
    {
        Register source = instruction.Op1Register;
        int size = source < Register.EAX ? 2 : source < Register.RAX ? 4 : 8;
        SegmentRegister segment = SegmentOf(instruction.MemorySegment);
        bool write = instruction.Mnemonic != Mnemonic.Bt;
        bool segmented = NeedsSegmentCheck(segment, write);
        FreeFlags();
        EmitAddress(instruction, segment: null);
        EmitBitOffset(source, size);
        bool wideAddress = _long && instruction.MemoryBase is not (>= Register.EAX and <= Register.R15D)
            && instruction.MemoryIndex is not (>= Register.EAX and <= Register.R15D)
            && instruction.MemoryBase != Register.EIP && instruction.MemoryDisplSize != 4;
        _emit.OpRegister(0x01, Host.Scratch, Host.Address, wideAddress);
        if (!_long && IsAddress16(instruction))
        {
            _emit.TruncateTo16(Host.Address);
        }

        EmitSegmentBase(segmented ? null : segment);
        BeginAccess(instruction, size, read: true, write, segmented, segment);
        bool unparked = !Parked;
        if (unparked && _liveBefore[_current] != 0)
        {
            _emit.ParkFlags();
            Parked = true;
        }

        EmitBitOffset(source, size);
        _emit.OpRegister(0x29, Host.Scratch, Host.Address, wide: true);
        if (_liveBefore[_current] != 0)
        {
            _emit.UnparkFlags();
            Parked = false;
        }

        NoteInstruction();
        EmitCopy(instruction, PointerForm);
        EndOperand();
    }

    /// <summary>r9 = byte offset of the word that bit number <paramref name="register"/> falls into,
    /// sign-extended.</summary>
    private void EmitBitOffset(Register register, int size)
    {
        int source = LoadedRegister(register, Host.Scratch);
        switch (size)
        {
            case 2:
                _emit.Rex(true, Host.Scratch, 0, source, force: true);
                _emit.Bytes(0x0F, 0xBF, (byte)(0xC0 | ((Host.Scratch & 7) << 3) | (source & 7)));
                break;
            case 4:
                _emit.OpRegister(0x63, Host.Scratch, source, wide: true);
                break;
            default:
                _emit.Move(Host.Scratch, source, wide: true);
                break;
        }

        int log = size switch { 2 => 1, 4 => 2, _ => 3 };
        _emit.OpRegister(0xC1, 7, Host.Scratch, wide: true);
        _emit.Byte(log + 3);
        _emit.OpRegister(0xC1, 4, Host.Scratch, wide: true);
        _emit.Byte(log);
    }

    /// <summary>MASKMOVQ and MASKMOVDQU store through DS:EDI: EDI is lent to the host address for the one
    /// instruction.</summary>
    private void LowerMaskedStore(in Instruction instruction)
    {
        SegmentRegister segment = SegmentOf(instruction.MemorySegment);
        bool segmented = NeedsSegmentCheck(segment, write: true);
        _emit.Move(Host.Address, Host.Rdi, wide: instruction.Op0Kind == OpKind.MemorySegRDI);
        if (instruction.Op0Kind == OpKind.MemorySegDI)
        {
            _emit.TruncateTo16(Host.Address);
        }

        EmitSegmentBase(segmented ? null : segment);
        int size = instruction.Mnemonic == Mnemonic.Maskmovq ? 8 : 16;
        BeginAccess(instruction, size, read: true, write: true, segmented, segment);
        if (size == 8)
        {
            // A pending x87 exception must show while EDI is still the guest's.
            _emit.Byte(0x9B);
        }

        _emit.OpRegister(0x87, Host.Address, Host.Rdi, wide: true);
        EmitCopy(instruction, OperandForm.None);
        _emit.OpRegister(0x87, Host.Address, Host.Rdi, wide: true);
        EndOperand();
    }

    /// <summary>MOV r/m, Sreg: memory gets two bytes, a 32-bit register the zero-extended selector.</summary>
    private void LowerMoveFromSegment(in Instruction instruction)
    {
        SegmentRegister source = SegmentOf(instruction.Op1Register);
        if (instruction.Op0Kind == OpKind.Register)
        {
            Register destination = instruction.Op0Register;
            if (destination >= Register.EAX)
            {
                EmitLoadSelector(TargetRegister(destination, Host.Scratch), source);
                StoreLoaded(destination, Host.Scratch);
            }
            else
            {
                int host = LoadedRegister(destination, Host.Scratch2);
                EmitLoadSelector(Host.Scratch, source);
                _emit.Byte(0x66);
                _emit.OpRegister(0x89, Host.Scratch, host);
                StoreLoaded(destination, Host.Scratch2);
                ForgetNear();
            }

            return;
        }

        BeginOperand(instruction, 2, read: false, write: true);
        EmitLoadSelector(Host.Scratch, source);
        _emit.Byte(0x66);
        EmitOnOperand(0x89, Host.Scratch);
        EndOperand();
    }

    private void EmitLoadSelector(int destination, SegmentRegister segment)
    {
        _emit.Rex(false, destination, 0, Host.State, force: true);
        _emit.Bytes(0x0F, 0xB7);
        _emit.Memory(destination, Host.State, Offset.Segments + ((int)segment * 32) + 16);
    }
}
