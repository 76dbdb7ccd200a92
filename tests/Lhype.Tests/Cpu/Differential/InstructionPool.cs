// The instructions random cases are made of: everything in Iced's encoder tables that a CpuModel "base"
// guest may use at CPL 3 and whose result depends on nothing but the state a case sets up.

using System.Collections.Generic;
using System.Linq;
using Iced.Intel;

namespace Lhype.Tests.Cpu.Differential;

/// <summary>Instruction forms, as Iced's <see cref="Code"/> values.</summary>
internal static class InstructionPool
{
    private static readonly HashSet<CpuidFeature> Features =
    [
        CpuidFeature.INTEL8086, CpuidFeature.INTEL186, CpuidFeature.INTEL286, CpuidFeature.INTEL386,
        CpuidFeature.INTEL486, CpuidFeature.FPU, CpuidFeature.FPU287, CpuidFeature.FPU387, CpuidFeature.CX8,
        CpuidFeature.CMOV, CpuidFeature.MMX, CpuidFeature.SSE, CpuidFeature.SSE2, CpuidFeature.CLFSH,
        CpuidFeature.MULTIBYTENOP, CpuidFeature.PAUSE,
    ];

    /// <summary>Left out: what traps into a system service, shows the machine's own descriptor tables or
    /// clock, stores host instruction pointers (x87 environment), changes selectors and TF, has undefined
    /// flags that the engine does not imitate (BCD), or makes several accesses whose order CPUs choose
    /// themselves (PUSHA, ENTER, CMPS), or enters MMX state before a fault on some CPUs (MASKMOVQ).</summary>
    private static readonly HashSet<Mnemonic> Excluded =
    [
        Mnemonic.Syscall, Mnemonic.Sysenter, Mnemonic.Sysexit, Mnemonic.Sysret, Mnemonic.Cpuid,
        Mnemonic.Rdtsc, Mnemonic.Rdtscp, Mnemonic.Rdpmc, Mnemonic.Sgdt, Mnemonic.Sidt, Mnemonic.Sldt,
        Mnemonic.Str, Mnemonic.Smsw, Mnemonic.Lar, Mnemonic.Lsl, Mnemonic.Verr, Mnemonic.Verw, Mnemonic.Lds,
        Mnemonic.Les, Mnemonic.Lfs, Mnemonic.Lgs, Mnemonic.Lss, Mnemonic.Popf, Mnemonic.Popfd,
        Mnemonic.Fxsave, Mnemonic.Fxrstor, Mnemonic.Fnsave, Mnemonic.Fsave, Mnemonic.Fnstenv,
        Mnemonic.Fstenv, Mnemonic.Arpl, Mnemonic.Bound, Mnemonic.Loadall, Mnemonic.Umov, Mnemonic.Ibts,
        Mnemonic.Xbts, Mnemonic.Fstdw, Mnemonic.Fstsg, Mnemonic.Frstpm, Mnemonic.Fnstdw, Mnemonic.Fnstsg,
        Mnemonic.Hlt, Mnemonic.Ud0, Mnemonic.Ud1, Mnemonic.Ud2, Mnemonic.Aaa, Mnemonic.Aas, Mnemonic.Aad,
        Mnemonic.Daa, Mnemonic.Das, Mnemonic.Pusha, Mnemonic.Pushad, Mnemonic.Enter, Mnemonic.Maskmovq,
        Mnemonic.Cmpsb, Mnemonic.Cmpsw,
    ];

    /// <summary>Forms on which CPUs differ: 0F 0D with a register is #UD on AMD and a NOP on
    /// Intel; which operand of a string CMPSD faults first; PUSH of a segment register with a wider operand
    /// leaves the upper bytes of its slot alone on Intel and clears them on AMD (SDM vol. 2, PUSH; see
    /// tests/asm/stack-push-forms.s).</summary>
    private static readonly HashSet<Code> VendorSpecific =
        [
        Code.Reservednop_rm16_r16_0F0D, Code.Reservednop_rm32_r32_0F0D, Code.Reservednop_rm64_r64_0F0D,
        Code.Cmpsd_m32_m32,
        Code.Pushd_ES, Code.Pushd_CS, Code.Pushd_SS, Code.Pushd_DS, Code.Pushd_FS, Code.Pushd_GS,
        Code.Pushq_FS, Code.Pushq_GS,
    ];

    /// <summary>All usable forms.</summary>
    internal static IReadOnlyList<Code> All { get; } =
        [.. System.Enum.GetValues<Code>().Distinct().Where(IsUsable)];

    private static readonly HashSet<Code> Set = [.. All];

    /// <summary>True if the decoded instruction is one of <see cref="All"/>.</summary>
    internal static bool Contains(Code code) => Set.Contains(code);

    /// <summary>True for the features of 64-bit programs.</summary>
    internal static bool Has64(CpuidFeature feature) => feature is CpuidFeature.X64
        or CpuidFeature.CMPXCHG16B or CpuidFeature.SSE3 or CpuidFeature.SSSE3 or CpuidFeature.SSE4_1
        or CpuidFeature.SSE4_2 or CpuidFeature.POPCNT || Features.Contains(feature);

    /// <summary>True for what no random program may contain.</summary>
    internal static bool IsExcluded(Code code) => Excluded.Contains(code.Mnemonic())
        || Excluded64.Contains(code.Mnemonic()) || HasSegmentDestination(code.ToOpCode())
        || VendorSpecific.Contains(code);

    private static readonly HashSet<Mnemonic> Excluded64 =
    [
        Mnemonic.Popfq, Mnemonic.Fxsave64, Mnemonic.Fxrstor64, Mnemonic.Cmpsq, Mnemonic.Cmpsd,
        Mnemonic.Swapgs, Mnemonic.Leave, Mnemonic.Sysretq, Mnemonic.Sysexitq,
    ];

    private static bool IsUsable(Code code)
    {
        OpCodeInfo info = code.ToOpCode();
        Instruction instruction = default;
        instruction.Code = code;
        return info.IsInstruction && info.Mode32 && info.Encoding == EncodingKind.Legacy
            && code.CpuidFeatures().All(Features.Contains)
            && instruction.FlowControl == FlowControl.Next && !instruction.IsPrivileged
            && !info.IsInputOutput && !Excluded.Contains(code.Mnemonic())
            && !HasSegmentDestination(info) && !VendorSpecific.Contains(code);
    }

    private static bool HasSegmentDestination(OpCodeInfo info) =>
        info.Mnemonic is Mnemonic.Pop or Mnemonic.Mov && info.OpCount > 0
        && info.GetOpKind(0) is OpCodeOperandKind.seg_reg or OpCodeOperandKind.es or OpCodeOperandKind.ss
            or OpCodeOperandKind.ds or OpCodeOperandKind.fs or OpCodeOperandKind.gs;
}
