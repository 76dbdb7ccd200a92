// What kind of lowering each instruction gets, in each mode. An instruction that the CPU model does not show
// traps to C#, which raises #UD, so the set of instructions the guest can run is exactly what its CPUID says.

using Iced.Intel;
using Lhype.Cpu.Architecture;

namespace Lhype.Cpu.Translator;

/// <summary>The ways an instruction can be translated.</summary>
internal enum InstructionKind : byte
{
    /// <summary>Executed by C#.</summary>
    Trap,
    /// <summary>Re-encoded by InstructionCopy.</summary>
    Copy,
    /// <summary>Does nothing.</summary>
    Nop,
    /// <summary>Has a lowering of its own.</summary>
    Special,
}

/// <summary>Classifies instructions for one CPU model.</summary>
internal sealed class InstructionClasses
{
    /// <summary>More than the highest value of Iced's Code enumeration.</summary>
    private const int CodeCount = 8192;
    private const byte Known = 1;
    private const byte Accepted = 2;
    private const byte X87 = 4;
    private const byte Sse = 8;
    private const byte Vex = 16;
    private const byte VexVector = 32;

    private readonly CpuModel _model;
    private readonly byte[] _features = new byte[CodeCount];

    internal InstructionClasses(CpuModel model) => _model = model;

    /// <summary>The guest's kernel has enabled AVX. All translations are for the one value or the
    /// other.</summary>
    internal bool AvxEnabled { get; set; }

    /// <summary>True if nothing after <paramref name="instruction"/> belongs to its block.</summary>
    internal bool EndsBlock(in Instruction instruction, uint mode)
    {
        if (instruction.FlowControl != FlowControl.Next)
        {
            return true;
        }

        if (IsEmittedSystem(instruction, mode))
        {
            return !GoesOnInBlock(instruction);
        }

        switch (instruction.Mnemonic)
        {
            case Mnemonic.Hlt or Mnemonic.Wrmsr or Mnemonic.Invlpg or Mnemonic.Invpcid or Mnemonic.Lmsw
                or Mnemonic.Clts or Mnemonic.Wbinvd or Mnemonic.Invd or Mnemonic.Xsetbv or Mnemonic.Popf
                or Mnemonic.Popfd or Mnemonic.Popfq or Mnemonic.Lss:
                return true;
            case Mnemonic.Mov:
                return instruction.Op0Kind == OpKind.Register
                    && (instruction.Op0Register.IsCR() || instruction.Op0Register.IsDR()
                        || instruction.Op0Register.IsSegmentRegister());
            case Mnemonic.Pop:
                return instruction.Op0Kind == OpKind.Register && instruction.Op0Register.IsSegmentRegister();
            default:
                return false;
        }
    }

    /// <summary>The lowering for <paramref name="instruction"/> in <paramref name="mode"/>.</summary>
    internal InstructionKind KindOf(in Instruction instruction, uint mode)
    {
        byte features = FeaturesOf(instruction.Code);
        if (IsHint(instruction.Mnemonic))
        {
            return InstructionKind.Nop;
        }

        if ((features & Accepted) == 0
            || ((features & X87) != 0 && (mode & ModeKey.TrapX87) != 0)
            || ((features & Sse) != 0 && (mode & ModeKey.TrapSse) != 0)
            || ((features & Vex) != 0 && !RunsVex(features, mode)))
        {
            return InstructionKind.Trap;
        }

        if (IsEmittedSystem(instruction, mode))
        {
            return InstructionKind.Special;
        }

        bool plain = (mode & (ModeKey.Flat | ModeKey.Code32)) == (ModeKey.Flat | ModeKey.Code32);
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Jmp or Mnemonic.Call:
                return plain && IsNearTarget(instruction)
                    && !instruction.IsJmpFarIndirect && !instruction.IsCallFarIndirect
                        && !IsOperand16(instruction)
                    ? InstructionKind.Special : InstructionKind.Trap;
            case Mnemonic.Ret:
                return plain
                    && instruction.Code is Code.Retnd or Code.Retnd_imm16 or Code.Retnq or Code.Retnq_imm16
                    ? InstructionKind.Special : InstructionKind.Trap;
            case Mnemonic.Jecxz or Mnemonic.Jrcxz or Mnemonic.Loop or Mnemonic.Loope or Mnemonic.Loopne:
                return plain && instruction.Op0Kind is OpKind.NearBranch32 or OpKind.NearBranch64
                    && instruction.Code is Code.Jecxz_rel8_32 or Code.Jecxz_rel8_64 or Code.Jrcxz_rel8_64
                    or Code.Loop_rel8_32_ECX or Code.Loope_rel8_32_ECX or Code.Loopne_rel8_32_ECX
                    or Code.Loop_rel8_64_ECX or Code.Loope_rel8_64_ECX or Code.Loopne_rel8_64_ECX
                    or Code.Loop_rel8_64_RCX or Code.Loope_rel8_64_RCX or Code.Loopne_rel8_64_RCX
                    ? InstructionKind.Special : InstructionKind.Trap;
            case Mnemonic.Jcxz:
                return InstructionKind.Trap;
            case Mnemonic.Push:
                return plain && IsFullSlot(instruction) ? InstructionKind.Special : InstructionKind.Trap;
            case Mnemonic.Pop:
                return plain && IsFullSlot(instruction) && !(instruction.Op0Kind == OpKind.Register
                    && instruction.Op0Register.IsSegmentRegister()) ? InstructionKind.Special
                        : InstructionKind.Trap;
            case Mnemonic.Leave:
                return plain && instruction.Code is Code.Leaved or Code.Leaveq ? InstructionKind.Special
                    : InstructionKind.Trap;
            case Mnemonic.Pushfd or Mnemonic.Pushfq:
                return plain && (mode & ModeKey.TrapFlags) == 0 ? InstructionKind.Special
                    : InstructionKind.Trap;
            case Mnemonic.Cli or Mnemonic.Sti:
                return (mode & ModeKey.TrapFlags) == 0 ? InstructionKind.Special : InstructionKind.Trap;
            case Mnemonic.Cld or Mnemonic.Std:
                return InstructionKind.Special;
            case Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc:
                return instruction.Op0Kind == OpKind.Memory && instruction.Op1Kind == OpKind.Register
                    ? InstructionKind.Special : InstructionKind.Copy;
            case Mnemonic.Lodsb or Mnemonic.Lodsw or Mnemonic.Lodsd or Mnemonic.Stosb or Mnemonic.Stosw
                or Mnemonic.Stosd or Mnemonic.Scasb or Mnemonic.Scasw or Mnemonic.Scasd
                or Mnemonic.Movsb or Mnemonic.Movsw or Mnemonic.Cmpsb or Mnemonic.Cmpsw
                or Mnemonic.Lodsq or Mnemonic.Stosq or Mnemonic.Scasq or Mnemonic.Movsq or Mnemonic.Cmpsq:
            case Mnemonic.Movsd or Mnemonic.Cmpsd when instruction.IsStringInstruction:
                return plain && HasFullIndex(instruction) && IsEmittedString(instruction, mode)
                    ? InstructionKind.Special : InstructionKind.Trap;
            case Mnemonic.Vzeroupper:
                return (mode & ModeKey.Compatibility) != 0 ? InstructionKind.Special : InstructionKind.Copy;
            case Mnemonic.Vzeroall:
                return (mode & ModeKey.Compatibility) != 0 ? InstructionKind.Trap : InstructionKind.Copy;
            case Mnemonic.Vmaskmovps or Mnemonic.Vmaskmovpd or Mnemonic.Vpmaskmovd or Mnemonic.Vpmaskmovq
                or Mnemonic.Lea or Mnemonic.Maskmovq or Mnemonic.Maskmovdqu or Mnemonic.Vmaskmovdqu:
                return InstructionKind.Special;
            case Mnemonic.Mov:
                return KindOfMove(instruction);
            default:
                if (instruction.FlowControl == FlowControl.ConditionalBranch)
                {
                    return plain && IsNearTarget(instruction)
                        ? InstructionKind.Special : InstructionKind.Trap;
                }

                return IsTrapped(instruction) || (InstructionForms.IsGather(instruction.Mnemonic)
                    && !ModeKey.HasWindow(mode)) ? InstructionKind.Trap : InstructionKind.Copy;
        }
    }

    /// <summary>VEX-encoded instructions of 16-bit code trap with those of real mode, where they are
    /// #UD.</summary>
    private bool RunsVex(byte features, uint mode) => (mode & ModeKey.Code32) != 0
        && ((features & VexVector) == 0 || (AvxEnabled && (mode & ModeKey.TrapSse) == 0));

    /// <summary>System instructions that a thunk or a few emitted instructions do (see LoweringSystem): in
    /// flat 32-bit code only, those that need privilege at CPL 0 only, and never one at a time under
    /// TF.</summary>
    internal static bool IsEmittedSystem(in Instruction instruction, uint mode)
    {
        const uint plain = ModeKey.Flat | ModeKey.Code32;
        if ((mode & (plain | ModeKey.SingleStep)) != plain)
        {
            return false;
        }

        bool ring0 = (mode & ModeKey.TrapFlags) == 0;
        if ((mode & ModeKey.LongMode) != 0)
        {
            return instruction.Mnemonic == Mnemonic.Rdtsc
                || ((mode & ModeKey.Long) != 0 && IsEmittedLong(instruction, ring0));
        }

        switch (instruction.Mnemonic)
        {
            case Mnemonic.Rdtsc or Mnemonic.Sysenter or Mnemonic.Int:
                return true;
            case Mnemonic.Popfd or Mnemonic.Iretd or Mnemonic.Invlpg or Mnemonic.Clts:
                return ring0;
            case Mnemonic.Sysexit:
                return ring0 && instruction.Code == Code.Sysexitd;
            case Mnemonic.Pop:
                return instruction.Op0Kind == OpKind.Register && IsThreadOrData(instruction.Op0Register)
                    && IsFullSlot(instruction) && !ModeKey.HasWindow(mode);
            case Mnemonic.Mov:
                break;
            default:
                return false;
        }

        Register target = instruction.Op0Kind == OpKind.Register ? instruction.Op0Register : Register.None;
        Register source = instruction.Op1Kind == OpKind.Register ? instruction.Op1Register : Register.None;
        return (IsThreadOrData(target) && (source != Register.None || !ModeKey.HasWindow(mode)))
            || (ring0 && (target is Register.CR0 or Register.CR3
                || source is Register.CR0 or Register.CR2 or Register.CR3));
    }

    private static bool IsEmittedLong(in Instruction instruction, bool ring0) => instruction.Mnemonic switch
    {
        Mnemonic.Syscall => true,
        Mnemonic.Rdfsbase or Mnemonic.Rdgsbase or Mnemonic.Wrfsbase or Mnemonic.Wrgsbase =>
            instruction.Op0Register is not (Register.ESP or Register.RSP),
        Mnemonic.Sysretq or Mnemonic.Iretq or Mnemonic.Swapgs or Mnemonic.Popfq or Mnemonic.Invlpg => ring0,
        Mnemonic.Mov => ring0 && instruction.Op0Kind == OpKind.Register
            && instruction.Op1Kind == OpKind.Register
            && (instruction.Op0Register == Register.CR3
                || instruction.Op1Register is Register.CR0 or Register.CR2 or Register.CR3),
        _ => false,
    };

    /// <summary>The emitted system instructions behind which the block continues.</summary>
    private static bool GoesOnInBlock(in Instruction instruction) => instruction.Mnemonic switch
    {
        Mnemonic.Rdtsc or Mnemonic.Popfd or Mnemonic.Popfq or Mnemonic.Swapgs or Mnemonic.Rdfsbase
            or Mnemonic.Rdgsbase or Mnemonic.Wrfsbase or Mnemonic.Wrgsbase => true,
        Mnemonic.Pop => instruction.Op0Register is Register.DS or Register.ES,
        Mnemonic.Mov => instruction.Op0Register is Register.DS or Register.ES
            || instruction.Op1Register.IsCR(),
        _ => false,
    };

    private static bool IsThreadOrData(Register register) =>
        register is Register.DS or Register.ES or Register.FS or Register.GS;

    /// <summary>Trapped instructions that change nothing the translation mode depends on.</summary>
    internal static bool KeepsMode(in Instruction instruction) => instruction.IsStringInstruction
        || instruction.Mnemonic is Mnemonic.In or Mnemonic.Out or Mnemonic.Rdtsc or Mnemonic.Cpuid
            or Mnemonic.Rdmsr or Mnemonic.Fxsave or Mnemonic.Fxrstor or Mnemonic.Fnsave or Mnemonic.Frstor
            or Mnemonic.Fxsave64 or Mnemonic.Fxrstor64 or Mnemonic.Swapgs or Mnemonic.Rdtscp
            or Mnemonic.Invlpg or Mnemonic.Invpcid or Mnemonic.Rdfsbase or Mnemonic.Rdgsbase
            or Mnemonic.Wrfsbase or Mnemonic.Wrgsbase or Mnemonic.Hlt or Mnemonic.Pushad
            or Mnemonic.Popad or Mnemonic.Sti or Mnemonic.Cli or Mnemonic.Vldmxcsr
        || IsSaveRestore(instruction.Mnemonic) || InstructionForms.IsGather(instruction.Mnemonic)
        || InstructionForms.IsMaskedMove(instruction.Mnemonic);

    private static bool IsSaveRestore(Mnemonic mnemonic) => mnemonic is Mnemonic.Xsave or Mnemonic.Xsave64
        or Mnemonic.Xsaveopt or Mnemonic.Xsaveopt64 or Mnemonic.Xsavec or Mnemonic.Xsavec64
        or Mnemonic.Xrstor or Mnemonic.Xrstor64 or Mnemonic.Xgetbv;

    private static InstructionKind KindOfMove(in Instruction instruction)
    {
        for (int i = 0; i < 2; i++)
        {
            if (instruction.GetOpKind(i) == OpKind.Register)
            {
                Register register = instruction.GetOpRegister(i);
                if (register.IsSegmentRegister())
                {
                    return i == 1 ? InstructionKind.Special : InstructionKind.Trap;
                }

                if (register.IsCR() || register.IsDR() || register.IsTR())
                {
                    return InstructionKind.Trap;
                }
            }
        }

        return InstructionKind.Copy;
    }

    /// <summary>Everything that is privileged, changes control flow, has an implicit memory operand, has no
    /// 64-bit encoding, or shows what only C# knows.</summary>
    private static bool IsTrapped(in Instruction instruction)
    {
        if (instruction.IsPrivileged || instruction.FlowControl != FlowControl.Next
            || instruction.IsStackInstruction
            || instruction.IsStringInstruction || IsSaveRestore(instruction.Mnemonic))
        {
            return true;
        }

        switch (instruction.Mnemonic)
        {
            case Mnemonic.Aaa or Mnemonic.Aad or Mnemonic.Aam or Mnemonic.Aas or Mnemonic.Daa or Mnemonic.Das
                or Mnemonic.Salc or Mnemonic.Bound or Mnemonic.Into or Mnemonic.Arpl or Mnemonic.Xlatb
                or Mnemonic.Lds or Mnemonic.Les or Mnemonic.Lfs or Mnemonic.Lgs or Mnemonic.Lss
                or Mnemonic.Lar or Mnemonic.Lsl or Mnemonic.Verr or Mnemonic.Verw
                or Mnemonic.Sgdt or Mnemonic.Sidt or Mnemonic.Sldt or Mnemonic.Str or Mnemonic.Smsw
                or Mnemonic.Cpuid or Mnemonic.Rdtsc or Mnemonic.Rdtscp or Mnemonic.Rdpmc or Mnemonic.Rdpid
                or Mnemonic.In or Mnemonic.Out or Mnemonic.Pushf or Mnemonic.Pushfd or Mnemonic.Popf
                or Mnemonic.Popfd or Mnemonic.Fxsave or Mnemonic.Fxrstor or Mnemonic.Fnsave or Mnemonic.Frstor
                or Mnemonic.Pushfq or Mnemonic.Popfq or Mnemonic.Fxsave64 or Mnemonic.Fxrstor64
                or Mnemonic.Rdfsbase or Mnemonic.Rdgsbase or Mnemonic.Wrfsbase or Mnemonic.Wrgsbase
                or Mnemonic.Fnstenv
                or Mnemonic.Fldenv or Mnemonic.Clflush or Mnemonic.Clflushopt or Mnemonic.Monitor
                or Mnemonic.Mwait
                or Mnemonic.Stac or Mnemonic.Clac or Mnemonic.Enter or Mnemonic.Pusha or Mnemonic.Pushad
                or Mnemonic.Popa or Mnemonic.Popad or Mnemonic.Swapgs or Mnemonic.Vmcall or Mnemonic.Vmmcall
                or Mnemonic.Ldmxcsr or Mnemonic.Insb or Mnemonic.Insw or Mnemonic.Insd or Mnemonic.Outsb
                or Mnemonic.Outsw or Mnemonic.Outsd or Mnemonic.Umonitor or Mnemonic.Vldmxcsr
                or Mnemonic.INVALID:
                return true;
            default:
                return false;
        }
    }

    /// <summary>Reserved NOPs and prefetches: hints an older CPU executes as nothing, without touching
    /// memory.</summary>
    private static bool IsHint(Mnemonic mnemonic) => mnemonic is Mnemonic.Nop or Mnemonic.Reservednop
        or Mnemonic.Endbr32 or Mnemonic.Endbr64 or Mnemonic.Rdsspd or Mnemonic.Cldemote
        or Mnemonic.Bndmk or Mnemonic.Bndmov or Mnemonic.Bndcl or Mnemonic.Bndcu or Mnemonic.Bndcn
        or Mnemonic.Bndldx
        or Mnemonic.Bndstx or Mnemonic.Prefetchnta or Mnemonic.Prefetcht0 or Mnemonic.Prefetcht1
        or Mnemonic.Prefetcht2 or Mnemonic.Prefetchw;

    private static bool IsOperand16(in Instruction instruction) =>
        instruction.Code is Code.Jmp_rel16 or Code.Jmp_rel8_16
        or Code.Jmp_rm16 or Code.Call_rel16 or Code.Call_rm16;

    /// <summary>A near branch that emitted code can make: through a register or memory, or direct to a place
    /// whose distance from this page is a 32-bit number.</summary>
    private static bool IsNearTarget(in Instruction instruction) => instruction.Op0Kind switch
    {
        OpKind.NearBranch32 or OpKind.Register or OpKind.Memory => true,
        OpKind.NearBranch64 => (long)instruction.NearBranch64 is > int.MinValue + 8192
            and < int.MaxValue - 8192,
        _ => false,
    };

    /// <summary>The stack slot has the natural size: 4 bytes, or 8 in 64-bit code.</summary>
    private static bool IsFullSlot(in Instruction instruction) =>
        instruction.StackPointerIncrement is 4 or -4 or 8 or -8;

    /// <summary>Single string instructions, and repeated ones but LODS; not under TF, which traps after every
    /// iteration, nor through FS or GS that may be closed.</summary>
    private static bool IsEmittedString(in Instruction instruction, uint mode)
    {
        if (!instruction.HasRepPrefix && !instruction.HasRepnePrefix)
        {
            return true;
        }

        bool open = instruction.MemorySegment switch
        {
            Register.FS => (mode & ModeKey.FsOpen) != 0,
            Register.GS => (mode & ModeKey.GsOpen) != 0,
            _ => true,
        };
        if (ModeKey.HasWindow(mode))
        {
            return (mode & ModeKey.SingleStep) == 0
                && instruction.MemorySegment is not (Register.FS or Register.GS)
                && (instruction.MemorySegment != Register.CS || (mode & ModeKey.Long) != 0);
        }

        return open && (mode & ModeKey.SingleStep) == 0
            && instruction.Mnemonic is not (Mnemonic.Lodsb or Mnemonic.Lodsw or Mnemonic.Lodsd
                or Mnemonic.Lodsq);
    }

    /// <summary>The address size is the natural one: ESI and EDI, or RSI and RDI in 64-bit code.</summary>
    private static bool HasFullIndex(in Instruction instruction)
    {
        bool wide = instruction.CodeSize == CodeSize.Code64;
        for (int i = 0; i < instruction.OpCount; i++)
        {
            OpKind kind = instruction.GetOpKind(i);
            if (kind is OpKind.MemorySegSI or OpKind.MemoryESDI or OpKind.MemorySegDI
                || (wide && kind is OpKind.MemorySegESI or OpKind.MemoryESEDI or OpKind.MemorySegEDI))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>True for x87 and MMX instructions.</summary>
    internal bool IsX87(Code code) => (FeaturesOf(code) & X87) != 0;

    private byte FeaturesOf(Code code)
    {
        byte features = _features[(int)code];
        if (features == 0)
        {
            // FWAIT is an 8086 instruction, but obeys CR0.TS (with MP) like the x87's own.
            features = code == Code.Wait ? (byte)(Known | Accepted | X87) : (byte)(Known | Accepted);
            EncodingKind encoding = code.Encoding();
            features &= encoding is EncodingKind.Legacy or EncodingKind.VEX ? byte.MaxValue
                : unchecked((byte)~Accepted);
            features |= encoding == EncodingKind.VEX ? Vex : (byte)0;
            features |= InstructionForms.IsVexVector(code) ? VexVector : (byte)0;
            foreach (CpuidFeature feature in code.CpuidFeatures())
            {
                if (!_model.Accepts(feature))
                {
                    features &= unchecked((byte)~Accepted);
                }

                features |= feature switch
                {
                    CpuidFeature.FPU or CpuidFeature.FPU287 or CpuidFeature.FPU387 or CpuidFeature.MMX => X87,
                    CpuidFeature.SSE or CpuidFeature.SSE2 or CpuidFeature.SSE3 or CpuidFeature.SSSE3
                        or CpuidFeature.SSE4_1 or CpuidFeature.SSE4_2 or CpuidFeature.AES
                        or CpuidFeature.PCLMULQDQ or CpuidFeature.SHA or CpuidFeature.GFNI
                        when encoding == EncodingKind.Legacy => Sse,
                    _ => 0,
                };
            }

            _features[(int)code] = features;
        }

        return features;
    }
}
