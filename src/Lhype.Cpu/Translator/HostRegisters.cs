// Which host register holds what while guest code runs. Everything that emits code looks here. In 64-bit code
// the guest's registers are as wide as the host's; R8 to R15 and XMM8 to XMM15 are explained below.
//
//   rax rcx rdx rbx rbp rsi rdi   guest EAX ECX EDX EBX EBP ESI EDI (upper halves always 0)
//   r12                           guest ESP (same ModRM low bits as rsp, so re-encoding only sets a REX bit)
//   r13                           linear address of the 4 KiB page the running code is in: EIP = r13 +
//                                 constant, which makes translations independent of where they are mapped
//   r14                           budget of instructions before the next look at events; negative: now
//   r15                           CpuState
//   r8                            address of the current memory operand: linear, then host
//   r9 r10                        scratch; r9 is the target of an indirect jump
//   r11                           the guest's arithmetic flags while parked (AH = SF ZF AF PF CF, AL = OF);
//                                 in 64-bit code otherwise a copy of one of R8-R15 (see HighRegisters)
//   rsp                           the return stack: for each open translated call a host return address and
//                                 the caller's r13; the bottom entry leads to Thunks.ReturnMiss
//   host arithmetic flags         the guest's, unless parked or dead;  host DF is always 0
//   x87, MMX, xmm0-7, xmm8-15     the guest's, with models that have AVX up to bit 255 (see VectorThunks)
//   R8 to R15                     in CpuState
//   FS                            the runtime's thread pointer, never touched

namespace Lhype.Cpu.Translator;

/// <summary>Host register numbers as used in ModRM, SIB and REX.</summary>
internal static class Host
{
    internal const int Rax = 0, Rcx = 1, Rdx = 2, Rbx = 3, Rsp = 4, Rbp = 5, Rsi = 6, Rdi = 7;
    internal const int Address = 8;
    internal const int Scratch = 9;
    internal const int Scratch2 = 10;
    internal const int Flags = 11;
    internal const int GuestEsp = 12;
    internal const int CodePage = 13;
    internal const int Counter = 14;
    internal const int State = 15;

    /// <summary>The host register of a guest general register (0-7).</summary>
    internal static int Of(int guestRegister) => guestRegister == 4 ? GuestEsp : guestRegister;
}
