// The thunks that change rings or control registers: SYSENTER, SYSEXIT, IRET, INT n, MOV to CR3, INVLPG, CLTS
// and MOV to CR0. Conventions and registers are those of SystemThunks.cs. Every one checks all it needs, and
// only then begins to store; what it stores on the guest's stack is behind checks too.

using Lhype.Cpu.Architecture;
using Lhype.Cpu.Mmu;
using Offset = Lhype.Cpu.CpuState.Offset;

namespace Lhype.Cpu.Translator;

internal sealed unsafe partial class Thunks
{
    /// <summary>Attributes of the segments SYSENTER and SYSEXIT load without descriptors.</summary>
    private const int KernelCode = 0xC09B, KernelStack = 0xC093, UserCode = 0xC0FB, UserStack = 0xC0F3;
    private const int DplMask = 3 << 5;

    /// <summary>SYSENTER (SDM vol. 2).</summary>
    private int EmitSystemEnter()
    {
        int start = EmitStart();
        EmitSysenterSelector();
        _emitter.StoreImmediate(Host.State, Offset.InterruptFlag, 0);
        _emitter.OperateMemory(Alu.And, Host.State, Offset.SystemFlags, unchecked((int)~EflagsBits.Resume));
        EmitFixedSegment(SegmentRegister.Cs, KernelCode, step: 0);
        EmitFixedSegment(SegmentRegister.Ss, KernelStack, step: 8);
        _emitter.Load(Host.GuestEsp, Host.State, Offset.SysenterEsp);
        _emitter.Load(Host.Scratch, Host.State, Offset.SysenterEip);
        EmitModeOfRing(Host.Scratch2, user: false);
        _emitter.Increment64(Host.State, Offset.SystemThunks);
        _emitter.Jump(Dispatch);
        return start;
    }

    /// <summary>SYSEXIT at CPL 0.</summary>
    private int EmitSystemExit()
    {
        int start = EmitStart();
        EmitSysenterSelector();
        _emitter.TestMemory(Host.State, Offset.SystemFlags, (int)EflagsBits.AlignmentCheck);
        _emitter.Jump(Condition.NotEqual, _declineJumped);
        EmitFixedSegment(SegmentRegister.Cs, UserCode, step: 16 + 3);
        EmitFixedSegment(SegmentRegister.Ss, UserStack, step: 8);
        _emitter.Move(Host.GuestEsp, Host.Rcx);
        _emitter.Move(Host.Scratch, Host.Rdx);
        EmitModeOfRing(Host.Scratch2, user: true);
        _emitter.Increment64(Host.State, Offset.SystemThunks);
        _emitter.Jump(Dispatch);
        return start;
    }

    /// <summary>r8d = IA32_SYSENTER_CS without RPL; null is a fault.</summary>
    private void EmitSysenterSelector()
    {
        _emitter.Load(Host.Address, Host.State, Offset.SysenterCs);
        _emitter.Arithmetic(Alu.And, Host.Address, 0xFFFC);
        _emitter.Jump(Condition.Equal, _declineJumped);
    }

    private void EmitFixedSegment(SegmentRegister register, int attributes, int step)
    {
        if (step != 0)
        {
            _emitter.Arithmetic(Alu.Add, Host.Address, step);
        }

        _emitter.StoreWord(Host.Address, Host.State, SegmentOffset(register) + SelectorField);
        _emitter.StoreImmediate(Host.State, SegmentOffset(register) + AttributesField, attributes);
    }

    /// <summary>IRETD at CPL 0, to CPL 0 or 3. r8 = the frame, r10d = the EFLAGS image.</summary>
    private int EmitInterruptReturn(CpuModel model)
    {
        int start = EmitStart();
        CodeLabel outer = new();
        _emitter.TestMemory(Host.State, Offset.SystemFlags, (int)EflagsBits.NestedTask);
        _emitter.Jump(Condition.NotEqual, _declineJumped);
        _emitter.Move(Host.Address, Host.GuestEsp);
        EmitTranslate(Host.Address, 12, SupervisorRead, _declineJumped);
        _emitter.Load(Host.Scratch2, Host.Address, 8);
        _emitter.Test(Host.Scratch2, (int)(EflagsBits.Trap | EflagsBits.Virtual8086));
        _emitter.Jump(Condition.NotEqual, _declineJumped);
        EmitDeclineIfInterrupted(Host.Scratch2, _declineJumped);
        _emitter.LoadZeroExtended(Host.Rcx, Host.Address, 4, 2);
        EmitDescriptor(DescriptorKind.ReturnCode, 0, _declineJumped);
        EmitRequireFlat(_declineJumped);
        _emitter.Load(Host.Rax, Host.Rdx, DescriptorEntry.AttributesOffset);
        _emitter.Test(Host.Rcx, 3);
        _emitter.Jump(Condition.NotEqual, outer);
        EmitReplaceFlat(SegmentRegister.Cs);
        _emitter.Move(Host.Rax, Host.Scratch2);
        EmitSetFlags(model, resume: true);
        _emitter.Load(Host.Scratch, Host.Address, 0);
        _emitter.Lea(Host.GuestEsp, Host.GuestEsp, 12);
        EmitGoOn();

        _emitter.Bind(outer);
        EmitReturnOuter(model);
        return start;
    }

    /// <summary>To CPL 3: eax = attributes of CS, ecx = its selector.</summary>
    private void EmitReturnOuter(CpuModel model)
    {
        _emitter.Store(Host.Rax, Host.State, SavedPointer);
        _emitter.Store(Host.Rcx, Host.State, SavedSelector);
        _emitter.Test(Host.Scratch2, (int)EflagsBits.AlignmentCheck);
        _emitter.Jump(Condition.NotEqual, _declineJumped);
        _emitter.Move(Host.Rax, Host.GuestEsp);
        _emitter.Arithmetic(Alu.And, Host.Rax, 4095);
        _emitter.Arithmetic(Alu.Compare, Host.Rax, 4096 - 20);
        _emitter.Jump(Condition.Above, _declineJumped);
        // Data segments that CPL 3 may not use would become null.
        _emitter.Load(Host.Rax, Host.State, SegmentOffset(SegmentRegister.Ds) + AttributesField);
        _emitter.OperateLoad(Alu.And, Host.Rax, Host.State,
            SegmentOffset(SegmentRegister.Es) + AttributesField);
        _emitter.Arithmetic(Alu.And, Host.Rax, DplMask);
        _emitter.Arithmetic(Alu.Compare, Host.Rax, DplMask);
        _emitter.Jump(Condition.NotEqual, _declineJumped);
        EmitRequireUsable(SegmentRegister.Fs);
        EmitRequireUsable(SegmentRegister.Gs);
        _emitter.LoadZeroExtended(Host.Rcx, Host.Address, 16, 2);
        EmitDescriptor(DescriptorKind.Stack, 3, _declineJumped);
        EmitRequireFlat(_declineJumped);

        _emitter.Load(Host.Rax, Host.Rdx, DescriptorEntry.AttributesOffset);
        EmitReplaceFlat(SegmentRegister.Ss);
        _emitter.Load(Host.Rax, Host.State, SavedPointer);
        _emitter.Load(Host.Rcx, Host.State, SavedSelector);
        EmitReplaceFlat(SegmentRegister.Cs);
        _emitter.Move(Host.Rax, Host.Scratch2);
        EmitSetFlags(model, resume: true);
        _emitter.Load(Host.Scratch, Host.Address, 0);
        _emitter.Load(Host.GuestEsp, Host.Address, 12);
        EmitModeOfRing(Host.Scratch2, user: true);
        EmitGoOn();
    }

    /// <summary>FS or GS is null, or open to CPL 3.</summary>
    private void EmitRequireUsable(SegmentRegister register)
    {
        CodeLabel isNull = new();
        _emitter.Load(Host.Rax, Host.State, SegmentOffset(register) + AttributesField);
        _emitter.Test(Host.Rax, (int)SegmentCache.UnusableBit);
        _emitter.Jump(Condition.NotEqual, isNull);
        _emitter.Arithmetic(Alu.And, Host.Rax, DplMask);
        _emitter.Arithmetic(Alu.Compare, Host.Rax, DplMask);
        _emitter.Jump(Condition.NotEqual, _declineJumped);
        _emitter.Bind(isNull);
    }

    /// <summary>INT n through a 32-bit interrupt or trap gate to CPL 0, from CPL 0 or 3. r8d becomes the
    /// handler's address; Temp1 keeps the gate's attributes, SavedSelector and Temp0 those of CS.</summary>
    private int EmitInterrupt()
    {
        int start = EmitStart();
        CodeLabel same = new();
        _emitter.Lea(Host.Rcx, Host.Address, 7);
        _emitter.OperateLoad(Alu.Compare, Host.Rcx, Host.State, Offset.IdtLimit);
        _emitter.Jump(Condition.Above, _declineJumped);
        _emitter.OperateLoad(Alu.Add, Host.Address, Host.State, Offset.IdtBase);
        EmitTranslate(Host.Address, 8, SupervisorRead, _declineJumped);
        _emitter.Load(Host.Rax, Host.Address, 0, wide: true);
        _emitter.Move(Host.Rdx, Host.Rax, wide: true);
        _emitter.ShiftRight(Host.Rdx, 40, wide: true);
        _emitter.Store(Host.Rdx, Host.State, Offset.Temp1);
        _emitter.Move(Host.Rcx, Host.Rdx);
        _emitter.Arithmetic(Alu.And, Host.Rcx, 0x9E);
        _emitter.Arithmetic(Alu.Compare, Host.Rcx, 0x8E);
        _emitter.Jump(Condition.NotEqual, _declineJumped);
        _emitter.ShiftRight(Host.Rdx, 5);
        _emitter.Arithmetic(Alu.And, Host.Rdx, 3);
        _emitter.OperateLoad(Alu.Compare, Host.Rdx, Host.State, Offset.Cpl);
        _emitter.Jump(Condition.Below, _declineJumped);

        _emitter.Move(Host.Address, Host.Rax, wide: true);
        _emitter.ShiftRight(Host.Address, 32, wide: true);
        _emitter.Arithmetic(Alu.And, Host.Address, unchecked((int)0xFFFF_0000));
        _emitter.ZeroExtendWord(Host.Rcx, Host.Rax);
        _emitter.Operate(Alu.Or, Host.Address, Host.Rcx);
        _emitter.Move(Host.Rcx, Host.Rax);
        _emitter.ShiftRight(Host.Rcx, 16);
        EmitDescriptor(DescriptorKind.HandlerCode, cpl: null, _declineJumped);
        EmitRequireFlat(_declineJumped);
        _emitter.Load(Host.Rax, Host.Rdx, DescriptorEntry.AttributesOffset);
        _emitter.Store(Host.Rax, Host.State, Offset.Temp0);
        _emitter.Arithmetic(Alu.And, Host.Rcx, 0xFFFC);
        _emitter.Store(Host.Rcx, Host.State, SavedSelector);
        _emitter.CompareMemory(Host.State, Offset.Cpl, 0);
        _emitter.Jump(Condition.Equal, same);
        EmitInnerStack();
        _emitter.Bind(same);
        EmitSameStack();
        return start;
    }

    /// <summary>From CPL 3: SS and ESP from a 32-bit TSS, a frame of five.</summary>
    private void EmitInnerStack()
    {
        int task = SegmentOffset(SegmentRegister.Tr);
        _emitter.TestMemory(Host.State, task + AttributesField, 8);
        _emitter.Jump(Condition.Equal, _declineJumped);
        _emitter.CompareMemory(Host.State, task + 8, 9);
        _emitter.Jump(Condition.Below, _declineJumped);
        _emitter.Load(Host.Rax, Host.State, task);
        _emitter.Arithmetic(Alu.Add, Host.Rax, 4);
        EmitTranslate(Host.Rax, 6, SupervisorRead, _declineJumped);
        _emitter.LoadZeroExtended(Host.Rcx, Host.Rax, 4, 2);
        _emitter.Load(Host.Rax, Host.Rax, 0);
        _emitter.Arithmetic(Alu.Sub, Host.Rax, 20);
        _emitter.Store(Host.Rax, Host.State, SavedPointer);
        EmitDescriptor(DescriptorKind.Stack, 0, _declineJumped);
        EmitRequireFlat(_declineJumped);
        _emitter.Load(Host.Rax, Host.Rdx, DescriptorEntry.AttributesOffset);
        _emitter.Store(Host.Rax, Host.State, SavedStack);
        _emitter.Store(Host.Rcx, Host.State, SavedStack + 4);
        _emitter.Load(Host.Rax, Host.State, SavedPointer);
        EmitTranslate(Host.Rax, 20, SupervisorWrite, _declineJumped);

        _emitter.LoadZeroExtended(Host.Rcx, Host.State, SegmentOffset(SegmentRegister.Ss) + SelectorField, 2);
        _emitter.Store(Host.Rcx, Host.Rax, 16);
        _emitter.Store(Host.GuestEsp, Host.Rax, 12);
        _emitter.Load(Host.GuestEsp, Host.State, SavedPointer);
        EmitFrame();
        _emitter.Load(Host.Rax, Host.State, SavedStack);
        _emitter.Load(Host.Rcx, Host.State, SavedStack + 4);
        EmitReplaceFlat(SegmentRegister.Ss);
        EmitModeOfRing(Host.Scratch2, user: false);
        EmitEnterHandler();
    }

    /// <summary>From CPL 0: a frame of three on the current stack.</summary>
    private void EmitSameStack()
    {
        _emitter.Lea(Host.Rax, Host.GuestEsp, -12);
        EmitTranslate(Host.Rax, 12, SupervisorWrite, _declineJumped);
        EmitFrame();
        _emitter.Lea(Host.GuestEsp, Host.GuestEsp, -12);
        EmitEnterHandler();
    }

    /// <summary>EFLAGS, CS and EIP at host address rax. Changes ecx, edx.</summary>
    private void EmitFrame()
    {
        EmitGetFlags();
        _emitter.Store(Host.Rdx, Host.Rax, 8);
        _emitter.LoadZeroExtended(Host.Rcx, Host.State, SegmentOffset(SegmentRegister.Cs) + SelectorField, 2);
        _emitter.Store(Host.Rcx, Host.Rax, 4);
        _emitter.Store(Host.Scratch2, Host.Rax, 0);
    }

    private void EmitEnterHandler()
    {
        CodeLabel trapGate = new();
        const uint cleared = EflagsBits.Trap | EflagsBits.NestedTask | EflagsBits.Resume;
        _emitter.Load(Host.Rax, Host.State, Offset.Temp0);
        _emitter.Load(Host.Rcx, Host.State, SavedSelector);
        EmitReplaceFlat(SegmentRegister.Cs);
        _emitter.OperateMemory(Alu.And, Host.State, Offset.SystemFlags, unchecked((int)~cleared));
        _emitter.TestMemory(Host.State, Offset.Temp1, 1);
        _emitter.Jump(Condition.NotEqual, trapGate);
        _emitter.StoreImmediate(Host.State, Offset.InterruptFlag, 0);
        _emitter.Bind(trapGate);
        _emitter.Move(Host.Scratch, Host.Address);
        EmitGoOn();
    }

    /// <summary>MOV to CR3 without PAE, or in 64-bit code: the log of non-global entries is undone. Under
    /// PCIDE bit 63 only asks to keep them.</summary>
    private int EmitLoadCr3(bool wide)
    {
        int start = EmitStart();
        CodeLabel empty = new();
        CodeLabel jump = new();
        CodeLabel done = new();
        EmitDeclineFlush();
        if (wide)
        {
            CodeLabel reserved = new();
            _emitter.TestMemory(Host.State, Offset.Cr4, (int)ControlBits.Cr4Pcide);
            _emitter.Jump(Condition.Equal, reserved);
            _emitter.ShiftLeft(Host.Address, 1, wide: true);
            _emitter.ShiftRight(Host.Address, 1, wide: true);
            _emitter.Bind(reserved);
            _emitter.Move(Host.Rax, Host.Address, wide: true);
            _emitter.ShiftRight(Host.Rax, PageWalk.PhysicalAddressBits, wide: true);
        }
        else
        {
            _emitter.TestMemory(Host.State, Offset.Cr4, (int)ControlBits.Cr4Pae);
        }

        _emitter.Jump(Condition.NotEqual, _declineJumped);
        EmitForgetStack();
        _emitter.Store(Host.Address, Host.State, Offset.Cr3, wide: true);
        _emitter.StoreImmediate(Host.State, Offset.UserPolls, 0);
        _emitter.Load(Host.Rsi, Host.State, Offset.LocalLog, wide: true);
        _emitter.Load(Host.Rcx, Host.Rsi, 0);
        _emitter.OpRegister(0x85, Host.Rcx, Host.Rcx);
        _emitter.Jump(Condition.Equal, empty);
        _emitter.Load(Host.Rdx, Host.State, Offset.JumpMiss, wide: true);
        int next = _emitter.Offset;
        _emitter.OpIndexed(0x8B, Host.Rax, Host.Rsi, Host.Rcx, 0, scale: 2);
        _emitter.Arithmetic(Alu.Compare, Host.Rax, Offset.JumpCache);
        _emitter.Jump(Condition.NotBelow, jump);
        _emitter.OpIndexed(0xC7, 0, Host.State, Host.Rax, 0, wide: true);
        _emitter.Int32(-1);
        _emitter.Arithmetic(Alu.Compare, Host.Rax, Offset.CodeTlb);
        _emitter.Jump(Condition.Below, done);
        _emitter.OpIndexed(0xC7, 0, Host.State, Host.Rax, 16);
        _emitter.Int32(0);
        _emitter.Jump(done);
        _emitter.Bind(jump);
        _emitter.OpIndexed(0x89, Host.Rdx, Host.State, Host.Rax, 0, wide: true);
        _emitter.Bind(done);
        _emitter.Arithmetic(Alu.Sub, Host.Rcx, 1);
        _emitter.Jump(Condition.NotEqual, next);
        _emitter.StoreImmediate(Host.Rsi, 0, 0);
        _emitter.Bind(empty);
        _emitter.Increment64(Host.State, Offset.TlbFlushes);
        _emitter.Move(Host.Scratch, Host.Scratch2, wide: true);
        EmitGoOn();
        return start;
    }

    private void EmitDeclineFlush()
    {
        _emitter.CompareMemory(Host.State, Offset.WindowActive, 0);
        _emitter.Jump(Condition.NotEqual, _declineJumped);
    }

    /// <summary>See LinearMemory.ForgetStack.</summary>
    private void EmitForgetStack()
    {
        const uint half = (uint)(LinearMemory.NoStack >> 32);
        _emitter.StoreImmediate(Host.State, Offset.StackTag + 4, unchecked((int)half));
    }

    /// <summary>The tag at [register + displacement] = no page.</summary>
    private void EmitForget(int register, int displacement)
    {
        _emitter.OpMemory(0xC7, 0, register, displacement, wide: true);
        _emitter.Int32(-1);
    }

    /// <summary>INVLPG of a page that is not a piece of a large one and that has run no
    /// code; see LinearMemory.FlushPage.</summary>
    private int EmitInvalidatePage()
    {
        int start = EmitStart();
        EmitDeclineFlush();
        _emitter.Load(Host.Rcx, Host.State, Offset.CodePages, wide: true);
        _emitter.Move(Host.Rax, Host.Address);
        _emitter.ShiftRight(Host.Rax, 12);
        _emitter.TestBit(Host.Rax, Host.Rcx, 0);
        _emitter.Jump(Condition.Below, _declineJumped);
        _emitter.Move(Host.Rax, Host.Address);
        _emitter.ShiftRight(Host.Rax, 21);
        _emitter.TestBit(Host.Rax, Host.State, Offset.LargeRegions);
        _emitter.Jump(Condition.Below, _declineJumped);

        EmitForgetStack();
        _emitter.Move(Host.Rax, Host.Address, wide: true);
        _emitter.Arithmetic(Alu.And, Host.Rax, -4096, wide: true);
        _emitter.Move(Host.Rcx, Host.Address);
        _emitter.ShiftRight(Host.Rcx, 8);
        _emitter.Arithmetic(Alu.And, Host.Rcx, (CpuState.TlbEntries - 1) << 4);
        _emitter.Operate(Alu.Add, Host.Rcx, Host.State, wide: true);
        for (int table = 0; table < 4; table++)
        {
            CodeLabel other = new();
            int tag = Offset.Tlb + (table * TableBytes);
            _emitter.OperateLoad(Alu.Compare, Host.Rax, Host.Rcx, tag, wide: true);
            _emitter.Jump(Condition.NotEqual, other);
            EmitForget(Host.Rcx, tag);
            _emitter.Bind(other);
        }

        const uint step = ModeKey.Slot & (~ModeKey.Slot + 1);
        for (uint mode = 0; mode <= ModeKey.Slot; mode += step)
        {
            CodeLabel other = new();
            _emitter.Move(Host.Rcx, Host.Address);
            _emitter.ShiftRight(Host.Rcx, 7);
            _emitter.Arithmetic(Alu.Xor, Host.Rcx, (int)mode << (5 + CpuState.CodeSlotShift));
            _emitter.Arithmetic(Alu.And, Host.Rcx, (CpuState.CodeTlbEntries - 1) << 5);
            _emitter.Operate(Alu.Add, Host.Rcx, Host.State, wide: true);
            _emitter.Load(Host.Rdx, Host.Rcx, Offset.CodeTlb, wide: true);
            _emitter.Arithmetic(Alu.And, Host.Rdx, -4096, wide: true);
            _emitter.Operate(Alu.Compare, Host.Rdx, Host.Rax, wide: true);
            _emitter.Jump(Condition.NotEqual, other);
            EmitForget(Host.Rcx, Offset.CodeTlb);
            _emitter.StoreImmediate(Host.Rcx, Offset.CodeTlb + 16, 0);
            _emitter.Bind(other);
        }

        _emitter.Move(Host.Scratch, Host.Scratch2, wide: true);
        EmitGoOn();
        return start;
    }

    /// <summary>CLTS, and MOV to CR0 that changes nothing but TS.</summary>
    private int EmitLoadTaskSwitched()
    {
        int start = EmitStart();
        CodeLabel set = new();
        CodeLabel done = new();
        _emitter.Load(Host.Rax, Host.State, Offset.Cr0);
        _emitter.Test(Host.Rax, (int)ControlBits.Cr0Emulation);
        _emitter.Jump(Condition.NotEqual, _declineJumped);
        _emitter.Operate(Alu.Xor, Host.Rax, Host.Address);
        _emitter.Test(Host.Rax, ~(int)ControlBits.Cr0TaskSwitched);
        _emitter.Jump(Condition.NotEqual, _declineJumped);
        _emitter.Store(Host.Address, Host.State, Offset.Cr0, wide: true);
        _emitter.Load(Host.Rax, Host.State, Offset.ModeKey);
        _emitter.Arithmetic(Alu.And, Host.Rax, unchecked((int)~(ModeKey.TrapX87 | ModeKey.TrapSse)));
        _emitter.Test(Host.Address, (int)ControlBits.Cr0TaskSwitched);
        _emitter.Jump(Condition.NotEqual, set);
        _emitter.TestMemory(Host.State, Offset.Cr4, (int)ControlBits.Cr4Osfxsr);
        _emitter.Jump(Condition.NotEqual, done);
        _emitter.Arithmetic(Alu.Or, Host.Rax, (int)ModeKey.TrapSse);
        _emitter.Jump(done);
        _emitter.Bind(set);
        _emitter.Arithmetic(Alu.Or, Host.Rax, (int)(ModeKey.TrapX87 | ModeKey.TrapSse));
        _emitter.Bind(done);
        _emitter.Store(Host.Rax, Host.State, Offset.ModeKey);
        _emitter.Move(Host.Scratch, Host.Scratch2);
        EmitGoOn();
        return start;
    }
}
