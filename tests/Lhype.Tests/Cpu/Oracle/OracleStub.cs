// The machine code of the native oracle: a stub that enters 32-bit compatibility mode with given registers,
// and the signal handler that every run ends in. Emitted once per process by NativeOracle.
//
// A 64-bit Linux process may jump to CS 0x23 and run i386 code (SDM vol. 3, 3.2.4 and 5.8.1: compatibility
// mode). Any exception there comes back as a signal in 64-bit mode whose ucontext holds the complete state.
// The closing HLT of a snippet is such an exception too, so there is one way out. The handler recognises its
// signals by the saved CS alone and passes all others on: the runtime's null checks and Lhype's own fault
// handler keep working on all threads.
//
// While the snippet runs FS and GS belong to it. The runtime's thread-local storage is reached through FS,
// so all asynchronous signals stay blocked from before FS changes until after it is back.

using System.IO;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Lhype.Tests.Cpu.Oracle;

/// <summary>Byte offsets in the context page, which follows the code page.</summary>
internal static class OracleContext
{
    internal const int HostRsp = 0;
    internal const int HostFs = 8;
    internal const int HostGs = 16;
    internal const int RunMask = 24;
    internal const int HostMask = 32;
    internal const int FsBase = 40;
    internal const int GsBase = 48;
    internal const int Eflags = 56;
    /// <summary>Far pointer: 32-bit offset, then the selector.</summary>
    internal const int Target = 64;
    internal const int Gpr = 80;
    /// <summary>stack_t: our alternate stack, and the thread's own.</summary>
    internal const int RunStack = 120;
    internal const int HostStack = 144;
    /// <summary>Handlers to pass foreign signals to, by signal number.</summary>
    internal const int OldHandlers = 168;
    internal const int FxIn = 512;
    internal const int FxOut = 1024;
    /// <summary>The 23 general registers of the ucontext.</summary>
    internal const int Gregs = 1536;
    /// <summary>XSAVE areas with the upper halves of the YMM registers, on hosts with AVX.</summary>
    internal const int UpperIn = 2304, UpperOut = 3136;
}

/// <summary>Offsets in the kernel's x86-64 struct ucontext
/// (arch/x86/include/uapi/asm/sigcontext.h).</summary>
internal static class SignalFrame
{
    internal const int Gregs = 40;
    internal const int FpState = 224;
    internal const int GregCount = 23;
    internal const int Rdi = 8, Rsi = 9, Rbp = 10, Rbx = 11, Rdx = 12, Rax = 13, Rcx = 14, Rsp = 15, Rip = 16;
    internal const int Eflags = 17, Selectors = 18, Error = 19, Trap = 20, Cr2 = 22;
}

internal static class OracleStub
{
    private const int SysSigprocmask = 14, SysSigaltstack = 131, SigSetmask = 2;
    private static readonly AssemblerRegister64[] Saved = [rbx, rbp, r12, r13, r14, r15];

    /// <summary>Assembles the code for <paramref name="address"/> with the context page at
    /// <paramref name="context"/>; returns the bytes and the offset of the signal handler.</summary>
    internal static (byte[] Code, int HandlerOffset) Assemble(ulong address, ulong context)
    {
        var a = new Assembler(64);
        Label handler = a.CreateLabel();
        EmitEntry(a, context);
        EmitHandler(a, ref handler, context);
        using var stream = new MemoryStream();
        AssemblerResult result = a.Assemble(new StreamCodeWriter(stream), address,
            BlockEncoderOptions.ReturnNewInstructionOffsets);
        return (stream.ToArray(), (int)(result.GetLabelRIP(handler) - address));
    }

    private static void EmitEntry(Assembler a, ulong context)
    {
        EmitEnter(a, context, narrow: true);
        a.mov(eax, __dword_ptr[r15 + OracleContext.Gpr]);
        a.mov(ecx, __dword_ptr[r15 + OracleContext.Gpr + 4]);
        a.mov(edx, __dword_ptr[r15 + OracleContext.Gpr + 8]);
        a.mov(ebx, __dword_ptr[r15 + OracleContext.Gpr + 12]);
        a.mov(esp, __dword_ptr[r15 + OracleContext.Gpr + 16]);
        a.mov(ebp, __dword_ptr[r15 + OracleContext.Gpr + 20]);
        a.mov(esi, __dword_ptr[r15 + OracleContext.Gpr + 24]);
        a.mov(edi, __dword_ptr[r15 + OracleContext.Gpr + 28]);
        a.jmp(__fword_ptr[r15 + OracleContext.Target]);
    }

    private static void EmitHandler(Assembler a, ref Label handler, ulong context)
    {
        Label foreign = a.CreateLabel();
        a.Label(ref handler);
        a.cmp(__word_ptr[rdx + SignalFrame.Gregs + (SignalFrame.Selectors * 8)], TestLayout.UserCode);
        a.jne(foreign);
        EmitLeave(a, context, narrow: true);
        EmitForeign(a, ref foreign, context);
    }

    /// <summary>Notes what the caller has, and loads all of the snippet's state but its general registers.
    /// r15 points at the context from here on. 32-bit code (<paramref name="narrow"/>) needs selectors too: a
    /// base alone is not enough there, a null selector faults on use.</summary>
    internal static void EmitEnter(Assembler a, ulong context, bool narrow)
    {
        foreach (AssemblerRegister64 register in Saved)
        {
            a.push(register);
        }

        a.mov(r15, context);
        a.mov(__qword_ptr[r15 + OracleContext.HostRsp], rsp);
        EmitSignalSetup(a, OracleContext.RunMask, OracleContext.HostMask, OracleContext.RunStack,
            OracleContext.HostStack);
        a.rdfsbase(rax);
        a.mov(__qword_ptr[r15 + OracleContext.HostFs], rax);
        a.rdgsbase(rax);
        a.mov(__qword_ptr[r15 + OracleContext.HostGs], rax);
        if (narrow)
        {
            a.mov(eax, TestLayout.UserData);
            EmitSelectors(a);
        }

        a.mov(rax, __qword_ptr[r15 + OracleContext.FsBase]);
        a.wrfsbase(rax);
        a.mov(rax, __qword_ptr[r15 + OracleContext.GsBase]);
        a.wrgsbase(rax);
        a.fxrstor64(__[r15 + OracleContext.FxIn]);
        OracleUppers.EmitLoad(a);
        a.push(__qword_ptr[r15 + OracleContext.Eflags]);
        a.popfq();
    }

    /// <summary>In a signal handler (rdx = ucontext) after the snippet's exception: keeps its state and
    /// returns to the caller of <see cref="EmitEnter"/>'s code.</summary>
    internal static void EmitLeave(Assembler a, ulong context, bool narrow)
    {
        // The kernel clears DF and TF for a handler, but not AC and NT.
        a.push(2);
        a.popfq();
        a.mov(r15, context);
        a.lea(rsi, __[rdx + SignalFrame.Gregs]);
        a.lea(rdi, __[r15 + OracleContext.Gregs]);
        a.mov(ecx, SignalFrame.GregCount);
        a.rep.movsq();
        a.mov(rsi, __qword_ptr[rdx + SignalFrame.FpState]);
        a.lea(rdi, __[r15 + OracleContext.FxOut]);
        a.mov(ecx, 64);
        a.rep.movsq();
        OracleUppers.EmitStore(a);
        if (narrow)
        {
            a.xor(eax, eax);
            EmitSelectors(a);
        }

        a.mov(rax, __qword_ptr[r15 + OracleContext.HostFs]);
        a.wrfsbase(rax);
        a.mov(rax, __qword_ptr[r15 + OracleContext.HostGs]);
        a.wrgsbase(rax);
        a.mov(rsp, __qword_ptr[r15 + OracleContext.HostRsp]);
        EmitSignalSetup(a, OracleContext.HostMask, -1, OracleContext.HostStack, -1);
        for (int i = Saved.Length - 1; i >= 0; i--)
        {
            a.pop(Saved[i]);
        }

        a.ret();
    }

    /// <summary>Passes a signal of someone else's on.</summary>
    internal static void EmitForeign(Assembler a, ref Label foreign, ulong context)
    {
        a.Label(ref foreign);
        a.mov(rax, context + OracleContext.OldHandlers);
        a.mov(ecx, edi);
        a.jmp(__qword_ptr[rax + (rcx * 8)]);
    }

    private static void EmitSelectors(Assembler a)
    {
        a.mov(ds, eax);
        a.mov(es, eax);
        a.mov(fs, eax);
        a.mov(gs, eax);
    }

    /// <summary>rt_sigprocmask(SIG_SETMASK) and sigaltstack; r15 points at the context.</summary>
    private static void EmitSignalSetup(Assembler a, int mask, int oldMask, int stack, int oldStack)
    {
        a.mov(eax, SysSigprocmask);
        a.mov(edi, SigSetmask);
        a.lea(rsi, __[r15 + mask]);
        EmitOutPointer(a, rdx, oldMask);
        a.mov(r10d, 8);
        a.syscall();
        a.mov(eax, SysSigaltstack);
        a.lea(rdi, __[r15 + stack]);
        EmitOutPointer(a, rsi, oldStack);
        a.syscall();
    }

    private static void EmitOutPointer(Assembler a, AssemblerRegister64 register, int offset)
    {
        if (offset < 0)
        {
            a.mov(register, 0L);
        }
        else
        {
            a.lea(register, __[r15 + offset]);
        }
    }
}
