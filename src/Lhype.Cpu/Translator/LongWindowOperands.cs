// Memory operands of hot 64-bit programs (see Mmu/UserWindow.cs): no check, only a look into the table that
// says how far the host addresses of a TiB are away.
//
//      mov   r10, rbx / shr r10, 40
//      cmp   r10d, TiB / jne cold                  cold: mov r10, [r15 + r10 * 8 + Regions]; jmp back
//      mov   r10, distance
//      mov   rax, [rbx + r10 + 16]                 the guest's instruction
//
// The TiB is a guess (RegionHints). Where there is none, for RSP, and where flags are live:
//
//      rorx  r10, rbx, 40 / movzx r10d, r10w       without BMI2 flags are parked, then mov, shr
//      mov   r10, [r15 + r10 * 8 + Regions]
//
// which is shorter, but seven cycles longer on the way from one pointer to the next.
//
// What r10 holds for a base register serves all operands near it until the register changes by more than a
// little: the guards around a region are wider than everything such an operand can reach. An operand with an
// index is looked up by its whole address, in r8.
//
// Of an address that is not canonical the sixteen bits taken here, or the top byte, differ from those of
// every region: the look-up or the access faults.

using Iced.Intel;
using Lhype.Cpu.Mmu;
using Lhype.Host;
using Offset = Lhype.Cpu.CpuState.Offset;

namespace Lhype.Cpu.Translator;

internal sealed unsafe partial class Translator
{
    /// <summary>Farthest displacement from a base register, and farthest way the register may have gone since
    /// it was looked up.</summary>
    private const int MaxNear = 1 << 15;

    private const ulong NoHint = ulong.MaxValue;

    private readonly RegionHints _hints;
    private readonly bool _hasRotate;

    /// <summary>Guest register whose region r10 holds, or -1.</summary>
    private int _nearRegister = -1;
    /// <summary>How far it has moved since.</summary>
    private int _nearMoved;

    private ulong HintFor(in Instruction instruction) =>
        _hints.DependsOnLoad(instruction) ? _hints.AddressOf(instruction) : NoHint;

    private void ForgetNear() => _nearRegister = -1;

    /// <summary>The memory operand of the instruction is [_operandBase + _operandIndex + _operandOffset] from
    /// here on. The index may be r9 if the body leaves it alone (<paramref name="copied"/>).</summary>
    private void BeginWindowOperand(in Instruction instruction, bool copied)
    {
        PrepareFlags();
        bool plain = WantsPointer(instruction);
        if (IsNear(instruction))
        {
            int number = LongInstructionCopy.NumberOf(instruction.MemoryBase);
            EmitNear(number, instruction.MemoryBase, (int)instruction.MemoryDisplacement64,
                HintFor(instruction));
            if (plain)
            {
                _emit.LeaScaled(Host.Address, _operandBase, Host.Scratch2, 1, _operandOffset, wide: true);
                SetOperand(Host.Address, -1, 0);
            }

            return;
        }

        EmitAddress(instruction, SegmentOf(instruction.MemorySegment));
        EmitRegion(Host.Scratch, Host.Address, HintFor(instruction));
        if (plain || !copied)
        {
            _emit.LeaIndexed(Host.Address, Host.Address, Host.Scratch);
            SetOperand(Host.Address, -1, 0);
        }
        else
        {
            SetOperand(Host.Address, Host.Scratch, 0);
        }
    }

    /// <summary>The same for [RSP + <paramref name="displacement"/>].</summary>
    private void BeginWindowStackOperand(int displacement)
    {
        PrepareFlags();
        if (_hasRotate)
        {
            EmitNear(4, Register.RSP, displacement, NoHint);
            return;
        }

        _emit.Lea(Host.Address, Host.GuestEsp, displacement, wide: true);
        EmitWindowAddress(NoHint);
    }

    /// <summary>Parking and unparking flags changes r10, so it is done before an address is worked
    /// out.</summary>
    private void PrepareFlags()
    {
        if (_hasRotate)
        {
            EnsureFlags();
        }
        else
        {
            FreeFlags();
        }
    }

    /// <summary>r8, a linear address, becomes the host address. Changes r9.</summary>
    private void EmitWindowAddress(ulong hint)
    {
        if (!_hasRotate)
        {
            FreeFlags();
        }

        EmitRegion(Host.Scratch, Host.Address, hint);
        _emit.LeaIndexed(Host.Address, Host.Address, Host.Scratch);
        SetOperand(Host.Address, -1, 0);
    }

    /// <summary>The open operand is at a guest register plus a small displacement.</summary>
    private void EmitNear(int number, Register register, int displacement, ulong hint)
    {
        int host = LoadedRegister(register, Host.Address);
        if (_nearRegister != number)
        {
            EmitRegion(Host.Scratch2, host, number == 4 ? NoHint : hint);
            _nearRegister = number;
            _nearMoved = 0;
        }

        SetOperand(host, Host.Scratch2, displacement);
    }

    private void SetOperand(int hostBase, int index, int offset)
    {
        _operandBase = hostBase;
        _operandIndex = index;
        _operandOffset = offset;
    }

    private bool IsNear(in Instruction instruction) => _hasRotate
        && instruction.MemoryIndex == Register.None
        && instruction.MemoryBase is >= Register.RAX and <= Register.R15
        && instruction.MemorySegment is not (Register.FS or Register.GS)
        && (long)instruction.MemoryDisplacement64 is > -MaxNear and < MaxNear;

    /// <summary>True if LongInstructionCopy needs the operand at [r8]: it may lend r9 or r10 to registers
    /// that live in the state, and has no other form for AH to BH.</summary>
    private static bool WantsPointer(in Instruction instruction)
    {
        if (InstructionCopy.UsesHighByte(instruction))
        {
            return true;
        }

        for (int i = 0; i < instruction.OpCount; i++)
        {
            if (instruction.GetOpKind(i) == OpKind.Register
                && LongInstructionCopy.NumberOf(instruction.GetOpRegister(i)) >= 8)
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>destination = host minus linear address for the linear address in
    /// <paramref name="linear"/>, which may be near <paramref name="hint"/>.</summary>
    private void EmitRegion(int destination, int linear, ulong hint)
    {
        if ((Parked || _liveBefore[_current] == 0) && hint != NoHint
            && _memory.Window.TryGetAddend(hint, out ulong addend))
        {
            _emit.Move(destination, linear, wide: true);
            _emit.ShiftRight(destination, CpuState.RegionShift, wide: true);
            _emit.Arithmetic(Alu.Compare, destination, (int)(hint >> CpuState.RegionShift));
            int elsewhere = _emit.JumpForward(Condition.NotEqual);
            _emit.MoveImmediate64(destination, (long)addend);
            _cold[_coldCount++] = new ColdStub
            {
                Kind = ColdKind.Region,
                Patch = elsewhere,
                BodyStart = _emit.Offset,
                Index = _current,
                Target = destination,
            };
            return;
        }

        if (_hasRotate)
        {
            _emit.RotateRight64(destination, linear, CpuState.RegionShift);
            _emit.TruncateTo16(destination);
        }
        else
        {
            _emit.Move(destination, linear, wide: true);
            _emit.ShiftRight(destination, CpuState.RegionShift, wide: true);
        }

        EmitLoadRegion(destination);
    }

    private void EmitLoadRegion(int register) =>
        _emit.OpIndexed(0x8B, register, Host.State, register, Offset.Regions, wide: true, scale: 3);

    /// <summary>Another TiB than the one that was guessed.</summary>
    private void EmitColdRegion(in ColdStub stub)
    {
        Note(stub.Index, parked: Parked);
        EmitLoadRegion(stub.Target);
        _emit.Jump(stub.BodyStart);
    }

    /// <summary>Behind each instruction: is what r10 holds still good?</summary>
    private void FollowNear(in Instruction instruction)
    {
        if (Windowed && _long)
        {
            _hints.Follow(instruction);
        }

        if (_nearRegister < 0)
        {
            return;
        }

        if (!KeepsScratch(instruction))
        {
            ForgetNear();
        }
        else if (TryStep(instruction, out int step))
        {
            _nearMoved += step;
            if (_nearMoved is > -MaxNear and < MaxNear)
            {
                return;
            }
        }
        else if (!MayWrite(instruction, _nearRegister))
        {
            return;
        }

        ForgetNear();
    }

    /// <summary>True for the instructions whose lowering leaves r10 alone, or says so if it does
    /// not.</summary>
    private bool KeepsScratch(in Instruction instruction) => _classes.KindOf(instruction, _mode) switch
    {
        InstructionKind.Copy or InstructionKind.Nop => true,
        InstructionKind.Special => instruction.Mnemonic is Mnemonic.Push or Mnemonic.Pop or Mnemonic.Lea
            || instruction.IsJccShortOrNear,
        _ => false,
    };

    /// <summary>True if the instruction moves the register r10 stands for by a constant.</summary>
    private bool TryStep(in Instruction instruction, out int step)
    {
        step = 0;
        Register register = instruction.Op0Kind == OpKind.Register ? instruction.Op0Register : Register.None;
        bool named = register >= Register.RAX && LongInstructionCopy.NumberOf(register) == _nearRegister;
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Push when _nearRegister == 4:
                step = -8;
                return true;
            case Mnemonic.Pop when _nearRegister == 4 && register != Register.None && !named:
                step = 8;
                return true;
            case Mnemonic.Add or Mnemonic.Sub when named
                && instruction.Op1Kind is OpKind.Immediate8to64 or OpKind.Immediate32to64:
                long amount = (long)instruction.GetImmediate(1);
                step = (int)(instruction.Mnemonic == Mnemonic.Add ? amount : -amount);
                return amount is > -MaxNear and < MaxNear;
            case Mnemonic.Inc or Mnemonic.Dec when named:
                step = instruction.Mnemonic == Mnemonic.Inc ? 1 : -1;
                return true;
            case Mnemonic.Lea when named && IsNear(instruction)
                && LongInstructionCopy.NumberOf(instruction.MemoryBase) == _nearRegister:
                step = (int)instruction.MemoryDisplacement64;
                return true;
            default:
                return false;
        }
    }

    private bool MayWrite(in Instruction instruction, int number)
    {
        InstructionInfo info = _info.GetInfo(instruction, InstructionInfoOptions.NoMemoryUsage);
        foreach (UsedRegister used in info.GetUsedRegisters())
        {
            if (used.Access is not (OpAccess.Read or OpAccess.CondRead or OpAccess.None)
                && LongInstructionCopy.NumberOf(used.Register.GetFullRegister()) == number)
            {
                return true;
            }
        }

        return false;
    }
}
