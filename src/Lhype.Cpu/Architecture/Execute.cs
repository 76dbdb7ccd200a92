// The one dispatch switch: from a decoded instruction to the routine of the SDM section that defines it.
// Called by the translator's trap exit for every instruction it does not emit: privileged ones always, and in
// segmented, 16-bit, real and virtual-8086 code also all control transfers, stack and string instructions.

using Iced.Intel;

namespace Lhype.Cpu.Architecture;

public sealed unsafe partial class Processor
{
    /// <summary>
    /// Executes <paramref name="instruction"/>, which was decoded at CS:RIP with an instruction pointer of 0.
    /// On <see cref="Outcome.Done"/> and <see cref="Outcome.Halt"/> RIP holds the next instruction's offset.
    /// On <see cref="Outcome.Fault"/> a fault is recorded and nothing else has changed (a task switch
    /// excepted, see Tasks). Anything unknown raises #UD.
    /// </summary>
    public Outcome Execute(in Instruction instruction)
    {
        ulong next = _state->Rip + (uint)instruction.Length;
        next = IsLongCode ? next : (uint)next;
        Mnemonic mnemonic = instruction.Mnemonic;
        if (_paravirtual != null && TryExecuteParavirtual(instruction, next, out Outcome outcome))
        {
            return outcome;
        }

        switch (mnemonic)
        {
            // Control transfers set RIP themselves.
            case Mnemonic.Jmp:
                return Transferred(ExecuteJumpOrCall(instruction, next, call: false));
            case Mnemonic.Call:
                return Transferred(ExecuteJumpOrCall(instruction, next, call: true));
            case Mnemonic.Ret:
                return Transferred(ExecuteReturnNear(NearReturnSize(instruction.Code),
                    ReleaseOf(instruction)));
            case Mnemonic.Retf:
                return Transferred(ExecuteReturnFar(FarReturnSize(instruction.Code),
                    ReleaseOf(instruction)));
            case Mnemonic.Iret:
                return Transferred(ExecuteInterruptReturn(2, next));
            case Mnemonic.Iretd:
                return Transferred(ExecuteInterruptReturn(4, next));
            case Mnemonic.Iretq:
                return Transferred(ExecuteInterruptReturn(8, next));
            case Mnemonic.Jcxz:
                return Transferred(ExecuteLoop(instruction, next, 2, decrement: false));
            case Mnemonic.Jecxz:
                return Transferred(ExecuteLoop(instruction, next, 4, decrement: false));
            case Mnemonic.Jrcxz:
                return Transferred(ExecuteLoop(instruction, next, 8, decrement: false));
            case Mnemonic.Loop or Mnemonic.Loope or Mnemonic.Loopne:
                int countSize = LoopCountSize(instruction.Code);
                return Transferred(ExecuteLoop(instruction, next, countSize, decrement: true));
            case Mnemonic.Int:
                return Transferred(ExecuteSoftwareInterrupt(instruction.Immediate8, next, checkIopl: true));
            case Mnemonic.Int3:
                return Transferred(ExecuteSoftwareInterrupt(Vector.Breakpoint, next));
            case Mnemonic.Int1:
                return Transferred(ExecuteSoftwareInterrupt(Vector.Debug, next, EventKind.DebugOpcode));
            case Mnemonic.Into:
                return (_state->ArithFlags & EflagsBits.Overflow) != 0
                    ? Transferred(ExecuteSoftwareInterrupt(Vector.Overflow, next))
                    : Completed(true, next);
            case Mnemonic.Sysenter:
                return Transferred(_model.HasSysenter ? ExecuteSysenter() : RaiseUndefined());
            case Mnemonic.Sysexit:
                return Transferred(_model.HasSysenter
                    ? ExecuteSysexit(instruction.Code == Code.Sysexitq) : RaiseUndefined());
            case Mnemonic.Syscall:
                return Transferred(_model.HasLongMode ? ExecuteSyscall(next) : RaiseUndefined());
            case Mnemonic.Sysret or Mnemonic.Sysretq:
                return Transferred(_model.HasLongMode
                    ? ExecuteSysret(instruction.Code == Code.Sysretq) : RaiseUndefined());
            case Mnemonic.Hlt:
                if (!RequireRing0())
                {
                    return Outcome.Fault;
                }

                _state->Rip = next;
                _state->Halted = 1;
                return Outcome.Halt;

            // Stack.
            case Mnemonic.Push:
                return Completed(ExecutePush(instruction), next);
            case Mnemonic.Pop:
                return Completed(ExecutePop(instruction), next);
            case Mnemonic.Pusha:
                return Completed(ExecutePushAll(2), next);
            case Mnemonic.Pushad:
                return Completed(ExecutePushAll(4), next);
            case Mnemonic.Popa:
                return Completed(ExecutePopAll(2), next);
            case Mnemonic.Popad:
                return Completed(ExecutePopAll(4), next);
            case Mnemonic.Pushf:
                return Completed(ExecutePushFlags(2), next);
            case Mnemonic.Pushfd:
                return Completed(ExecutePushFlags(4), next);
            case Mnemonic.Pushfq:
                return Completed(ExecutePushFlags(8), next);
            case Mnemonic.Popf:
                return Completed(ExecutePopFlags(2), next);
            case Mnemonic.Popfd:
                return Completed(ExecutePopFlags(4), next);
            case Mnemonic.Popfq:
                return Completed(ExecutePopFlags(8), next);
            case Mnemonic.Enter:
                return Completed(ExecuteEnter(instruction), next);
            case Mnemonic.Leave:
                return Completed(ExecuteLeave(LeaveSize(instruction.Code)), next);

            // Segment, control and debug registers.
            case Mnemonic.Mov:
                return Completed(ExecuteMove(instruction), next);
            case Mnemonic.Lds:
                return Completed(ExecuteLoadFarPointer(instruction, SegmentRegister.Ds), next);
            case Mnemonic.Les:
                return Completed(ExecuteLoadFarPointer(instruction, SegmentRegister.Es), next);
            case Mnemonic.Lfs:
                return Completed(ExecuteLoadFarPointer(instruction, SegmentRegister.Fs), next);
            case Mnemonic.Lgs:
                return Completed(ExecuteLoadFarPointer(instruction, SegmentRegister.Gs), next);
            case Mnemonic.Lss:
                return Completed(ExecuteLoadFarPointer(instruction, SegmentRegister.Ss), next);
            case Mnemonic.Lgdt or Mnemonic.Lidt:
                bool narrowTable = instruction.Code is Code.Lgdt_m1632_16 or Code.Lidt_m1632_16;
                return Completed(ExecuteLoadTable(instruction, mnemonic == Mnemonic.Lgdt, narrowTable), next);
            case Mnemonic.Sgdt:
                return Completed(ExecuteStoreTable(instruction, _state->GdtLimit, _state->GdtBase), next);
            case Mnemonic.Sidt:
                return Completed(ExecuteStoreTable(instruction, _state->IdtLimit, _state->IdtBase), next);
            case Mnemonic.Lmsw:
                return Completed(ExecuteLoadMachineStatus(instruction), next);
            case Mnemonic.Smsw:
                return Completed(ExecuteStoreMachineStatus(instruction), next);
            case Mnemonic.Clts:
                return Completed(ExecuteClearTaskSwitched(), next);
            case Mnemonic.Lldt or Mnemonic.Ltr or Mnemonic.Sldt or Mnemonic.Str or Mnemonic.Lar
                or Mnemonic.Lsl or Mnemonic.Verr or Mnemonic.Verw or Mnemonic.Arpl:
                return Completed(ExecuteDescriptorInstruction(instruction), next);
            case Mnemonic.Cli:
                return Completed(ExecuteSetInterruptFlag(enable: false), next);
            case Mnemonic.Sti:
                return Completed(ExecuteSetInterruptFlag(enable: true), next);

            // Caches, TLBs, ports.
            case Mnemonic.Invlpg:
                return Completed(ExecuteInvalidatePage(instruction), next);
            case Mnemonic.Invd or Mnemonic.Wbinvd:
                return Completed(RequireRing0(), next);
            case Mnemonic.In:
                return Completed(ExecuteIn(instruction), next);
            case Mnemonic.Out:
                return Completed(ExecuteOut(instruction), next);

            // No 64-bit encoding.
            case Mnemonic.Daa or Mnemonic.Das:
                return Completed(ExecuteDecimalAdjust(mnemonic == Mnemonic.Das), next);
            case Mnemonic.Aaa or Mnemonic.Aas:
                return Completed(ExecuteAsciiAdjust(mnemonic == Mnemonic.Aas), next);
            case Mnemonic.Aam:
                return Completed(ExecuteAsciiMultiply(instruction.Immediate8), next);
            case Mnemonic.Aad:
                return Completed(ExecuteAsciiDivide(instruction.Immediate8), next);
            case Mnemonic.Salc:
                return Completed(ExecuteSetAlFromCarry(), next);
            case Mnemonic.Xlatb:
                return Completed(ExecuteTranslate(instruction), next);
            case Mnemonic.Bound:
                return Completed(ExecuteBound(instruction), next);

            case Mnemonic.INVALID:
                // The decoder gives up at the 15th byte: an instruction that long raises #GP (SDM vol. 3,
                // 6.15).
                return Completed(instruction.Length < 15 ? RaiseUndefined() : RaiseProtection(), next);

            default:
                if (instruction.IsJccShortOrNear)
                {
                    bool taken = IsConditionTrue(instruction.ConditionCode);
                    return Transferred(ExecuteConditional(instruction, next, taken));
                }

                return TryStringOperation(instruction.Code, out StringOperation operation, out int size)
                    ? ExecuteString(instruction, operation, size, next)
                    : Completed(IsShown(instruction) ? ExecuteOptional(instruction) : RaiseUndefined(), next);
        }
    }

    /// <summary>The CPU model has every feature the instruction belongs to.</summary>
    private bool IsShown(in Instruction instruction)
    {
        foreach (CpuidFeature feature in instruction.Code.CpuidFeatures())
        {
            if (!_model.Accepts(feature))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Instructions that exist only in some models.</summary>
    private bool ExecuteOptional(in Instruction instruction)
    {
        if (InstructionForms.IsVexVector(instruction.Code))
        {
            return ExecuteVector(instruction);
        }

        switch (instruction.Mnemonic)
        {
            case Mnemonic.Cpuid:
                return ExecuteCpuid();
            case Mnemonic.Rdtsc:
                return ExecuteReadTsc();
            case Mnemonic.Rdmsr:
                return ExecuteReadMsr();
            case Mnemonic.Wrmsr:
                return ExecuteWriteMsr();
            case Mnemonic.Rdpmc:
                // No model shows a counter, so every index is invalid.
                return RaiseProtection();
            case Mnemonic.Swapgs:
                return ExecuteSwapGs();
            case Mnemonic.Invpcid:
                return ExecuteInvalidateContext(instruction);
            case Mnemonic.Rdfsbase or Mnemonic.Wrfsbase:
                return ExecuteThreadBase(instruction, SegmentRegister.Fs,
                    instruction.Mnemonic == Mnemonic.Wrfsbase);
            case Mnemonic.Rdgsbase or Mnemonic.Wrgsbase:
                return ExecuteThreadBase(instruction, SegmentRegister.Gs,
                    instruction.Mnemonic == Mnemonic.Wrgsbase);
            case Mnemonic.Fxsave or Mnemonic.Fxsave64:
                return ExecuteFxsave(instruction);
            case Mnemonic.Fxrstor or Mnemonic.Fxrstor64:
                return ExecuteFxrstor(instruction);
            case Mnemonic.Xgetbv:
                return ExecuteGetExtendedControl();
            case Mnemonic.Xsetbv:
                return ExecuteSetExtendedControl();
            case Mnemonic.Xsave or Mnemonic.Xsave64 or Mnemonic.Xsaveopt or Mnemonic.Xsaveopt64
                or Mnemonic.Xsavec or Mnemonic.Xsavec64:
                return ExecuteXsave(instruction);
            case Mnemonic.Xrstor or Mnemonic.Xrstor64:
                return ExecuteXrstor(instruction);
            case Mnemonic.Fnsave or Mnemonic.Fsave:
                bool narrowSave = instruction.Code is Code.Fnsave_m94byte or Code.Fsave_m94byte;
                return ExecuteStoreEnvironment(instruction, narrowSave, registers: true);
            case Mnemonic.Fnstenv or Mnemonic.Fstenv:
                bool narrowStore = instruction.Code is Code.Fnstenv_m14byte or Code.Fstenv_m14byte;
                return ExecuteStoreEnvironment(instruction, narrowStore, registers: false);
            case Mnemonic.Frstor:
                bool narrowRestore = instruction.Code == Code.Frstor_m94byte;
                return ExecuteLoadEnvironment(instruction, narrowRestore, registers: true);
            case Mnemonic.Fldenv:
                bool narrowLoad = instruction.Code == Code.Fldenv_m14byte;
                return ExecuteLoadEnvironment(instruction, narrowLoad, registers: false);
            case Mnemonic.Ldmxcsr:
                return ExecuteMxcsr(instruction, store: false);
            case Mnemonic.Stmxcsr:
                return ExecuteMxcsr(instruction, store: true);
            case Mnemonic.Clflush:
                return ExecuteFlushLine(instruction);
            default:
                return ExecuteDisabled(instruction);
        }
    }

    /// <summary>Tells string instructions (MOVSD, CMPSD) from the SSE instructions of the same
    /// name.</summary>
    private static bool TryStringOperation(Code code, out StringOperation operation, out int size)
    {
        (operation, size) = code switch
        {
            Code.Movsb_m8_m8 => (StringOperation.Move, 1),
            Code.Movsw_m16_m16 => (StringOperation.Move, 2),
            Code.Movsd_m32_m32 => (StringOperation.Move, 4),
            Code.Stosb_m8_AL => (StringOperation.Store, 1),
            Code.Stosw_m16_AX => (StringOperation.Store, 2),
            Code.Stosd_m32_EAX => (StringOperation.Store, 4),
            Code.Lodsb_AL_m8 => (StringOperation.Load, 1),
            Code.Lodsw_AX_m16 => (StringOperation.Load, 2),
            Code.Lodsd_EAX_m32 => (StringOperation.Load, 4),
            Code.Scasb_AL_m8 => (StringOperation.Scan, 1),
            Code.Scasw_AX_m16 => (StringOperation.Scan, 2),
            Code.Scasd_EAX_m32 => (StringOperation.Scan, 4),
            Code.Cmpsb_m8_m8 => (StringOperation.Compare, 1),
            Code.Cmpsw_m16_m16 => (StringOperation.Compare, 2),
            Code.Cmpsd_m32_m32 => (StringOperation.Compare, 4),
            Code.Movsq_m64_m64 => (StringOperation.Move, 8),
            Code.Stosq_m64_RAX => (StringOperation.Store, 8),
            Code.Lodsq_RAX_m64 => (StringOperation.Load, 8),
            Code.Scasq_RAX_m64 => (StringOperation.Scan, 8),
            Code.Cmpsq_m64_m64 => (StringOperation.Compare, 8),
            Code.Insb_m8_DX => (StringOperation.Input, 1),
            Code.Insw_m16_DX => (StringOperation.Input, 2),
            Code.Insd_m32_DX => (StringOperation.Input, 4),
            Code.Outsb_DX_m8 => (StringOperation.Output, 1),
            Code.Outsw_DX_m16 => (StringOperation.Output, 2),
            Code.Outsd_DX_m32 => (StringOperation.Output, 4),
            _ => (default, 0),
        };
        return size != 0;
    }

    /// <summary>Result of a routine that set RIP itself.</summary>
    private static Outcome Transferred(bool done) => done ? Outcome.Done : Outcome.Fault;

    /// <summary>Result of a routine that falls through to <paramref name="next"/>.</summary>
    private Outcome Completed(bool done, ulong next)
    {
        if (!done)
        {
            return Outcome.Fault;
        }

        _state->Rip = next;
        return Outcome.Done;
    }

    /// <summary>Bytes of parameters that RET imm16 releases.</summary>
    private static uint ReleaseOf(in Instruction instruction) =>
        instruction.OpCount == 0 ? 0u : instruction.Immediate16;

    /// <summary>The address size of a LOOP decides whether CX, ECX or RCX counts.</summary>
    private static int LoopCountSize(Code code) => code switch
    {
        Code.Loop_rel8_16_CX or Code.Loop_rel8_32_CX or Code.Loope_rel8_16_CX or Code.Loope_rel8_32_CX
            or Code.Loopne_rel8_16_CX or Code.Loopne_rel8_32_CX => 2,
        Code.Loop_rel8_16_RCX or Code.Loop_rel8_64_RCX or Code.Loope_rel8_16_RCX or Code.Loope_rel8_64_RCX
            or Code.Loopne_rel8_16_RCX or Code.Loopne_rel8_64_RCX => 8,
        _ => 4,
    };

    private static int NearReturnSize(Code code) => code switch
    {
        Code.Retnw or Code.Retnw_imm16 => 2,
        Code.Retnd or Code.Retnd_imm16 => 4,
        _ => 8,
    };

    private static int FarReturnSize(Code code) => code switch
    {
        Code.Retfw or Code.Retfw_imm16 => 2,
        Code.Retfd or Code.Retfd_imm16 => 4,
        _ => 8,
    };

    private static int LeaveSize(Code code) => code switch { Code.Leavew => 2, Code.Leaved => 4, _ => 8 };

    /// <summary>MOV to and from segment, control and debug registers.</summary>
    private bool ExecuteMove(in Instruction instruction)
    {
        Register target = instruction.Op0Kind == OpKind.Register ? instruction.Op0Register : Register.None;
        Register source = instruction.Op1Kind == OpKind.Register ? instruction.Op1Register : Register.None;
        if (target is >= Register.ES and <= Register.GS)
        {
            return target != Register.CS
                ? TryReadWord(instruction, 1, out uint selector)
                    && TryLoadSegment((SegmentRegister)(target - Register.ES), selector)
                : RaiseUndefined();
        }

        if (source is >= Register.ES and <= Register.GS)
        {
            return TryStoreSelector(instruction, (uint)ReadRegister(source));
        }

        if (target is >= Register.CR0 and <= Register.CR15)
        {
            return ExecuteMoveControl(source, target, write: true);
        }

        if (source is >= Register.CR0 and <= Register.CR15)
        {
            return ExecuteMoveControl(target, source, write: false);
        }

        if (target is >= Register.DR0 and <= Register.DR7)
        {
            return ExecuteMoveDebug(source, target, write: true);
        }

        return source is >= Register.DR0 and <= Register.DR7
            ? ExecuteMoveDebug(target, source, write: false)
            : RaiseUndefined();
    }

    /// <summary>The instructions that exist only where selectors name descriptors.</summary>
    private bool ExecuteDescriptorInstruction(in Instruction instruction)
    {
        if (!UsesDescriptors)
        {
            return RaiseUndefined();
        }

        switch (instruction.Mnemonic)
        {
            case Mnemonic.Sldt:
                return RequireShownToUser()
                    && TryStoreSelector(instruction, _state->Segment(SegmentRegister.Ldtr).Selector);
            case Mnemonic.Str:
                return RequireShownToUser()
                    && TryStoreSelector(instruction, _state->Segment(SegmentRegister.Tr).Selector);
            case Mnemonic.Lar:
                return ExecuteLoadAccessOrLimit(instruction, limit: false);
            case Mnemonic.Lsl:
                return ExecuteLoadAccessOrLimit(instruction, limit: true);
            case Mnemonic.Verr:
                return ExecuteVerify(instruction, write: false);
            case Mnemonic.Verw:
                return ExecuteVerify(instruction, write: true);
            case Mnemonic.Arpl:
                return ExecuteAdjustRpl(instruction);
        }

        if (!RequireRing0() || !TryReadWord(instruction, 0, out uint selector))
        {
            return false;
        }

        return instruction.Mnemonic == Mnemonic.Lldt
            ? ExecuteLoadLdt(selector & 0xFFFF)
            : ExecuteLoadTaskRegister(selector & 0xFFFF);
    }
}
