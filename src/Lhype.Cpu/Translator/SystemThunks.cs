// System instructions in emitted code: the ones a kernel's entry and exit paths consist of. Each thunk
// does the case that a flat 32-bit kernel meets all day and declines every other one before it has
// changed anything: then the instruction goes to C# (Architecture), which stays the reference.
// LoweringSystem.cs emits the jumps to these thunks.
//
// On entry: r9d = trap site of the instruction (what C# needs if the thunk declines), the guest's
// arithmetic flags parked in r11, everything else as guest code has it. A thunk that is *called* returns
// behind the instruction with the flags parked; one that is *jumped to* ends in Dispatch. Their
// arguments:
//   PopFlags, ReadTimeStamp     called; none
//   LoadDs, LoadEs              called; r8d = selector
//   LoadFs, LoadGs, Pop...      jumped to; r8d = selector, r10d = linear address of the next instruction
//   SystemEnter, SystemExit     jumped to; none
//   InterruptReturn             jumped to; none
//   Interrupt                   jumped to; r8d = vector * 8, r10d = next instruction
//   LoadCr3, InvalidatePage     jumped to; r8d = value or linear address, r10d = next instruction
//   LoadTaskSwitched            jumped to; r8d = value for CR0, r10d = next instruction
//
// Registers inside: rax, rcx, rdx, rsi and rdi are saved in ScratchGpr and free; r8 and r10 are free; r9
// and r11 keep their meaning, r11 is replaced by instructions that load EFLAGS. Translations for the flat
// mode alone jump here, so CS, SS, DS and ES are flat, TF, VM, alignment checks and breakpoints are off,
// and the caches of CS and SS keep their base and limit when one flat segment replaces another.
//
// Descriptors are not decoded here: C# has checked each pair of selector and CPL once and left the result
// with the 8 bytes it came from (see DescriptorEntry); a thunk compares them with what is in the GDT now.

using Lhype.Cpu.Architecture;
using Offset = Lhype.Cpu.CpuState.Offset;

namespace Lhype.Cpu.Translator;

internal sealed unsafe partial class Thunks
{
    private const int SupervisorRead = Offset.Tlb;
    private const int SupervisorWrite = Offset.Tlb + TableBytes;
    private const int SavedSelector = Offset.ScratchGpr + (5 * 8);
    private const int SavedPointer = Offset.ScratchGpr + (6 * 8);
    private const int SavedStack = Offset.ScratchGpr + (7 * 8);
    private const int SelectorField = 16, AttributesField = 12;

    private static readonly int[] SavedRegisters = [Host.Rax, Host.Rcx, Host.Rdx, Host.Rsi, Host.Rdi];

    private int _declineCalled;
    private int _declineJumped;

    /// <summary>r9 = linear target, flags parked: goes to its translation for CpuState.ModeKey. The mode or
    /// the mappings may have changed, so no open call can be returned to by RET.</summary>
    internal int Dispatch { get; private set; }
    internal int PopFlags { get; private set; }
    internal int ReadTimeStamp { get; private set; }
    internal int LoadDs { get; private set; }
    internal int LoadEs { get; private set; }
    internal int LoadFs { get; private set; }
    internal int LoadGs { get; private set; }
    internal int PopFs { get; private set; }
    internal int PopGs { get; private set; }
    internal int SystemEnter { get; private set; }
    internal int SystemExit { get; private set; }
    internal int InterruptReturn { get; private set; }
    internal int Interrupt { get; private set; }
    internal int LoadCr3 { get; private set; }
    internal int InvalidatePage { get; private set; }
    internal int LoadTaskSwitched { get; private set; }

    private static int SegmentOffset(SegmentRegister register) => Offset.Segments + ((int)register * 32);

    private void EmitSystemThunks(CpuModel model)
    {
        Dispatch = EmitDispatch();
        _declineCalled = EmitDecline(called: true);
        _declineJumped = EmitDecline(called: false);
        PopFlags = EmitPopFlags(model, slot: 4);
        ReadTimeStamp = EmitReadTimeStamp();
        LoadDs = EmitLoadData(SegmentRegister.Ds);
        LoadEs = EmitLoadData(SegmentRegister.Es);
        LoadFs = EmitLoadThread(SegmentRegister.Fs, ModeKey.FsOpen, pop: false);
        LoadGs = EmitLoadThread(SegmentRegister.Gs, ModeKey.GsOpen, pop: false);
        PopFs = EmitLoadThread(SegmentRegister.Fs, ModeKey.FsOpen, pop: true);
        PopGs = EmitLoadThread(SegmentRegister.Gs, ModeKey.GsOpen, pop: true);
        SystemEnter = EmitSystemEnter();
        SystemExit = EmitSystemExit();
        InterruptReturn = EmitInterruptReturn(model);
        Interrupt = EmitInterrupt();
        LoadCr3 = EmitLoadCr3(wide: false);
        InvalidatePage = EmitInvalidatePage();
        LoadTaskSwitched = EmitLoadTaskSwitched();
        EmitLongThunks(model);
    }

    private int EmitDispatch()
    {
        Align();
        int start = _emitter.Offset;
        CodeLabel miss = new();
        _emitter.Load(Host.Rsp, Host.State, Offset.ReturnTop, wide: true);
        _emitter.Move(Host.Address, Host.Scratch);
        _emitter.ShiftRight(Host.Address, 7);
        _emitter.Load(Host.Scratch2, Host.State, Offset.ModeKey);
        _emitter.Move(Host.CodePage, Host.Scratch2);
        _emitter.Arithmetic(Alu.And, Host.CodePage, (int)ModeKey.Slot);
        _emitter.ShiftLeft(Host.CodePage, 5 + CpuState.CodeSlotShift);
        _emitter.Operate(Alu.Xor, Host.Address, Host.CodePage);
        _emitter.Arithmetic(Alu.And, Host.Address, (CpuState.CodeTlbEntries - 1) << 5);
        _emitter.Move(Host.CodePage, Host.Scratch, wide: true);
        _emitter.Arithmetic(Alu.And, Host.CodePage, -4096, wide: true);
        _emitter.Operate(Alu.Or, Host.Scratch2, Host.CodePage, wide: true);
        _emitter.OpIndexed(0x3B, Host.Scratch2, Host.State, Host.Address, Offset.CodeTlb, wide: true);
        _emitter.Jump(Condition.NotEqual, miss);
        _emitter.OpIndexed(0x8B, Host.Scratch2, Host.State, Host.Address, Offset.CodeTlb + 8, wide: true);
        _emitter.Move(Host.Address, Host.Scratch);
        _emitter.Arithmetic(Alu.And, Host.Address, 4095);
        _emitter.OpIndexed(0x8B, Host.Address, Host.Scratch2, Host.Address, 0, scale: 2);
        _emitter.OperateLoad(Alu.Add, Host.Address, Host.State, Offset.CodeBase, wide: true);
        _emitter.UnparkFlags();
        _emitter.JumpRegister(Host.Address);
        _emitter.Bind(miss);
        _emitter.UnparkFlags();
        _emitter.Jump(0);
        return start;
    }

    /// <summary>Leaves the instruction to C#.</summary>
    private int EmitDecline(bool called)
    {
        int start = _emitter.Offset;
        EmitRestore();
        if (called)
        {
            _emitter.Lea(Host.Rsp, Host.Rsp, 8, wide: true);
        }

        _emitter.UnparkFlags();
        _emitter.Jump(Trap);
        return start;
    }

    private int EmitStart()
    {
        Align();
        int start = _emitter.Offset;
        EmitScratch(store: true, SavedRegisters);
        return start;
    }

    private void EmitRestore() => EmitScratch(store: false, SavedRegisters);

    /// <summary>A called thunk is done.</summary>
    private void EmitReturn()
    {
        EmitRestore();
        _emitter.Increment64(Host.State, Offset.SystemThunks);
        _emitter.Return();
    }

    /// <summary>A thunk is done; r9d = linear address to go on at.</summary>
    private void EmitGoOn()
    {
        EmitRestore();
        _emitter.Increment64(Host.State, Offset.SystemThunks);
        _emitter.Jump(Dispatch);
    }

    /// <summary>linear (32 bits, zero-extended, or 64) becomes the host address of
    /// <paramref name="size"/> bytes in one page, by one of the supervisor TLBs. Changes rsi and
    /// rdi.</summary>
    private void EmitTranslate(int linear, int size, int table, int decline)
    {
        _emitter.Move(Host.Rsi, linear);
        _emitter.ShiftRight(Host.Rsi, 8);
        _emitter.Arithmetic(Alu.And, Host.Rsi, (CpuState.TlbEntries - 1) << 4);
        _emitter.Lea(Host.Rdi, linear, size - 1, wide: true);
        _emitter.Arithmetic(Alu.And, Host.Rdi, -4096, wide: true);
        _emitter.OpIndexed(0x3B, Host.Rdi, Host.State, Host.Rsi, table, wide: true);
        _emitter.Jump(Condition.NotEqual, decline);
        _emitter.OpIndexed(0x03, linear, Host.State, Host.Rsi, table + 8, wide: true);
    }

    /// <summary>rdx = what C# found out about the selector in ecx for this kind of load at the current CPL,
    /// or at <paramref name="cpl"/>. Changes rax, rsi, rdi.</summary>
    private void EmitDescriptor(DescriptorKind kind, int? cpl, int decline)
    {
        _emitter.Move(Host.Rdx, Host.Rcx);
        _emitter.ShiftLeft(Host.Rdx, 2);
        _emitter.Arithmetic(Alu.And, Host.Rdx, (DescriptorEntry.Count - 1) * DescriptorEntry.Bytes);
        _emitter.Arithmetic(Alu.Add, Host.Rdx, Offset.Descriptors
            + ((int)kind * DescriptorEntry.Count * DescriptorEntry.Bytes));
        _emitter.Operate(Alu.Add, Host.Rdx, Host.State, wide: true);
        if (cpl is int fixedCpl)
        {
            _emitter.MoveImmediate(Host.Rax, (int)DescriptorEntry.KeyFor(0, (uint)fixedCpl));
        }
        else
        {
            _emitter.Load(Host.Rax, Host.State, Offset.Cpl);
            _emitter.ShiftLeft(Host.Rax, DescriptorEntry.CplShift);
            _emitter.Arithmetic(Alu.Or, Host.Rax, (int)DescriptorEntry.KeyFor(0, 0));
        }

        _emitter.Operate(Alu.Or, Host.Rax, Host.Rcx);
        _emitter.OperateLoad(Alu.Compare, Host.Rax, Host.Rdx, DescriptorEntry.KeyOffset);
        _emitter.Jump(Condition.NotEqual, decline);
        _emitter.Move(Host.Rax, Host.Rcx);
        _emitter.Arithmetic(Alu.And, Host.Rax, -8);
        _emitter.OperateLoad(Alu.Add, Host.Rax, Host.State, Offset.GdtBase, wide: true);
        EmitTranslate(Host.Rax, 8, SupervisorRead, decline);
        _emitter.Load(Host.Rax, Host.Rax, 0, wide: true);
        _emitter.OperateLoad(Alu.Compare, Host.Rax, Host.Rdx, DescriptorEntry.RawOffset, wide: true);
        _emitter.Jump(Condition.NotEqual, decline);
    }

    private void EmitRequireFlat(int decline)
    {
        _emitter.TestMemory(Host.Rdx, DescriptorEntry.FlagsOffset, (int)DescriptorEntry.Flat);
        _emitter.Jump(Condition.Equal, decline);
    }

    /// <summary>Selector (ecx) and attributes (eax) of one flat segment that replaces another.</summary>
    private void EmitReplaceFlat(SegmentRegister register)
    {
        _emitter.Store(Host.Rax, Host.State, SegmentOffset(register) + AttributesField);
        _emitter.StoreWord(Host.Rcx, Host.State, SegmentOffset(register) + SelectorField);
    }

    /// <summary>The mode of the ring just entered. Changes <paramref name="temporary"/>.</summary>
    private void EmitModeOfRing(int temporary, bool user, bool wide = false)
    {
        _emitter.Load(temporary, Host.State, Offset.ModeKey);
        _emitter.Arithmetic(Alu.And, temporary, unchecked((int)~ModeKey.Privilege));
        _emitter.OperateLoad(Alu.Or, temporary, Host.State,
            user ? Offset.UserModeBits : Offset.SupervisorModeBits);
        if (wide && !user)
        {
            // What is left of a 32-bit kernel's map means nothing to 64-bit code.
            _emitter.Arithmetic(Alu.And, temporary, unchecked((int)~ModeKey.LinearMap));
        }

        _emitter.Store(temporary, Host.State, Offset.ModeKey);
        _emitter.StoreImmediate(Host.State, Offset.Cpl, user ? 3 : 0);
    }

    /// <summary>EFLAGS image in eax: an interrupt that it lets in is delivered by C#.</summary>
    private void EmitDeclineIfInterrupted(int image, int decline)
    {
        CodeLabel closed = new();
        _emitter.Test(image, (int)EflagsBits.Interrupt);
        _emitter.Jump(Condition.Equal, closed);
        _emitter.CompareMemory(Host.State, Offset.InterruptWaiting, 0);
        _emitter.Jump(Condition.NotEqual, decline);
        _emitter.Bind(closed);
    }

    /// <summary>Loads EFLAGS from eax as CPL 0 may: everything but VM, VIF and VIP; RF becomes 0 if
    /// <paramref name="resume"/>, otherwise it stays. Changes eax, ecx, edx.</summary>
    private void EmitSetFlags(CpuModel model, bool resume)
    {
        const uint taken = EflagsBits.Iopl | EflagsBits.NestedTask | EflagsBits.AlignmentCheck
            | EflagsBits.Identification;
        uint replaced = taken | EflagsBits.Trap | (resume ? EflagsBits.Resume : 0);
        _emitter.Load(Host.Rcx, Host.State, Offset.SystemFlags);
        _emitter.Arithmetic(Alu.And, Host.Rcx, (int)~replaced);
        _emitter.Move(Host.Rdx, Host.Rax);
        _emitter.Arithmetic(Alu.And, Host.Rdx, (int)(taken & model.EflagsMask));
        _emitter.Operate(Alu.Or, Host.Rcx, Host.Rdx);
        _emitter.Store(Host.Rcx, Host.State, Offset.SystemFlags);
        _emitter.Move(Host.Rcx, Host.Rax);
        _emitter.Arithmetic(Alu.And, Host.Rcx, (int)EflagsBits.Interrupt);
        _emitter.Store(Host.Rcx, Host.State, Offset.InterruptFlag);
        // DF as a step: 1 - (2 if set).
        _emitter.Move(Host.Rcx, Host.Rax);
        _emitter.ShiftRight(Host.Rcx, 9);
        _emitter.Arithmetic(Alu.And, Host.Rcx, 2);
        _emitter.MoveImmediate(Host.Rdx, 1);
        _emitter.Operate(Alu.Sub, Host.Rdx, Host.Rcx, wide: true);
        _emitter.Store(Host.Rdx, Host.State, Offset.DirectionStep, wide: true);
        // Parked form: the low byte in bits 8-15, OF in bit 0.
        _emitter.Move(Host.Flags, Host.Rax);
        _emitter.Arithmetic(Alu.And, Host.Flags, 0xFF);
        _emitter.ShiftLeft(Host.Flags, 8);
        _emitter.ShiftRight(Host.Rax, 11);
        _emitter.Arithmetic(Alu.And, Host.Rax, 1);
        _emitter.Operate(Alu.Or, Host.Flags, Host.Rax);
    }

    /// <summary>edx = EFLAGS. Changes ecx.</summary>
    private void EmitGetFlags()
    {
        _emitter.Move(Host.Rdx, Host.Flags);
        _emitter.ShiftRight(Host.Rdx, 8);
        _emitter.Arithmetic(Alu.And, Host.Rdx, (int)EflagsBits.Arithmetic & 0xFF);
        _emitter.Move(Host.Rcx, Host.Flags);
        _emitter.Arithmetic(Alu.And, Host.Rcx, 1);
        _emitter.ShiftLeft(Host.Rcx, 11);
        _emitter.Operate(Alu.Or, Host.Rdx, Host.Rcx);
        _emitter.OperateLoad(Alu.Or, Host.Rdx, Host.State, Offset.InterruptFlag);
        _emitter.OperateLoad(Alu.Or, Host.Rdx, Host.State, Offset.SystemFlags);
        _emitter.Load(Host.Rcx, Host.State, Offset.DirectionStep);
        _emitter.Arithmetic(Alu.And, Host.Rcx, (int)EflagsBits.Direction);
        _emitter.Operate(Alu.Or, Host.Rdx, Host.Rcx);
        _emitter.Arithmetic(Alu.Or, Host.Rdx, 2);
    }

    private int EmitPopFlags(CpuModel model, int slot)
    {
        int start = EmitStart();
        _emitter.Move(Host.Rax, Host.GuestEsp, wide: slot == 8);
        EmitTranslate(Host.Rax, slot, SupervisorRead, _declineCalled);
        _emitter.Load(Host.Rax, Host.Rax, 0);
        _emitter.Test(Host.Rax, (int)EflagsBits.Trap);
        _emitter.Jump(Condition.NotEqual, _declineCalled);
        EmitDeclineIfInterrupted(Host.Rax, _declineCalled);
        EmitSetFlags(model, resume: false);
        _emitter.Lea(Host.GuestEsp, Host.GuestEsp, slot, wide: slot == 8);
        EmitReturn();
        return start;
    }

    private int EmitReadTimeStamp()
    {
        int start = EmitStart();
        CodeLabel allowed = new();
        _emitter.TestMemory(Host.State, Offset.Cr4, (int)ControlBits.Cr4Tsd);
        _emitter.Jump(Condition.Equal, allowed);
        _emitter.CompareMemory(Host.State, Offset.Cpl, 0);
        _emitter.Jump(Condition.NotEqual, _declineCalled);
        _emitter.Bind(allowed);
        _emitter.Bytes(0x0F, 0x31);
        _emitter.ShiftLeft(Host.Rdx, 32, wide: true);
        _emitter.Operate(Alu.Or, Host.Rax, Host.Rdx, wide: true);
        _emitter.OperateLoad(Alu.Add, Host.Rax, Host.State, Offset.TscOffset, wide: true);
        _emitter.Move(Host.Rdx, Host.Rax, wide: true);
        _emitter.ShiftRight(Host.Rdx, 32, wide: true);
        _emitter.Move(Host.Rax, Host.Rax);
        _emitter.Increment64(Host.State, Offset.SystemThunks);
        _emitter.Return();
        return start;
    }

    /// <summary>MOV and POP to DS or ES: flat stays flat.</summary>
    private int EmitLoadData(SegmentRegister register)
    {
        int start = EmitStart();
        _emitter.ZeroExtendWord(Host.Rcx, Host.Address);
        EmitDescriptor(DescriptorKind.Data, cpl: null, _declineCalled);
        EmitRequireFlat(_declineCalled);
        _emitter.Load(Host.Rax, Host.Rdx, DescriptorEntry.AttributesOffset);
        EmitReplaceFlat(register);
        EmitReturn();
        return start;
    }

    /// <summary>MOV and POP to FS or GS, null selectors included: the mode follows.</summary>
    private int EmitLoadThread(SegmentRegister register, uint open, bool pop)
    {
        int start = EmitStart();
        int segment = SegmentOffset(register);
        CodeLabel isNull = new();
        _emitter.ZeroExtendWord(Host.Rcx, Host.Address);
        _emitter.Test(Host.Rcx, 0xFFFC);
        _emitter.Jump(Condition.Equal, isNull);
        EmitDescriptor(DescriptorKind.Data, cpl: null, _declineJumped);
        _emitter.Load(Host.Rax, Host.Rdx, DescriptorEntry.BaseOffset);
        _emitter.Store(Host.Rax, Host.State, segment, wide: true);
        _emitter.Load(Host.Rax, Host.Rdx, DescriptorEntry.LimitOffset);
        _emitter.Store(Host.Rax, Host.State, segment + 8);
        _emitter.Load(Host.Rax, Host.Rdx, DescriptorEntry.AttributesOffset);
        EmitReplaceFlat(register);
        _emitter.Load(Host.Rdx, Host.Rdx, DescriptorEntry.FlagsOffset);
        _emitter.Arithmetic(Alu.And, Host.Rdx, (int)open);
        _emitter.Load(Host.Rax, Host.State, Offset.ModeKey);
        _emitter.Arithmetic(Alu.And, Host.Rax, (int)~open);
        _emitter.Operate(Alu.Or, Host.Rax, Host.Rdx);
        _emitter.Store(Host.Rax, Host.State, Offset.ModeKey);
        EmitEndLoad(pop);

        _emitter.Bind(isNull);
        _emitter.Operate(Alu.Xor, Host.Rax, Host.Rax);
        _emitter.Store(Host.Rax, Host.State, segment, wide: true);
        _emitter.Store(Host.Rax, Host.State, segment + 8);
        _emitter.MoveImmediate(Host.Rax, (int)SegmentCache.UnusableBit);
        EmitReplaceFlat(register);
        _emitter.OperateMemory(Alu.And, Host.State, Offset.ModeKey, (int)~open);
        EmitEndLoad(pop);
        return start;
    }

    private void EmitEndLoad(bool pop)
    {
        if (pop)
        {
            _emitter.Lea(Host.GuestEsp, Host.GuestEsp, 4);
        }

        _emitter.Move(Host.Scratch, Host.Scratch2);
        EmitGoOn();
    }
}
