// The thunks of 64-bit kernels: SYSCALL, SYSRET to 64-bit code, IRETQ between 64-bit code segments.
// Conventions and registers are those of SystemThunks.cs, with 64-bit addresses; everything they decline goes
// to C# (Architecture/LongMode.cs, LongEvents.cs). Translations of 64-bit code alone jump here, so CS has
// base 0 and TF, alignment checks and breakpoints are off.

using Lhype.Cpu.Architecture;
using Offset = Lhype.Cpu.CpuState.Offset;

namespace Lhype.Cpu.Translator;

internal sealed unsafe partial class Thunks
{
    private const int KernelCode64 = 0xA09B, UserCode64 = 0xA0FB;
    private const int FrameCs = 8, FrameFlags = 16, FrameRsp = 24, FrameSs = 32, LongFrame = 40;

    /// <summary>EFLAGS bits that SYSRET loads from R11 (SDM vol. 2, SYSRET).</summary>
    private const int SysretFlags = 0x3C_7FD7;

    internal int SystemCall { get; private set; }
    internal int SystemReturn { get; private set; }
    internal int LongInterruptReturn { get; private set; }
    internal int LongPopFlags { get; private set; }
    internal int LongLoadCr3 { get; private set; }
    internal int ReadFsBase { get; private set; }
    internal int ReadGsBase { get; private set; }
    internal int WriteFsBase { get; private set; }
    internal int WriteGsBase { get; private set; }

    private void EmitLongThunks(CpuModel model)
    {
        SystemCall = EmitSystemCall(model);
        SystemReturn = EmitSystemReturn(model);
        LongInterruptReturn = EmitLongInterruptReturn(model);
        LongPopFlags = EmitPopFlags(model, slot: 8);
        LongLoadCr3 = EmitLoadCr3(wide: true);
        ReadFsBase = EmitThreadBase(SegmentRegister.Fs, write: false);
        ReadGsBase = EmitThreadBase(SegmentRegister.Gs, write: false);
        WriteFsBase = EmitThreadBase(SegmentRegister.Fs, write: true);
        WriteGsBase = EmitThreadBase(SegmentRegister.Gs, write: true);
    }

    /// <summary>RDFSBASE and its family; r8 = base.</summary>
    private int EmitThreadBase(SegmentRegister register, bool write)
    {
        int start = EmitStart();
        int offset = SegmentOffset(register);
        _emitter.TestMemory(Host.State, Offset.Cr4, (int)ControlBits.Cr4Fsgsbase);
        _emitter.Jump(Condition.Equal, _declineCalled);
        if (write)
        {
            EmitRequireCanonical(Host.Address, _declineCalled);
            _emitter.Store(Host.Address, Host.State, offset, wide: true);
        }
        else
        {
            _emitter.Load(Host.Address, Host.State, offset, wide: true);
        }

        EmitReturn();
        return start;
    }

    private void EmitRequireSyscall()
    {
        _emitter.TestMemory(Host.State, Offset.Efer, (int)ControlBits.EferSyscall);
        _emitter.Jump(Condition.Equal, _declineJumped);
    }

    /// <summary>SYSCALL; r10 = next instruction, which becomes RCX.</summary>
    private int EmitSystemCall(CpuModel model)
    {
        int start = EmitStart();
        EmitRequireSyscall();
        EmitGetFlags();
        _emitter.Arithmetic(Alu.And, Host.Rdx, unchecked((int)~EflagsBits.Resume));
        _emitter.Store(Host.Rdx, Host.State, Offset.Gpr + (11 * 8), wide: true);
        _emitter.Load(Host.Rax, Host.State, Offset.Fmask);
        _emitter.OpRegister(0xF7, 2, Host.Rax);
        _emitter.Operate(Alu.And, Host.Rax, Host.Rdx);
        EmitSetFlags(model, resume: true);
        _emitter.Load(Host.Address, Host.State, Offset.Star + 4);
        _emitter.Arithmetic(Alu.And, Host.Address, 0xFFFC);
        EmitFixedSegment(SegmentRegister.Cs, KernelCode64, step: 0);
        EmitFlatStack();
        EmitFixedSegment(SegmentRegister.Ss, KernelStack, step: 8);
        EmitRestore();
        _emitter.Move(Host.Rcx, Host.Scratch2, wide: true);
        _emitter.Load(Host.Scratch, Host.State, Offset.Lstar, wide: true);
        EmitModeOfRing(Host.Scratch2, user: false, wide: true);
        _emitter.Increment64(Host.State, Offset.SystemThunks);
        _emitter.Jump(Dispatch);
        return start;
    }

    /// <summary>SYSRET with REX.W at CPL 0: RCX is where to go, R11 the flags.</summary>
    private int EmitSystemReturn(CpuModel model)
    {
        int start = EmitStart();
        EmitRequireSyscall();
        _emitter.Move(Host.Scratch2, Host.Rcx, wide: true);
        EmitRequireCanonical(Host.Rcx, _declineJumped);
        _emitter.Load(Host.Rax, Host.State, Offset.Gpr + (11 * 8));
        _emitter.Arithmetic(Alu.And, Host.Rax, SysretFlags);
        _emitter.Test(Host.Rax, (int)(EflagsBits.Trap | EflagsBits.AlignmentCheck));
        _emitter.Jump(Condition.NotEqual, _declineJumped);
        EmitDeclineIfInterrupted(Host.Rax, _declineJumped);
        EmitSetFlags(model, resume: true);
        _emitter.LoadZeroExtended(Host.Address, Host.State, Offset.Star + 6, 2);
        EmitFlatStack();
        _emitter.Arithmetic(Alu.Add, Host.Address, 8);
        _emitter.Arithmetic(Alu.Or, Host.Address, 3);
        EmitFixedSegment(SegmentRegister.Ss, UserStack, step: 0);
        _emitter.LoadZeroExtended(Host.Address, Host.State, Offset.Star + 6, 2);
        _emitter.Arithmetic(Alu.Add, Host.Address, 16);
        _emitter.Arithmetic(Alu.Or, Host.Address, 3);
        EmitFixedSegment(SegmentRegister.Cs, UserCode64, step: 0);
        _emitter.Move(Host.Scratch, Host.Scratch2, wide: true);
        EmitModeOfRing(Host.Scratch2, user: true, wide: true);
        EmitGoOn();
        return start;
    }

    /// <summary>SS becomes flat: base 0, 4 GiB. Its selector and attributes follow.</summary>
    private void EmitFlatStack()
    {
        int stack = SegmentOffset(SegmentRegister.Ss);
        _emitter.OpMemory(0xC7, 0, Host.State, stack, wide: true);
        _emitter.Int32(0);
        _emitter.StoreImmediate(Host.State, stack + 8, -1);
    }

    /// <summary>Bits 47 to 63 of <paramref name="register"/> are alike. Changes rsi.</summary>
    private void EmitRequireCanonical(int register, int decline)
    {
        // sar (x << 16), 16 equals x for canonical addresses alone.
        _emitter.Move(Host.Rsi, register, wide: true);
        _emitter.ShiftLeft(Host.Rsi, 16, wide: true);
        _emitter.OpRegister(0xC1, 7, Host.Rsi, wide: true);
        _emitter.Byte(16);
        _emitter.Operate(Alu.Compare, Host.Rsi, register, wide: true);
        _emitter.Jump(Condition.NotEqual, decline);
    }

    /// <summary>IRETQ at CPL 0, to 64-bit code at CPL 0 or 3. r8 = the frame, r10d = the EFLAGS
    /// image.</summary>
    private int EmitLongInterruptReturn(CpuModel model)
    {
        int start = EmitStart();
        CodeLabel inner = new();
        CodeLabel nullStack = new();
        CodeLabel checkedStack = new();
        _emitter.TestMemory(Host.State, Offset.SystemFlags, (int)EflagsBits.NestedTask);
        _emitter.Jump(Condition.NotEqual, _declineJumped);
        _emitter.Move(Host.Address, Host.GuestEsp, wide: true);
        EmitTranslate(Host.Address, LongFrame, SupervisorRead, _declineJumped);
        _emitter.Load(Host.Scratch2, Host.Address, FrameFlags);
        _emitter.Test(Host.Scratch2, (int)EflagsBits.Trap);
        _emitter.Jump(Condition.NotEqual, _declineJumped);
        EmitDeclineIfInterrupted(Host.Scratch2, _declineJumped);
        _emitter.Load(Host.Rax, Host.Address, 0, wide: true);
        EmitRequireCanonical(Host.Rax, _declineJumped);
        _emitter.LoadZeroExtended(Host.Rcx, Host.Address, FrameCs, 2);
        EmitDescriptor(DescriptorKind.ReturnCode, 0, _declineJumped);
        _emitter.TestMemory(Host.Rdx, DescriptorEntry.FlagsOffset, (int)DescriptorEntry.Long);
        _emitter.Jump(Condition.Equal, _declineJumped);
        _emitter.Load(Host.Rax, Host.Rdx, DescriptorEntry.AttributesOffset);
        _emitter.Store(Host.Rax, Host.State, SavedPointer);
        _emitter.Store(Host.Rcx, Host.State, SavedSelector);
        _emitter.Test(Host.Rcx, 3);
        _emitter.Jump(Condition.Equal, inner);

        // To CPL 3.
        _emitter.Test(Host.Scratch2, (int)EflagsBits.AlignmentCheck);
        _emitter.Jump(Condition.NotEqual, _declineJumped);
        EmitRequireUsable(SegmentRegister.Ds);
        EmitRequireUsable(SegmentRegister.Es);
        EmitRequireUsable(SegmentRegister.Fs);
        EmitRequireUsable(SegmentRegister.Gs);
        _emitter.LoadZeroExtended(Host.Rcx, Host.Address, FrameSs, 2);
        EmitDescriptor(DescriptorKind.Stack, 3, _declineJumped);
        EmitRequireFlat(_declineJumped);
        _emitter.Load(Host.Rax, Host.Rdx, DescriptorEntry.AttributesOffset);
        EmitReturnFrame(model, user: true);

        // To CPL 0, where SS may be null.
        _emitter.Bind(inner);
        _emitter.LoadZeroExtended(Host.Rcx, Host.Address, FrameSs, 2);
        _emitter.OpRegister(0x85, Host.Rcx, Host.Rcx);
        _emitter.Jump(Condition.Equal, nullStack);
        EmitDescriptor(DescriptorKind.Stack, 0, _declineJumped);
        EmitRequireFlat(_declineJumped);
        _emitter.Load(Host.Rax, Host.Rdx, DescriptorEntry.AttributesOffset);
        _emitter.Jump(checkedStack);
        _emitter.Bind(nullStack);
        _emitter.MoveImmediate(Host.Rax, (int)SegmentCache.UnusableBit);
        _emitter.Bind(checkedStack);
        EmitReturnFrame(model, user: false);
        return start;
    }

    /// <summary>Commits: eax = attributes of SS, ecx = its selector, r8 = the frame, r10d = EFLAGS.</summary>
    private void EmitReturnFrame(CpuModel model, bool user)
    {
        EmitFlatStack();
        EmitReplaceFlat(SegmentRegister.Ss);
        _emitter.Load(Host.Rax, Host.State, SavedPointer);
        _emitter.Load(Host.Rcx, Host.State, SavedSelector);
        EmitReplaceFlat(SegmentRegister.Cs);
        _emitter.Move(Host.Rax, Host.Scratch2);
        EmitSetFlags(model, resume: true);
        _emitter.Load(Host.Scratch, Host.Address, 0, wide: true);
        _emitter.Load(Host.GuestEsp, Host.Address, FrameRsp, wide: true);
        if (user)
        {
            EmitModeOfRing(Host.Scratch2, user: true, wide: true);
        }

        EmitGoOn();
    }
}
