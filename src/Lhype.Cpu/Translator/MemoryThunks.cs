// The slow path of memory operands (see Operands.cs): the page walk in emitted code, and behind it the
// call of C#, which stays the reference for everything the walk declines.
//
// Prepare: r8 = linear address, r9d = AccessInfo. Returns r8 = host address with ZF set, or the bounce
// buffer with ZF clear. Changes r9, r10 and the host flags; the guest's are parked or dead. The walk
// takes what a running guest asks for all day and nothing else: one page of RAM, all rights given, A (and
// for a store D) already set. It enters the page into the TLBs and the log of the next flush exactly as
// LinearMemory.TryFill does. A missing right, an A or D bit to be set, a page crossing, MMIO, a store
// into a page that holds code, and any fault go to C#.
//
// Registers in the walk, all restored from ScratchGpr:
//   eax    guest-physical address of a table entry, then of the page; then the TLB entry's addend
//   rcx    the entry that was read; then the offset of the TLB entry
//   edx    the rights this access needs, as bits of a paging entry; then the length of the log
//   r10d   the rights the walk found: the AND of all levels, with D of the last; then the linear page
//   rsi    the page's flags, then the log;  rdi  the table of flags, then 0 if a store entry is allowed

using Lhype.Cpu.Mmu;
using Offset = Lhype.Cpu.CpuState.Offset;

namespace Lhype.Cpu.Translator;

internal sealed unsafe partial class Thunks
{
    private const int EntryPresent = 1 << 0, EntryWritable = 1 << 1, EntryAccessed = 1 << 5;
    private const int EntryDirty = 1 << 6, EntryLarge = 1 << 7;
    private const long EntryFrame = ((1L << PageWalk.PhysicalAddressBits) - 1) & ~4095L;
    private const int TableBytes = CpuState.TlbEntries * 16;

    private int EmitPrepare(nint function, int leave)
    {
        Align();
        int start = _emitter.Offset;
        CodeLabel slow = new();
        EmitScratch(store: true, PreparedRegisters);
        EmitWalk(slow);
        EmitScratch(store: false, PreparedRegisters);
        _emitter.Return();

        _emitter.Bind(slow);
        EmitPopReturn();
        _emitter.Store(Host.Scratch, Host.State, Offset.Temp1, wide: true);
        EmitNotePlace();
        EmitManagedCall(function, loadArguments: true);
        _emitter.Move(Host.Address, Host.Rax, wide: true);
        EmitLoadVectors();
        EmitScratch(store: false, PreparedRegisters);
        _emitter.OpRegister(0x85, Host.Address, Host.Address, wide: true);
        int toFault = _emitter.JumpForward(Condition.Equal);
        _emitter.CompareMemory(Host.State, Offset.BounceActive, 0);
        EmitJumpReturn();

        _emitter.PatchHere(toFault);
        _emitter.Load(Host.Scratch, Host.State, Offset.ThunkReturn, wide: true);
        _emitter.Store(Host.Scratch, Host.State, Offset.ExitHostPc, wide: true);
        _emitter.OpMemory(0xF7, 0, Host.State, Offset.Temp1);
        _emitter.Int32(unchecked((int)Mmu.AccessInfo.FlagsParked));
        int toExit = _emitter.JumpForward(Condition.Equal);
        _emitter.UnparkFlags();
        _emitter.PatchHere(toExit);
        _emitter.Patch(EmitReason(ExitReason.MemoryFault), leave);
        return start;
    }

    /// <summary>The check of BeginAccess as a routine, for a supervisor's operand outside the kernel's map.
    /// ZF tells whether r8 is the host address now or still the linear one. Changes r9, r10 and the host
    /// flags.</summary>
    private int EmitLookUp(int size, bool write)
    {
        Align();
        int start = _emitter.Offset;
        CodeLabel miss = new();
        int table = CpuState.DataTlbOffset(user: false, write);
        EmitSlot();
        _emitter.Lea(Host.Scratch2, Host.Address, size - 1);
        _emitter.Arithmetic(Alu.And, Host.Scratch2, -4096);
        _emitter.OpIndexed(0x3B, Host.Scratch2, Host.State, Host.Scratch, table);
        _emitter.Jump(Condition.NotEqual, miss);
        _emitter.OpIndexed(0x8B, Host.Scratch2, Host.State, Host.Scratch, table + 8, wide: true);
        _emitter.LeaIndexed(Host.Address, Host.Address, Host.Scratch2);
        _emitter.Bind(miss);
        _emitter.Return();
        return start;
    }

    /// <summary>The walk. Falls through with r8 = host address and ZF set, or jumps to
    /// <paramref name="slow"/> with r8 and r9 as they were and nothing changed that matters.</summary>
    private void EmitWalk(CodeLabel slow)
    {
        CodeLabel found = new();
        EmitWalkChecks(slow);
        _emitter.Load(Host.Rsi, Host.State, Offset.WalkKind);
        _emitter.Arithmetic(Alu.Compare, Host.Rsi, (int)WalkKind.Pae);
        CodeLabel pae = new();
        CodeLabel four = new();
        _emitter.Jump(Condition.Equal, pae);
        _emitter.Jump(Condition.Above, four);
        _emitter.OpRegister(0x85, Host.Rsi, Host.Rsi);
        _emitter.Jump(Condition.Equal, slow);
        EmitWalk32(slow, found);
        _emitter.Bind(four);
        EmitWalkLong(slow, found);
        _emitter.Bind(pae);
        EmitWalkPae(slow, found);
        _emitter.Bind(found);
        EmitFill(slow);
    }

    /// <summary>One page, aligned if it must be; edx = the rights needed.</summary>
    private void EmitWalkChecks(CodeLabel slow)
    {
        CodeLabel anyAlignment = new();
        _emitter.Test(Host.Scratch, unchecked((int)AccessInfo.Segmented));
        _emitter.Jump(Condition.NotEqual, slow);
        _emitter.Move(Host.Rax, Host.Scratch);
        _emitter.Arithmetic(Alu.And, Host.Rax, (int)AccessInfo.SizeMask);
        _emitter.Move(Host.Rcx, Host.Address);
        _emitter.Arithmetic(Alu.And, Host.Rcx, 4095);
        _emitter.Operate(Alu.Add, Host.Rcx, Host.Rax);
        _emitter.Arithmetic(Alu.Compare, Host.Rcx, 4096);
        _emitter.Jump(Condition.Above, slow);
        _emitter.Test(Host.Scratch, (int)AccessInfo.Aligned);
        _emitter.Jump(Condition.Equal, anyAlignment);
        _emitter.Test(Host.Address, 15);
        _emitter.Jump(Condition.NotEqual, slow);
        _emitter.Bind(anyAlignment);

        // AccessInfo has Write in bit 16 and User in bit 17; an entry has them in bits 1 and 2.
        _emitter.Move(Host.Rdx, Host.Scratch);
        _emitter.ShiftRight(Host.Rdx, 15);
        _emitter.Arithmetic(Alu.And, Host.Rdx, 6);
        _emitter.Move(Host.Rsi, Host.Rdx);
        _emitter.Arithmetic(Alu.And, Host.Rsi, EntryWritable);
        _emitter.ShiftLeft(Host.Rsi, 5);
        _emitter.Operate(Alu.Or, Host.Rdx, Host.Rsi);
        _emitter.Arithmetic(Alu.Or, Host.Rdx, EntryPresent | EntryAccessed);
    }

    /// <summary>SDM vol. 3, 4.3. Leaves rax = page, ecx = last entry, r10d = rights.</summary>
    private void EmitWalk32(CodeLabel slow, CodeLabel found)
    {
        CodeLabel large = new();
        _emitter.Load(Host.Rax, Host.State, Offset.Cr3);
        _emitter.Arithmetic(Alu.And, Host.Rax, -4096);
        EmitTableEntry(slow, indexShift: 20, indexMask: 0xFFC, wide: false);
        _emitter.Test(Host.Rcx, EntryLarge);
        _emitter.Jump(Condition.NotEqual, large);
        _emitter.Move(Host.Scratch2, Host.Rcx);
        _emitter.Arithmetic(Alu.Or, Host.Scratch2, EntryDirty);
        _emitter.Move(Host.Rax, Host.Rcx);
        _emitter.Arithmetic(Alu.And, Host.Rax, -4096);
        EmitTableEntry(slow, indexShift: 10, indexMask: 0xFFC, wide: false);
        _emitter.Operate(Alu.And, Host.Scratch2, Host.Rcx);
        _emitter.Move(Host.Rax, Host.Rcx);
        _emitter.Arithmetic(Alu.And, Host.Rax, -4096);
        _emitter.Jump(found);

        // A 4 MiB page; C# knows PSE-36 and the reserved bit.
        _emitter.Bind(large);
        _emitter.CompareMemory(Host.State, Offset.WalkKind, (int)WalkKind.LegacyLarge);
        _emitter.Jump(Condition.NotEqual, slow);
        _emitter.Test(Host.Rcx, 0x3F_E000);
        _emitter.Jump(Condition.NotEqual, slow);
        EmitLargePage(unchecked((int)0xFFC0_0000));
        _emitter.Jump(found);
    }

    /// <summary>SDM vol. 3, 4.4, with the PDPTEs of the last CR3 load.</summary>
    private void EmitWalkPae(CodeLabel slow, CodeLabel found)
    {
        CodeLabel large = new();
        _emitter.Move(Host.Rcx, Host.Address);
        _emitter.ShiftRight(Host.Rcx, 30);
        _emitter.OpIndexed(0x8B, Host.Rax, Host.State, Host.Rcx, Offset.Pdpte, wide: true, scale: 3);
        _emitter.Test(Host.Rax, EntryPresent);
        _emitter.Jump(Condition.Equal, slow);
        _emitter.MoveImmediate64(Host.Scratch2, EntryFrame);
        _emitter.Operate(Alu.And, Host.Rax, Host.Scratch2, wide: true);
        EmitTableEntry(slow, indexShift: 18, indexMask: 0xFF8, wide: true);
        _emitter.Test(Host.Rcx, EntryLarge);
        _emitter.Jump(Condition.NotEqual, large);
        _emitter.MoveImmediate64(Host.Rax, EntryFrame);
        _emitter.Operate(Alu.And, Host.Rax, Host.Rcx, wide: true);
        _emitter.Move(Host.Scratch2, Host.Rcx);
        _emitter.Arithmetic(Alu.Or, Host.Scratch2, EntryDirty);
        EmitTableEntry(slow, indexShift: 9, indexMask: 0xFF8, wide: true);
        _emitter.Operate(Alu.And, Host.Scratch2, Host.Rcx);
        _emitter.MoveImmediate64(Host.Rax, EntryFrame);
        _emitter.Operate(Alu.And, Host.Rax, Host.Rcx, wide: true);
        _emitter.Jump(found);

        _emitter.Bind(large);
        _emitter.Test(Host.Rcx, 0x1F_E000);
        _emitter.Jump(Condition.NotEqual, slow);
        _emitter.MoveImmediate64(Host.Rax, EntryFrame);
        _emitter.Operate(Alu.And, Host.Rax, Host.Rcx, wide: true);
        _emitter.ShiftRight(Host.Rax, 32, wide: true);
        _emitter.Jump(Condition.NotEqual, slow);
        EmitLargePage(unchecked((int)0xFFE0_0000));
    }

    /// <summary>SDM vol. 3, 4.5. Pages of 1 GiB and addresses that are not canonical go to C#.</summary>
    private void EmitWalkLong(CodeLabel slow, CodeLabel found)
    {
        CodeLabel large = new();
        _emitter.Move(Host.Rsi, Host.Address, wide: true);
        _emitter.ShiftLeft(Host.Rsi, 16, wide: true);
        _emitter.OpRegister(0xC1, 7, Host.Rsi, wide: true);
        _emitter.Byte(16);
        _emitter.Operate(Alu.Compare, Host.Rsi, Host.Address, wide: true);
        _emitter.Jump(Condition.NotEqual, slow);
        _emitter.MoveImmediate(Host.Scratch2, -1);
        _emitter.MoveImmediate64(Host.Rax, EntryFrame);
        _emitter.OperateLoad(Alu.And, Host.Rax, Host.State, Offset.Cr3, wide: true);
        for (int level = 3; level > 0; level--)
        {
            EmitTableEntry(slow, indexShift: 9 + (9 * level), indexMask: 0xFF8, wide: true, four: true);
            _emitter.Test(Host.Rcx, EntryLarge);
            _emitter.Jump(Condition.NotEqual, level == 1 ? large : slow);
            _emitter.MoveImmediate64(Host.Rax, EntryFrame);
            _emitter.Operate(Alu.And, Host.Rax, Host.Rcx, wide: true);
            _emitter.Arithmetic(Alu.Or, Host.Rcx, EntryDirty);
            _emitter.Operate(Alu.And, Host.Scratch2, Host.Rcx);
        }

        EmitTableEntry(slow, indexShift: 9, indexMask: 0xFF8, wide: true, four: true);
        _emitter.Operate(Alu.And, Host.Scratch2, Host.Rcx);
        _emitter.MoveImmediate64(Host.Rax, EntryFrame);
        _emitter.Operate(Alu.And, Host.Rax, Host.Rcx, wide: true);
        _emitter.Jump(found);

        _emitter.Bind(large);
        _emitter.Test(Host.Rcx, 0x1F_E000);
        _emitter.Jump(Condition.NotEqual, slow);
        _emitter.Operate(Alu.And, Host.Scratch2, Host.Rcx);
        _emitter.MoveImmediate64(Host.Rax, EntryFrame & ~0x1F_FFFFL);
        _emitter.Operate(Alu.And, Host.Rax, Host.Rcx, wide: true);
        EmitPieceOfLarge(0x1F_F000);
        _emitter.Jump(found);
    }

    /// <summary>rax += the 4 KiB piece of the large page at rax; INVLPG will know of it.</summary>
    private void EmitPieceOfLarge(int offsetMask)
    {
        _emitter.Move(Host.Rsi, Host.Address);
        _emitter.Arithmetic(Alu.And, Host.Rsi, offsetMask);
        _emitter.Operate(Alu.Or, Host.Rax, Host.Rsi, wide: true);
        _emitter.Move(Host.Rsi, Host.Address);
        _emitter.ShiftRight(Host.Rsi, 21);
        _emitter.SetBit(Host.Rsi, Host.State, Offset.LargeRegions);
    }

    /// <summary>rax = the 4 KiB piece of the large page of entry ecx; INVLPG will know of it.</summary>
    private void EmitLargePage(int frameMask)
    {
        _emitter.Move(Host.Scratch2, Host.Rcx);
        _emitter.Move(Host.Rax, Host.Rcx);
        _emitter.Arithmetic(Alu.And, Host.Rax, frameMask);
        EmitPieceOfLarge(~frameMask & -4096);
    }

    /// <summary>rcx = the entry for the linear address in the table at guest-physical rax. An 8-byte entry
    /// with a bit above the physical address goes to C#, except NX where it is enabled.</summary>
    private void EmitTableEntry(CodeLabel slow, int indexShift, int indexMask, bool wide, bool four = false)
    {
        _emitter.Move(Host.Rcx, Host.Address, wide: four);
        _emitter.ShiftRight(Host.Rcx, indexShift, wide: four);
        _emitter.Arithmetic(Alu.And, Host.Rcx, indexMask);
        _emitter.Operate(Alu.Add, Host.Rax, Host.Rcx, wide: true);
        EmitRamPageFlags(slow);
        _emitter.OperateLoad(Alu.Add, Host.Rax, Host.State, Offset.RamBase, wide: true);
        _emitter.Load(Host.Rcx, Host.Rax, 0, wide);
        if (!wide)
        {
            return;
        }

        CodeLabel executable = new();
        _emitter.Move(Host.Rsi, Host.Rcx, wide: true);
        _emitter.ShiftRight(Host.Rsi, PageWalk.PhysicalAddressBits, wide: true);
        if (four)
        {
            // Bits 52 to 62 are the guest's own in four-level paging.
            _emitter.Arithmetic(Alu.And, Host.Rsi, (1 << (63 - PageWalk.PhysicalAddressBits))
                | ((1 << (52 - PageWalk.PhysicalAddressBits)) - 1));
        }

        _emitter.Jump(Condition.Equal, executable);
        _emitter.Arithmetic(Alu.Compare, Host.Rsi, 1 << (63 - PageWalk.PhysicalAddressBits));
        _emitter.Jump(Condition.NotEqual, slow);
        _emitter.TestMemory(Host.State, Offset.Efer, (int)ControlBits.EferNoExecute);
        _emitter.Jump(Condition.Equal, slow);
        _emitter.Bind(executable);
    }

    /// <summary>esi = flags of the page of guest-physical rax, which is RAM.</summary>
    private void EmitRamPageFlags(CodeLabel slow)
    {
        _emitter.OperateLoad(Alu.Compare, Host.Rax, Host.State, Offset.RamEnd, wide: true);
        _emitter.Jump(Condition.NotBelow, slow);
        _emitter.Move(Host.Rsi, Host.Rax, wide: true);
        _emitter.ShiftRight(Host.Rsi, 12, wide: true);
        _emitter.Load(Host.Rdi, Host.State, Offset.PageFlags, wide: true);
        _emitter.LoadByteIndexed(Host.Rsi, Host.Rdi, Host.Rsi);
        _emitter.Test(Host.Rsi, PageFlag.Device);
        _emitter.Jump(Condition.NotEqual, slow);
    }

    /// <summary>Checks the rights, then enters the page into the TLBs.</summary>
    private void EmitFill(CodeLabel slow)
    {
        CodeLabel local = new();
        CodeLabel load = new();
        CodeLabel supervisor = new();
        CodeLabel done = new();
        EmitRamPageFlags(slow);
        _emitter.Move(Host.Rdi, Host.Scratch2);
        _emitter.Operate(Alu.And, Host.Rdi, Host.Rdx);
        _emitter.Operate(Alu.Compare, Host.Rdi, Host.Rdx);
        _emitter.Jump(Condition.NotEqual, slow);
        _emitter.Move(Host.Rdi, Host.Scratch2);
        _emitter.Arithmetic(Alu.And, Host.Rdi, EntryWritable | EntryDirty);
        _emitter.Arithmetic(Alu.Xor, Host.Rdi, EntryWritable | EntryDirty);
        _emitter.Operate(Alu.Or, Host.Rdi, Host.Rsi);
        _emitter.Test(Host.Scratch, (int)AccessInfo.Write);
        _emitter.Jump(Condition.Equal, load);
        _emitter.OpRegister(0x85, Host.Rsi, Host.Rsi);
        _emitter.Jump(Condition.NotEqual, slow);
        _emitter.Bind(load);

        _emitter.Load(Host.Rsi, Host.State, Offset.LocalLog, wide: true);
        _emitter.OpMemory(0x85, Host.Rcx, Host.State, Offset.GlobalBit);
        _emitter.Jump(Condition.Equal, local);
        _emitter.Load(Host.Rsi, Host.State, Offset.GlobalLog, wide: true);
        _emitter.Bind(local);
        _emitter.Load(Host.Rdx, Host.Rsi, 0);
        _emitter.Arithmetic(Alu.Compare, Host.Rdx, TlbLog.Capacity - 2);
        _emitter.Jump(Condition.Above, slow);

        _emitter.Move(Host.Rcx, Host.Address);
        _emitter.ShiftRight(Host.Rcx, 8);
        _emitter.Arithmetic(Alu.And, Host.Rcx, (CpuState.TlbEntries - 1) << 4);
        _emitter.Arithmetic(Alu.Add, Host.Rcx, Offset.Tlb);
        _emitter.Test(Host.Scratch, (int)AccessInfo.User);
        _emitter.Jump(Condition.Equal, supervisor);
        _emitter.Arithmetic(Alu.Add, Host.Rcx, 2 * TableBytes);
        _emitter.Bind(supervisor);
        _emitter.Move(Host.Scratch2, Host.Address, wide: true);
        _emitter.Arithmetic(Alu.And, Host.Scratch2, -4096, wide: true);
        _emitter.OperateLoad(Alu.Add, Host.Rax, Host.State, Offset.RamBase, wide: true);
        _emitter.Operate(Alu.Sub, Host.Rax, Host.Scratch2, wide: true);
        EmitTlbEntry();
        _emitter.OpRegister(0x85, Host.Rdi, Host.Rdi);
        _emitter.Jump(Condition.NotEqual, done);
        _emitter.Arithmetic(Alu.Add, Host.Rcx, TableBytes);
        EmitTlbEntry();
        _emitter.Bind(done);
        _emitter.Store(Host.Rdx, Host.Rsi, 0);
        _emitter.Increment64(Host.State, Offset.TlbWalks);
        _emitter.Operate(Alu.Add, Host.Address, Host.Rax, wide: true);
        _emitter.Operate(Alu.Xor, Host.Scratch2, Host.Scratch2);
    }

    /// <summary>The entry at offset rcx of the state = (r10, rax), and a note in the log.</summary>
    private void EmitTlbEntry()
    {
        _emitter.OpIndexed(0x89, Host.Scratch2, Host.State, Host.Rcx, 0, wide: true);
        _emitter.OpIndexed(0x89, Host.Rax, Host.State, Host.Rcx, 8, wide: true);
        _emitter.OpIndexed(0x89, Host.Rcx, Host.Rsi, Host.Rdx, 4, scale: 2);
        _emitter.Arithmetic(Alu.Add, Host.Rdx, 1);
    }

    private int EmitCommit(nint function, int leave)
    {
        Align();
        int start = _emitter.Offset;
        EmitPopReturn();
        _emitter.Byte(0x9C);
        _emitter.OpMemory(0x8F, 0, Host.State, Offset.ThunkFlags);
        EmitScratch(store: true, CommitRegisters);
        EmitManagedCall(function, loadArguments: false);
        _emitter.Store(Host.Rax, Host.State, Offset.Temp1);
        EmitLoadVectors();
        EmitScratch(store: false, CommitRegisters);
        _emitter.CompareMemory(Host.State, Offset.Temp1, 0);
        int toDropped = _emitter.JumpForward(Condition.NotEqual);
        EmitThunkFlags();
        EmitJumpReturn();

        _emitter.PatchHere(toDropped);
        EmitThunkFlags();
        _emitter.Store(Host.Flags, Host.State, Offset.Temp0, wide: true);
        _emitter.Load(Host.Scratch2, Host.State, Offset.ThunkReturn, wide: true);
        _emitter.Store(Host.Scratch2, Host.State, Offset.ExitHostPc, wide: true);
        _emitter.Patch(EmitReason(ExitReason.CodeDropped), leave);
        return start;
    }

    /// <summary>Notes the guest instruction (return address and code page) and its frame, so that a profile
    /// can tell whose operand C# works on.</summary>
    private void EmitNotePlace()
    {
        _emitter.Load(Host.Scratch2, Host.State, Offset.ThunkReturn, wide: true);
        _emitter.Store(Host.Scratch2, Host.State, Offset.ExitHostPc, wide: true);
        _emitter.Store(Host.CodePage, Host.State, Offset.CodePageBase, wide: true);
        _emitter.Store(Host.Rbp, Host.State, Offset.Gpr + (5 * 8), wide: true);
    }

    /// <summary>Takes the thunk's own return address off the return stack, which C# may empty.</summary>
    private void EmitPopReturn() => _emitter.OpMemory(0x8F, 0, Host.State, Offset.ThunkReturn);

    private void EmitJumpReturn() => _emitter.OpMemory(0xFF, 4, Host.State, Offset.ThunkReturn);

    private void EmitThunkFlags()
    {
        _emitter.OpMemory(0xFF, 6, Host.State, Offset.ThunkFlags);
        _emitter.Byte(0x9D);
    }

    private static readonly int[] PreparedRegisters =
        [Host.Rax, Host.Rcx, Host.Rdx, Host.Rsi, Host.Rdi, Host.Flags];

    private static readonly int[] CommitRegisters =
        [Host.Rax, Host.Rcx, Host.Rdx, Host.Rsi, Host.Rdi, Host.Flags, Host.Address, Host.Scratch];

    private void EmitScratch(bool store, int[] registers)
    {
        for (int i = 0; i < registers.Length; i++)
        {
            _emitter.OpMemory(store ? 0x89 : 0x8B, registers[i], Host.State, Offset.ScratchGpr + (i * 8),
                wide: true);
        }
    }

    /// <summary>Calls C# with (state, r8, r9d); the counter goes through memory so that C# may cut the
    /// budget.</summary>
    private void EmitManagedCall(nint function, bool loadArguments)
    {
        _emitter.Store(Host.Counter, Host.State, Offset.Counter);
        EmitSaveVectors();
        _emitter.Move(Host.Rdi, Host.State, wide: true);
        if (loadArguments)
        {
            _emitter.Move(Host.Rsi, Host.Address, wide: true);
            _emitter.Move(Host.Rdx, Host.Scratch);
        }

        _emitter.Store(Host.Rsp, Host.State, Offset.ReturnStack, wide: true);
        _emitter.Load(Host.Rsp, Host.State, Offset.HostRsp, wide: true);
        _emitter.MoveImmediate64(Host.Rax, function);
        _emitter.CallRegister(Host.Rax);
        _emitter.Load(Host.Rsp, Host.State, Offset.ReturnStack, wide: true);
        _emitter.Load(Host.Counter, Host.State, Offset.Counter);
    }
}
