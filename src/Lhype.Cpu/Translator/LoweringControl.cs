// Block heads, control transfers in flat 32-bit mode, and the cold stubs behind them. Direct jumps start out
// leading to a stub that asks C# for the target and is then patched away; indirect jumps find their target in
// the jump cache.

using Iced.Intel;
using Lhype.Cpu.Mmu;
using Offset = Lhype.Cpu.CpuState.Offset;

namespace Lhype.Cpu.Translator;

internal sealed unsafe partial class Translator
{
    private bool SingleStep => (_mode & ModeKey.SingleStep) != 0;

    /// <summary>The entries of a block (see <see cref="Block"/>), and for a page-crossing instruction the
    /// check that the second page is the one that was translated.</summary>
    private void EmitHead(ref Block block, bool crosses, ulong secondGpa)
    {
        _current = 0;
        int offset = block.GuestOffset;
        EmitIndirectEntry(offset);
        block.CheckedEntry = _emit.Offset;
        FreeFlags();
        _emit.OpRegister(0x85, Host.Counter, Host.Counter);
        _cold[_coldCount++] = new ColdStub
        {
            Kind = ColdKind.Poll,
            Patch = _emit.JumpForward(Condition.Sign),
            Target = offset,
            FlagsParked = Parked,
        };
        EnsureFlags();
        block.ForwardEntry = _emit.Offset;
        if (crosses)
        {
            EmitSecondPageCheck(offset, secondGpa);
        }

        EmitCharge(0);
    }

    /// <summary>Charges the budget for the segment that begins with instruction
    /// <paramref name="index"/>.</summary>
    private void EmitCharge(int index) =>
        _emit.Lea(Host.Counter, Host.Counter, index - _segmentEnd[index]);

    private void EmitSecondPageCheck(int offset, ulong secondGpa)
    {
        FreeFlags();
        _emit.Lea(Host.Scratch, Host.CodePage, 4096, wide: _long);
        EmitCodeTlbSlot(Host.Address, Host.Scratch, _mode);
        _emit.Arithmetic(1, Host.Scratch, (int)_mode, wide: _long);
        _emit.OpIndexed(0x3B, Host.Scratch, Host.State, Host.Address, Offset.CodeTlb, wide: true);
        AddCrossPageStub(offset);
        _emit.MoveImmediate64(Host.Scratch, (long)_cache.PageFor(secondGpa, _mode).Table);
        _emit.OpIndexed(0x3B, Host.Scratch, Host.State, Host.Address, Offset.CodeTlb + 8, wide: true);
        AddCrossPageStub(offset);
    }

    private void AddCrossPageStub(int offset) => _cold[_coldCount++] = new ColdStub
    {
        Kind = ColdKind.CrossPage,
        Patch = _emit.JumpForward(Condition.NotEqual),
        Target = offset,
        FlagsParked = Parked,
    };

    /// <summary>slot = byte offset of the code TLB entry for the linear address in
    /// <paramref name="linear"/> and the mode (see CpuState.CodeSlot).</summary>
    private void EmitCodeTlbSlot(int slot, int linear, uint mode)
    {
        _emit.Move(slot, linear);
        _emit.OpRegister(0xC1, 5, slot);
        _emit.Byte(7);
        _emit.Arithmetic(4, slot, (CpuState.CodeTlbEntries - 1) << 5);
        if ((mode & ModeKey.Slot) != 0)
        {
            _emit.Arithmetic(Alu.Xor, slot, (int)(mode & ModeKey.Slot) << (5 + CpuState.CodeSlotShift));
        }
    }

    private int TargetOffset(in Instruction instruction) =>
        _offsets[_current] + (int)instruction.NearBranchTarget;

    private bool LowerJump(in Instruction instruction)
    {
        if (IsDirect(instruction))
        {
            EmitDirectJump(TargetOffset(instruction));
            return true;
        }

        if (instruction.Op0Kind == OpKind.Memory)
        {
            BeginOperand(instruction, SlotBytes, read: true, write: false);
            EmitLoadOperand(Host.Scratch);
            EndOperand();
        }
        else
        {
            EmitTargetFromRegister(instruction);
        }

        EmitIndirectJump();
        return true;
    }

    private static bool IsDirect(in Instruction instruction) =>
        instruction.Op0Kind is OpKind.NearBranch32 or OpKind.NearBranch64;

    /// <summary>r9 = the register operand of a jump or call.</summary>
    private void EmitTargetFromRegister(in Instruction instruction)
    {
        int source = LoadedRegister(instruction.Op0Register, Host.Scratch);
        if (source != Host.Scratch)
        {
            _emit.Move(Host.Scratch, source, wide: _long);
        }
    }

    private bool LowerCall(in Instruction instruction)
    {
        // The stack operand leaves r8 alone where it is named by RSP and r10.
        bool inAddress = Windowed && _long && _hasRotate;
        if (instruction.Op0Kind == OpKind.Memory)
        {
            BeginOperand(instruction, SlotBytes, read: true, write: false);
            EmitLoadOperand(inAddress ? Host.Address : Host.Scratch);
            if (!inAddress)
            {
                _emit.Store(Host.Scratch, Host.State, Offset.Temp0, wide: _long);
            }

            EndOperand();
        }

        BeginStackOperand(instruction, -SlotBytes, write: true);
        if (_openOperand >= 0)
        {
            // A store that drops translated code goes on at the next instruction, which here is the target.
            _cold[_openOperand].Kind = ColdKind.StoreOrTrap;
            _cold[_openOperand].Target = AddTrap(instruction);
        }

        _emit.Lea(Host.Scratch, Host.CodePage, _offsets[_current + 1], wide: _long);
        EmitStoreOperand(Host.Scratch);
        if (instruction.Op0Kind == OpKind.Memory && inAddress)
        {
            _emit.Move(Host.Scratch, Host.Address, wide: true);
        }
        else if (instruction.Op0Kind == OpKind.Memory)
        {
            _emit.Load(Host.Scratch, Host.State, Offset.Temp0, wide: _long);
        }
        else if (instruction.Op0Kind == OpKind.Register)
        {
            EmitTargetFromRegister(instruction);
        }

        _emit.Lea(Host.GuestEsp, Host.GuestEsp, -SlotBytes, wide: _long);
        EndOperand();
        EnsureFlags();
        if (_jumps.TableOf(NextMode) < 0)
        {
            if (IsDirect(instruction))
            {
                EmitDirectJump(TargetOffset(instruction));
            }
            else
            {
                EmitIndirectJump();
            }

            return true;
        }

        EmitHostCall(instruction);
        return _current + 1 == _count;
    }

    /// <summary>
    /// Calls the translation with the host's CALL, so that its RET is predicted. On the return stack lie the
    /// host return address and above it this page's linear address. The RET arrives with the guest's return
    /// address in r9: if it is not the one behind this call, the stack and the guest disagree, and the jump
    /// cache decides. Entries are used only while mode, mappings and code are what they were at the call:
    /// whatever changes one of them empties the stack (LinearMemory.ForgetReturns, Thunks.Dispatch).
    /// </summary>
    private void EmitHostCall(in Instruction instruction)
    {
        int next = _offsets[_current] + instruction.Length;
        _emit.Bytes(0x41, 0x55);
        if (IsDirect(instruction))
        {
            _emit.Byte(0xE8);
            _emit.Int32(0);
            EmitLink(_emit.Offset - 4, TargetOffset(instruction), call: true);
        }
        else
        {
            EmitTableIndex();
            EmitThroughTable(call: true, _jumps.TableOf(NextMode));
        }

        // pop r13; ecx = r9 - (r13 + next) = r9 + ~(r13 + next) + 1; jecxz over the jump
        _emit.Bytes(0x41, 0x5D);
        _emit.Lea(Host.Scratch2, Host.CodePage, next, wide: _long);
        _emit.Bytes((byte)(0x41 | LongRex), 0xF7, 0xD2);
        _emit.Move(Host.Flags, Host.Rcx, wide: true);
        _emit.Bytes((byte)(0x43 | LongRex), 0x8D, 0x4C, 0x0A);
        _emit.Byte(0x01);
        EmitJumpIfRcxZero(0);
        int skip = _emit.Offset;
        _emit.Move(Host.Rcx, Host.Flags, wide: true);
        EmitCachedJump(NextMode);
        _emit.PatchByte(skip - 1, _emit.Offset - skip);
        _emit.Move(Host.Rcx, Host.Flags, wide: true);
        ForgetScratch();
        if (_current + 1 < _count)
        {
            EmitCharge(_current + 1);
        }
        else
        {
            EmitDirectJump(next);
        }
    }

    /// <summary>REX.W in 64-bit code, otherwise 0.</summary>
    private int LongRex => _long ? 8 : 0;

    /// <summary>jrcxz in 64-bit code, otherwise jecxz.</summary>
    private void EmitJumpIfRcxZero(int distance, bool narrow = false)
    {
        if (!_long || narrow)
        {
            _emit.Byte(0x67);
        }

        _emit.Bytes(0xE3, (byte)distance);
    }

    private bool LowerReturn(in Instruction instruction)
    {
        BeginStackOperand(instruction, 0, write: false);
        EmitLoadOperand(Host.Scratch);
        _emit.Lea(Host.GuestEsp, Host.GuestEsp,
            SlotBytes + (instruction.OpCount != 0 ? instruction.Immediate16 : 0), wide: _long);
        EndOperand();
        EnsureFlags();
        if (_jumps.TableOf(NextMode) < 0)
        {
            EmitIndirectJump();
        }
        else
        {
            _emit.Byte(0xC3);
        }

        return true;
    }

    private bool LowerConditional(in Instruction instruction)
    {
        EnsureFlags();
        int condition = instruction.ConditionCode - ConditionCode.o;
        EmitLink(_emit.JumpForward(condition), TargetOffset(instruction));
        if (_current + 1 < _count)
        {
            EmitCharge(_current + 1);
            return false;
        }

        EmitDirectJump(_offsets[_current + 1]);
        return true;
    }

    /// <summary>LOOPcc and JECXZ without touching flags: lea counts, jecxz tests.</summary>
    private bool LowerLoop(in Instruction instruction)
    {
        EnsureFlags();
        int target = TargetOffset(instruction);
        bool narrow = instruction.Code is Code.Jecxz_rel8_64 or Code.Loop_rel8_64_ECX
            or Code.Loope_rel8_64_ECX or Code.Loopne_rel8_64_ECX;
        if (instruction.Mnemonic is Mnemonic.Jecxz or Mnemonic.Jrcxz)
        {
            // jecxz taken; jmp next; taken: jmp target
            EmitJumpIfRcxZero(5, narrow);
            EmitDirectJump(_offsets[_current + 1]);
            EmitDirectJump(target);
            return true;
        }

        _emit.Lea(Host.Rcx, Host.Rcx, -1, wide: _long && !narrow);
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Loop:
                EmitJumpIfRcxZero(5, narrow);
                break;
            case Mnemonic.Loope:
                // jecxz skip; jne skip; jmp target; skip: jmp next
                EmitJumpIfRcxZero(7, narrow);
                _emit.Bytes(0x75, 0x05);
                break;
            default:
                EmitJumpIfRcxZero(7, narrow);
                _emit.Bytes(0x74, 0x05);
                break;
        }

        EmitDirectJump(target);
        EmitDirectJump(_offsets[_current + 1]);
        return true;
    }

    /// <summary>jmp to the block at <paramref name="target"/>, an offset from the linear address of this
    /// page.</summary>
    private void EmitDirectJump(int target)
    {
        EnsureFlags();
        EmitLink(_emit.JumpForward(), target);
    }

    private void EmitLink(int patch, int target, bool call = false) => _cold[_coldCount++] = new ColdStub
    {
        Kind = ColdKind.Link,
        Patch = patch,
        Target = target,
        Index = _current,
        MayLoop = call || target <= _offsets[_current] || target >= 4096,
    };

    /// <summary>Jump to the linear address in r9, through the jump cache of this mode (see
    /// <see cref="JumpCache"/>). No flags are touched.</summary>
    private void EmitIndirectJump()
    {
        EnsureFlags();
        EmitCachedJump(NextMode);
    }

    private void EmitCachedJump(uint mode)
    {
        int table = _jumps.TableOf(mode);
        if (table < 0)
        {
            _emit.Jump(0);
            return;
        }

        EmitTableIndex();
        EmitThroughTable(call: false, table);
    }

    /// <summary>r8d = half the offset of the jump cache entry for r9: lea r8d, [r9 * 8]; movzx r8d,
    /// r8w.</summary>
    private void EmitTableIndex()
    {
        _emit.Bytes(0x46, 0x8D, 0x04, 0xCD);
        _emit.Int32(0);
        _emit.TruncateTo16(Host.Address);
    }

    /// <summary>jmp or call [r15 + r8 * 2 + table].</summary>
    private void EmitThroughTable(bool call, int table)
    {
        _emit.Bytes(0x43, 0xFF, (byte)(call ? 0x94 : 0xA4), 0x47);
        _emit.Int32(table);
    }

    /// <summary>Only links from the grouped translation of the same code lead here.</summary>
    private bool IsUngrouped => _mode != ModeKey.Grouped(_mode);

    /// <summary>The mode in which code goes on behind this block.</summary>
    private uint NextMode => ModeKey.Grouped(_mode);

    /// <summary>Where the jump cache leads: r8 is still the index of the entry. The block is the right one if
    /// r9 plus the entry's negated linear address is 0; RCX is lent to the test, which leaves the flags
    /// alone.</summary>
    private void EmitIndirectEntry(int offset)
    {
        int table = IsUngrouped ? -1 : _jumps.TableOf(_mode);
        if (table < 0)
        {
            return;
        }

        // mov r10d, [r15 + r8 * 2 + table + 8]
        _emit.Bytes((byte)(0x47 | LongRex), 0x8B, 0x94, 0x47);
        _emit.Int32(table + 8);
        _emit.Move(Host.Flags, Host.Rcx, wide: true);
        // lea ecx, [r10 + r9]; jecxz over two instructions
        _emit.Bytes((byte)(0x43 | LongRex), 0x8D, 0x0C, 0x0A);
        EmitJumpIfRcxZero(8);
        _emit.Move(Host.Rcx, Host.Flags, wide: true);
        _emit.Jump(0);
        _emit.Move(Host.Rcx, Host.Flags, wide: true);
        _emit.Lea(Host.CodePage, Host.Scratch, -offset, wide: _long);
    }

    /// <summary> Emits a guard between pages: taken if this page is at <paramref name="fromLinear"/> and the
    /// target page's code TLB slot carries <paramref name="stamp"/>, it jumps to <paramref name="target"/>;
    /// otherwise it looks the target up. Returns its offset. </summary>
    internal int EmitPageGuard(uint mode, ulong fromLinear, ulong toLinear, int targetOffset, uint stamp,
        int target,
        bool flagsLive)
    {
        int start = _emit.Offset;
        int slot = CpuState.CodeSlot(toLinear, mode) * 32;
        if (flagsLive)
        {
            _emit.ParkFlags();
        }

        _long = (mode & ModeKey.Long) != 0;
        EmitComparePage(fromLinear);
        int miss1 = _emit.JumpForward(Condition.NotEqual);
        _emit.CompareMemory(Host.State, Offset.CodeTlb + slot + 16, (int)stamp);
        int miss2 = _emit.JumpForward(Condition.NotEqual);
        if (flagsLive)
        {
            _emit.UnparkFlags();
        }

        if (_long)
        {
            _emit.MoveConstant(Host.CodePage, (long)toLinear);
        }
        else
        {
            _emit.MoveImmediate(Host.CodePage, (int)toLinear);
        }

        _emit.Jump(target);
        _emit.PatchHere(miss1);
        _emit.PatchHere(miss2);
        if (flagsLive)
        {
            _emit.UnparkFlags();
        }

        _emit.Lea(Host.Scratch, Host.CodePage, targetOffset, wide: _long);
        EmitCachedJump(mode);
        return start;
    }

    /// <summary>cmp r13, page, by way of r9 if 32 bits do not hold it.</summary>
    private void EmitComparePage(ulong page)
    {
        if (!_long || (long)page == (int)page)
        {
            _emit.OpRegister(0x81, 7, Host.CodePage, wide: _long);
            _emit.Int32((int)page);
            return;
        }

        _emit.MoveConstant(Host.Scratch, (long)page);
        _emit.Operate(Alu.Compare, Host.CodePage, Host.Scratch, wide: true);
    }

    private void EmitColdStubs()
    {
        for (int i = 0; i < _coldCount; i++)
        {
            ref ColdStub stub = ref _cold[i];
            _emit.PatchHere(stub.Patch);
            switch (stub.Kind)
            {
                case ColdKind.Load or ColdKind.Store or ColdKind.StoreOrTrap:
                    EmitColdOperand(stub);
                    break;
                case ColdKind.Poll or ColdKind.CrossPage:
                    EmitColdHead(stub);
                    break;
                case ColdKind.Trap:
                    EmitColdTrap(stub);
                    break;
                case ColdKind.StackGroup:
                    EmitColdGroup(stub);
                    break;
                case ColdKind.Region:
                    EmitColdRegion(stub);
                    break;
                default:
                    EmitColdLink(stub);
                    break;
            }
        }
    }

    private void EmitColdOperand(in ColdStub stub)
    {
        Note(stub.Index, stub.FlagsParked);
        if (Mapped && (stub.Info & AccessInfo.Segmented) == 0)
        {
            int lookUp = _thunks.LookUp((int)(stub.Info & AccessInfo.SizeMask), stub.Kind != ColdKind.Load);
            if (lookUp != 0)
            {
                _emit.Call(lookUp);
                _emit.Jump(Condition.Equal, stub.BodyStart);
            }
        }

        _emit.MoveImmediate(Host.Scratch, (int)stub.Info);
        _emit.Call(PrepareFor(stub));
        if (stub.Kind == ColdKind.Load)
        {
            _emit.Jump(stub.BodyStart);
            return;
        }

        _emit.Jump(Condition.Equal, stub.BodyStart);
        if (stub.Kind == ColdKind.StoreOrTrap)
        {
            EmitColdTrap(stub);
            return;
        }

        _emit.CopyFrom(stub.BodyStart, stub.BodyEnd);
        _emit.Call(_thunks.Commit);
        // The return address of Commit stands for "the next instruction".
        Note(stub.Index + 1, stub.FlagsParked);
        _emit.Jump(stub.BodyEnd);
    }

    private int PrepareFor(in ColdStub stub) => stub.Stack ? _thunks.StackPrepare : _thunks.Prepare;

    private void EmitColdTrap(in ColdStub stub)
    {
        if (stub.FlagsParked)
        {
            _emit.UnparkFlags();
        }

        _emit.MoveImmediate(Host.Scratch, stub.Target);
        _emit.Jump(_thunks.Trap);
    }

    private void EmitColdHead(in ColdStub stub)
    {
        if (stub.FlagsParked)
        {
            _emit.UnparkFlags();
        }

        _emit.Lea(Host.Address, Host.CodePage, stub.Target, wide: _long);
        _emit.Jump(stub.Kind == ColdKind.Poll ? _thunks.Poll : _thunks.CrossPage);
    }

    private void EmitColdLink(in ColdStub stub)
    {
        int start = _emit.Offset;
        if (SingleStep || (_mode & ModeKey.Flat) == 0)
        {
            // Outside flat mode the run loop checks the CS limit before every block.
            _emit.Lea(Host.Scratch, Host.CodePage, stub.Target, wide: _long);
            _emit.Jump(0);
            return;
        }

        int link = _cache.AddLink(stub.Patch, start, stub.Target, !stub.MayLoop, stub.Ungrouped);
        _emit.Lea(Host.Address, Host.CodePage, stub.Target, wide: _long);
        _emit.MoveImmediate(Host.Scratch, link);
        _emit.Jump(_thunks.Link);
    }
}
