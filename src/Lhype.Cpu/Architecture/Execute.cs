// The one dispatch switch: from a decoded instruction to the routine of the SDM section that defines it. Called by the
// translator's trap exit for every instruction it does not emit: privileged ones always, and in segmented, 16-bit,
// real and virtual-8086 code also all control transfers, stack and string instructions.

using Iced.Intel;

namespace Lhype.Cpu.Architecture;

public sealed unsafe partial class Processor
{
    /// <summary>
    /// Executes <paramref name="instruction"/>, which was decoded at CS:RIP with an instruction pointer of 0. On
    /// <see cref="Outcome.Done"/> and <see cref="Outcome.Halt"/> RIP holds the next instruction's offset. On
    /// <see cref="Outcome.Fault"/> a fault is recorded and nothing else has changed (a task switch excepted, see
    /// Tasks). Anything unknown raises #UD.
    /// </summary>
    public Outcome Execute(in Instruction instruction)
    {
        uint next = (uint)_state->Rip + (uint)instruction.Length;
        Mnemonic mnemonic = instruction.Mnemonic;
        switch (mnemonic)
        {
            // Control transfers set RIP themselves.
            case Mnemonic.Jmp:
                return Transferred(ExecuteJumpOrCall(instruction, next, call: false));
            case Mnemonic.Call:
                return Transferred(ExecuteJumpOrCall(instruction, next, call: true));
            case Mnemonic.Ret:
                bool narrowReturn = instruction.Code is Code.Retnw or Code.Retnw_imm16;
                return Transferred(ExecuteReturnNear(narrowReturn ? 2 : 4, ReleaseOf(instruction)));
            case Mnemonic.Retf:
                bool narrowFar = instruction.Code is Code.Retfw or Code.Retfw_imm16;
                return Transferred(ExecuteReturnFar(narrowFar ? 2 : 4, ReleaseOf(instruction)));
            case Mnemonic.Iret:
                return Transferred(ExecuteInterruptReturn(2));
            case Mnemonic.Iretd:
                return Transferred(ExecuteInterruptReturn(4));
            case Mnemonic.Jcxz:
                return Transferred(ExecuteLoop(instruction, next, 2, decrement: false));
            case Mnemonic.Jecxz:
                return Transferred(ExecuteLoop(instruction, next, 4, decrement: false));
            case Mnemonic.Loop or Mnemonic.Loope or Mnemonic.Loopne:
                return Transferred(ExecuteLoop(instruction, next, LoopCountSize(instruction.Code), decrement: true));
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
                return Transferred(_model.HasSysenter ? ExecuteSysexit() : RaiseUndefined());
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
            case Mnemonic.Popf:
                return Completed(ExecutePopFlags(2), next);
            case Mnemonic.Popfd:
                return Completed(ExecutePopFlags(4), next);
            case Mnemonic.Enter:
                return Completed(ExecuteEnter(instruction), next);
            case Mnemonic.Leave:
                return Completed(ExecuteLeave(instruction.Code == Code.Leavew ? 2 : 4), next);

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
            case Mnemonic.Lldt or Mnemonic.Ltr or Mnemonic.Sldt or Mnemonic.Str or Mnemonic.Lar or Mnemonic.Lsl
                or Mnemonic.Verr or Mnemonic.Verw or Mnemonic.Arpl:
                return Completed(UsesDescriptors ? ExecuteDescriptorInstruction(instruction) : RaiseUndefined(), next);
            case Mnemonic.Cli:
                return Completed(ExecuteSetInterruptFlag(enable: false), next);
            case Mnemonic.Sti:
                return Completed(ExecuteSetInterruptFlag(enable: true), next);

            // Caches, TLBs, identification, MSRs.
            case Mnemonic.Invlpg:
                return Completed(ExecuteInvalidatePage(instruction), next);
            case Mnemonic.Invd or Mnemonic.Wbinvd:
                return Completed(RequireRing0(), next);
            case Mnemonic.Cpuid:
                return Completed(ExecuteCpuid(), next);
            case Mnemonic.Rdtsc:
                return Completed(ExecuteReadTsc(), next);
            case Mnemonic.Rdmsr:
                return Completed(ExecuteReadMsr(), next);
            case Mnemonic.Wrmsr:
                return Completed(ExecuteWriteMsr(), next);
            case Mnemonic.Rdpmc:
                // No model shows a counter, so every index is invalid.
                return Completed(RaiseProtection(), next);

            default:
                return instruction.ConditionCode != ConditionCode.None && instruction.IsJccShortOrNear
                    ? Transferred(ExecuteConditional(instruction, next, IsConditionTrue(instruction.ConditionCode)))
                    : Completed(RaiseUndefined(), next);
        }
    }

    /// <summary>Result of a routine that set RIP itself.</summary>
    private static Outcome Transferred(bool done) => done ? Outcome.Done : Outcome.Fault;

    /// <summary>Result of a routine that falls through to <paramref name="next"/>.</summary>
    private Outcome Completed(bool done, uint next)
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

    /// <summary>The address size of a LOOP decides whether CX or ECX counts.</summary>
    private static int LoopCountSize(Code code) => code is
        Code.Loop_rel8_16_CX or Code.Loop_rel8_32_CX or Code.Loope_rel8_16_CX or Code.Loope_rel8_32_CX
        or Code.Loopne_rel8_16_CX or Code.Loopne_rel8_32_CX ? 2 : 4;

    /// <summary>MOV to and from segment, control and debug registers.</summary>
    private bool ExecuteMove(in Instruction instruction)
    {
        Register target = instruction.Op0Kind == OpKind.Register ? instruction.Op0Register : Register.None;
        Register source = instruction.Op1Kind == OpKind.Register ? instruction.Op1Register : Register.None;
        if (target is >= Register.ES and <= Register.GS)
        {
            return target != Register.CS
                ? TryReadOperand(instruction, 1, 2, out uint selector)
                    && TryLoadSegment((SegmentRegister)(target - Register.ES), selector)
                : RaiseUndefined();
        }

        if (source is >= Register.ES and <= Register.GS)
        {
            return TryStoreSelectorLike(instruction, ReadRegister(source));
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
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Sldt:
                return TryStoreSelectorLike(instruction, _state->Segment(SegmentRegister.Ldtr).Selector);
            case Mnemonic.Str:
                return TryStoreSelectorLike(instruction, _state->Segment(SegmentRegister.Tr).Selector);
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

        if (!RequireRing0() || !TryReadOperand(instruction, 0, 2, out uint selector))
        {
            return false;
        }

        return instruction.Mnemonic == Mnemonic.Lldt
            ? ExecuteLoadLdt(selector & 0xFFFF)
            : ExecuteLoadTaskRegister(selector & 0xFFFF);
    }
}
