// The rules of IA-32e mode that no user program shows: canonical addresses, SYSCALL and SYSRET, the interrupt
// stack table, 64-bit gates and IRETQ, compatibility mode, entering and leaving long mode, NX. Each test is a
// little guest whose exception handlers halt; what it left is read from its registers and its stack. All run
// twice on one vCPU, because emitted thunks take over only what C# has done before.

using System;
using Iced.Intel;
using Lhype.Cpu;
using Xunit;
using static Iced.Intel.AssemblerRegisters;

namespace Lhype.Tests.Cpu.Architecture;

public sealed unsafe class LongModeTests : LongGuest
{
    [Fact]
    public void AddressesMustBeCanonical() => Twice(() =>
    {
        Kernel64(a =>
        {
            a.mov(rbx, NotCanonical - 4);
            a.mov(rax, __qword_ptr[rbx]);
        });
        Assert.Equal((Vector.GeneralProtection, 0u), RunToFault());

        Kernel64(a =>
        {
            a.mov(rsp, NotCanonical + 8);
            a.push(rax);
        });
        Assert.Equal((Vector.StackFault, 0u), RunToFault(vector: Vector.StackFault, ist: 1));

        Kernel64(a =>
        {
            a.mov(rbp, NotCanonical);
            a.mov(__dword_ptr[rbp + 16], 1);
        });
        Assert.Equal((Vector.StackFault, 0u), RunToFault());

        Kernel64(a =>
        {
            a.mov(rax, NotCanonical);
            a.jmp(rax);
        });
        Assert.Equal((Vector.GeneralProtection, 0u), RunToFault());
    });

    [Fact]
    public void SyscallAndSysret() => Twice(() =>
    {
        State->Star = ((ulong)Code32 << 48) | ((ulong)Kernel << 32);
        State->Lstar = Alias + Code + 0x100;
        State->Fmask = 0x4_0200;
        Place(Code + 0x100, 64, a =>
        {
            a.mov(r8, rcx);
            a.mov(r9, r11);
            a.mov(r10d, ss);
            a.mov(r12d, cs);
            a.pushfq();
            a.pop(r13);
            a.sysretq();
        });
        Place(User, 64, a =>
        {
            a.mov(rsp, (ulong)UserStack);
            a.std();
            a.syscall();
            a.mov(r14d, cs);
            a.mov(r15d, ss);
            a.hlt();
        });
        EnterUser(User, 0x202);
        Assert.Equal((Vector.GeneralProtection, 0u), RunToFault());
        Assert.Equal(User + 13u, State->Gpr[8]);
        Assert.Equal(0x602u, State->Gpr[9] & 0x602);
        Assert.Equal((ulong)Data, State->Gpr[10]);
        Assert.Equal((ulong)Kernel, State->Gpr[12]);
        Assert.Equal(0x402u, State->Gpr[13] & 0x602);
        Assert.Equal(((ulong)User64, (ulong)UserData), (State->Gpr[14], State->Gpr[15]));
        Assert.Equal(UserStack, Frame(4));
    });

    [Fact]
    public void SysretChecksItsTargetAtCpl0() => Twice(() =>
    {
        State->Star = (ulong)Code32 << 48;
        Kernel64(a =>
        {
            a.mov(rcx, NotCanonical);
            a.xor(r11d, r11d);
            a.sysretq();
        });
        Assert.Equal((Vector.GeneralProtection, 0u), RunToFault());
        Assert.Equal((ulong)Kernel, Frame(2));
        Assert.Equal(Code + 13u, Frame(1));
    });

    [Fact]
    public void SyscallNeedsEferAnd64BitCode() => Twice(() =>
    {
        State->Efer &= ~ControlBits.EferSyscall;
        Kernel64(a => a.syscall());
        Assert.Equal(Vector.InvalidOpcode, RunToFault().Vector);
        State->Efer |= ControlBits.EferSyscall;

        Place(Narrow, 32, a => a.syscall());
        EnterUser(Narrow, 0x202, Code32);
        Assert.Equal(Vector.InvalidOpcode, RunToFault().Vector);
    });

    [Fact]
    public void InterruptStacks() => Twice(() =>
    {
        // From CPL 3: RSP0, a null SS, and a frame that begins at a multiple of 16.
        Place(User, 64, a => a.ud2());
        EnterUser(User, 0x202);
        Assert.Equal(Vector.InvalidOpcode, RunToFault().Vector);
        Assert.Equal((0, 0u), ((int)State->Segment(SegmentRegister.Ss).Selector, State->Cpl));
        Assert.Equal(RingStack - 40ul, State->Gpr[4]);
        Assert.Equal((ulong)UserData, Frame(5));

        // The interrupt stack table, from CPL 0 too; SS stays.
        SetGate(6, Stubs + (6 * 16), 0x8E, ist: 1);
        Kernel64(a =>
        {
            a.mov(rsp, (ulong)Stack - 3);
            a.ud2();
        });
        Assert.Equal(Vector.InvalidOpcode, RunToFault(Vector.InvalidOpcode, ist: 1).Vector);
        Assert.Equal((IstStack & ~15ul) - 40, State->Gpr[4]);
        Assert.Equal(Stack - 3ul, Frame(4));
        Assert.Equal((ulong)Data, Frame(5));
        SetGate(6, Stubs + (6 * 16), 0x8E);
    });

    [Fact]
    public void IretqPopsTheStackAlways() => Twice(() =>
    {
        Kernel64(a =>
        {
            a.mov(r8d, ss);
            a.push(r8);
            a.mov(r9, (ulong)Stack - 0x800);
            a.push(r9);
            a.pushfq();
            a.push(Kernel);
            a.mov(rax, (ulong)Code + 0x100);
            a.push(rax);
            a.iretq();
        });
        Place(Code + 0x100, 64, a => a.ud2());
        Assert.Equal(Vector.InvalidOpcode, RunToFault().Vector);
        Assert.Equal(Stack - 0x800ul, Frame(4));

        // A null SS is for CPL 0 only, and NT has nothing to return to.
        Kernel64(a =>
        {
            a.push(3);
            a.push(0);
            a.push(2);
            a.push(User64);
            a.push((int)User);
            a.iretq();
        });
        Assert.Equal((Vector.GeneralProtection, 0u), RunToFault());
        Kernel64(a =>
        {
            a.push(0x4002);
            a.popfq();
            a.iretq();
        });
        Assert.Equal((Vector.GeneralProtection, 0u), RunToFault());
    });

    [Fact]
    public void CompatibilityMode() => Twice(() =>
    {
        Place(Narrow, 32, a =>
        {
            a.mov(eax, -1);
            a.inc(eax);
            a.dec(ecx);
            a.push(0x12345678);
            a.pop(edx);
            a.mov(ebx, esp);
            a.@int(0x80);
        });
        State->Gpr[1] = 0xFFFF_FFFF_0000_0001;
        SetGate(0x80, Stubs + (0x80 * 16), 0xEE);
        EnterUser(Narrow, 0x202, Code32);
        Assert.Equal(0x80u, RunToFault().Vector);
        Assert.Equal(0ul, State->Gpr[0]);
        Assert.Equal(0x1234_5678ul, State->Gpr[2]);
        Assert.Equal((ulong)UserStack, State->Gpr[3]);
        Assert.Equal((ulong)Code32, Frame(1 + 1, hasError: false));
        Assert.Equal((ulong)UserStack, Frame(4, hasError: false));
    });

    [Fact]
    public void FarTransfersBetweenCodeSizes() => Twice(() =>
    {
        // 64 to 32 bits and back at CPL 0: RETFQ, then a far jump.
        Place(Narrow, 32, a =>
        {
            a.mov(esp, Stack);
            a.mov(eax, 0x1234);
            a.jmp(Kernel, Code + 0x100);
        });
        Place(Code + 0x100, 64, a =>
        {
            a.mov(rcx, 0x1_0000_0001);
            a.ud2();
        });
        Kernel64(a =>
        {
            a.push(Kernel32);
            a.push((int)Narrow);
            a.db(0x48, 0xCB);
        });
        Assert.Equal(Vector.InvalidOpcode, RunToFault().Vector);
        Assert.Equal((0x1234ul, 0x1_0000_0001ul), (State->Gpr[0], State->Gpr[1]));

        // A segment that claims to be both.
        Kernel64(a =>
        {
            a.push(Both);
            a.push((int)Narrow);
            a.db(0x48, 0xCB);
        });
        Assert.Equal((Vector.GeneralProtection, (uint)Both), RunToFault());
    });

    [Fact]
    public void CallGateToAnInnerRing() => Twice(() =>
    {
        Place(Code + 0x100, 64, a =>
        {
            a.mov(rax, __qword_ptr[rsp + 16]);
            a.mov(rdx, __qword_ptr[rsp + 24]);
            a.mov(r8d, ss);
            a.db(0x48, 0xCB);
        });
        Place(User, 64, a =>
        {
            a.mov(rsp, (ulong)UserStack);
            a.sub(rsp, 16);
            a.mov(__word_ptr[rsp + 4], Gate | 3);
            a.mov(__dword_ptr[rsp], 0);
            a.call(__fword_ptr[rsp]);
            a.hlt();
        });
        EnterUser(User, 0x202);
        Assert.Equal((Vector.GeneralProtection, 0u), RunToFault());
        Assert.Equal((UserStack - 16ul, (ulong)UserData, 0ul), (State->Gpr[0], State->Gpr[2], State->Gpr[8]));
        Assert.Equal((ulong)User64, Frame(2));
    });

    [Fact]
    public void BasesOfFsAndGs() => Twice(() =>
    {
        Write64(0x5_0000, 0x1111);
        Write64(0x5_1000, 0x2222);
        Kernel64(a =>
        {
            WriteMsr(a, 0xC000_0101, Alias + 0x5_0000);
            WriteMsr(a, 0xC000_0102, Alias + 0x5_1000);
            a.mov(r8, __qword_ptr.gs[0]);
            a.swapgs();
            a.mov(r9, __qword_ptr.gs[0]);
            a.xor(eax, eax);
            a.mov(gs, eax);
            a.mov(ecx, unchecked((int)0xC000_0101));
            a.rdmsr();
            a.mov(r10d, eax);
            a.mov(rax, NotCanonical);
            a.mov(rdx, rax);
            a.shr(rdx, 32);
            a.wrmsr();
        });
        Assert.Equal((Vector.GeneralProtection, 0u), RunToFault());
        Assert.Equal((0x1111ul, 0x2222ul, 0ul), (State->Gpr[8], State->Gpr[9], State->Gpr[10]));
    });

    [Fact]
    public void ReservedValuesOfControlRegisters() => Twice(() =>
    {
        foreach (Action<Assembler> move in (Action<Assembler>[])
            [
                a => a.mov(cr0, rax), a => a.mov(cr3, rax), a => a.mov(cr4, rax), a => a.mov(cr8, rax),
                a => a.mov(dr7, rax),
            ])
        {
            Kernel64(a =>
            {
                a.mov(rax, 0x0010_0001_0000_0011);
                move(a);
            });
            Assert.Equal((Vector.GeneralProtection, 0u), RunToFault());
        }

        Kernel64(a =>
        {
            a.mov(rax, cr4);
            a.and(rax, ~0x20);
            a.mov(cr4, rax);
        });
        Assert.Equal((Vector.GeneralProtection, 0u), RunToFault());
        Kernel64(a =>
        {
            a.mov(rax, cr0);
            a.btr(rax, 31);
            a.mov(cr0, rax);
        });
        Assert.Equal((Vector.GeneralProtection, 0u), RunToFault());
    });

    [Fact]
    public void TablesHaveWideDescriptors() => Twice(() =>
    {
        ulong* gdt = (ulong*)(Ram.Base + Gdt);
        gdt[Task / 8] = ProcessorBench.SystemDescriptor(Tss, 0x67, 0x89);
        gdt[(Task / 8) + 1] = Alias >> 32;
        Kernel64(a =>
        {
            a.mov(eax, Task);
            a.ltr(ax);
            a.mov(eax, Ldt);
            a.lldt(ax);
            a.sub(rsp, 16);
            a.sgdt(__[rsp]);
            a.mov(rbx, __qword_ptr[rsp + 2]);
            a.ud2();
        });
        Assert.Equal(Vector.InvalidOpcode, RunToFault().Vector);
        Assert.Equal(Alias + Tss, State->Segment(SegmentRegister.Tr).Base);
        Assert.Equal(0x1_0000_5000ul, State->Segment(SegmentRegister.Ldtr).Base);
        Assert.Equal(Alias + Gdt, State->Gpr[3]);
    });

    [Fact]
    public void NoExecuteAndLargePages() => Twice(() =>
    {
        Kernel64(a =>
        {
            a.mov(rax, 0x4000_0000);
            a.mov(rcx, __qword_ptr[rax]);
            a.jmp(rax);
        });
        Assert.Equal((Vector.PageFault, 0x11u), RunToFault());
        Assert.Equal(0x4000_0000ul, State->Cr2);

        // 1 GiB pages; INVLPG anywhere in one forgets all of it.
        ulong* pointers = (ulong*)(Ram.Base + Pml4 + 0x1000);
        pointers[2] = 0x83;
        pointers[3] = 0x83;
        Kernel64(a =>
        {
            a.mov(rax, 0x8000_0000);
            a.mov(r8, __qword_ptr[rax + 0x5_0000]);
            a.mov(rbx, (ulong)(Pml4 + 0x1000));
            a.mov(__qword_ptr[rbx + 16], 0);
            a.invlpg(__[rax + 0x2000_0000]);
            a.mov(r9, __qword_ptr[rax + 0x5_0000]);
        });
        (uint, uint) fault = RunToFault();
        Assert.Equal(0x8005_0000ul, State->Cr2);
        Assert.Equal((Vector.PageFault, 0u), fault);
    });

    [Fact]
    public void EnteringAndLeavingLongMode() => Twice(() =>
    {
        Place(Narrow, 32, a =>
        {
            Label wide = a.CreateLabel(), back = a.CreateLabel();
            a.mov(ecx, unchecked((int)0xC000_0080));
            a.rdmsr();
            a.or(eax, 0x101);
            a.wrmsr();
            a.mov(eax, Pml4);
            a.mov(cr3, eax);
            a.mov(eax, cr4);
            a.or(eax, 0x20);
            a.mov(cr4, eax);
            a.mov(eax, cr0);
            a.or(eax, unchecked((int)0x8000_0000));
            a.mov(cr0, eax);
            a.rdmsr();
            a.mov(esi, eax);
            a.jmp(Kernel, Code);
        });
        Place(Code, 64, a =>
        {
            a.mov(rdi, 0x1234_5678_9ABC_DEF0);
            a.push(Kernel32);
            a.push((int)Narrow + 0x100);
            a.db(0x48, 0xCB);
        });
        Place(Narrow + 0x100, 32, a =>
        {
            a.mov(eax, cr0);
            a.btr(eax, 31);
            a.mov(cr0, eax);
            a.rdmsr();
            a.mov(ebx, eax);
            a.hlt();
        });
        Prepare();
        State->Cr0 = 0x11;
        State->Cr4 = 0;
        State->Efer = 0;
        State->GdtBase = Gdt;
        State->Segment(SegmentRegister.Cs) = Flat(Kernel32, 0xC09B);
        State->Segment(SegmentRegister.Ss) = Flat(Data, 0xC093);
        State->Segment(SegmentRegister.Ds) = Flat(Data, 0xC093);
        State->Gpr[4] = Stack;
        State->Rip = Narrow;
        Run();
        Assert.Equal(0x501ul, State->Gpr[6] & 0x501);
        Assert.Equal(0x101ul, State->Gpr[3] & 0x501);
        Assert.Equal(0x1234_5678_9ABC_DEF0ul, State->Gpr[7]);
    });
}
