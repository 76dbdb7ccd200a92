// What kernels use beyond the first generation of long mode: process contexts, INVPCID, the instructions for
// the bases of FS and GS, SMEP and UMIP, and that CPUID and CR4 tell the same of them. See LongGuest.

using System;
using Iced.Intel;
using Lhype.Cpu;
using Lhype.Cpu.Architecture;
using Xunit;
using static Iced.Intel.AssemblerRegisters;

namespace Lhype.Tests.Cpu.Architecture;

public sealed unsafe class LongFeatureTests : LongGuest
{
    private const uint Second = Pml4 + 0x8000, Pages = 0x4000_0000, Table = Pml4 + 0x5000;

    [Theory]
    [InlineData("base", true)]
    [InlineData("v2", true)]
    [InlineData("pentium3", false)]
    [InlineData("486", false)]
    public void CpuidAndCr4Agree(string name, bool shown)
    {
        CpuModel model = CpuModel.Find(name);
        const ulong bits = ControlBits.Cr4Pcide | ControlBits.Cr4Fsgsbase | ControlBits.Cr4Smep
            | ControlBits.Cr4Umip;
        Assert.Equal(shown ? bits : 0, model.Cr4Mask & bits);
        Assert.Equal(0u, model.Cr4Mask & ControlBits.Cr4Smap);
        CpuidResult features = model.Query(1, 0, 1_000_000_000), extended = model.Query(7, 0, 1_000_000_000);
        Assert.Equal(shown, (features.Ecx >> 17 & 1) != 0);
        if (!shown)
        {
            return;
        }

        Assert.Equal((1u << 0) | (1 << 7) | (1 << 10), extended.Ebx & ((1 << 0) | (1 << 7) | (1 << 10)));
        Assert.Equal(1u << 2, extended.Ecx & (1 << 2));
        Assert.Equal(1u << 26, model.Query(0x8000_0001, 0, 1_000_000_000).Edx & (1 << 26));
        Assert.Equal(0u, extended.Ebx & (1 << 20));
    }

    [Fact]
    public void ContextsAreEnabledInContext0Only() => Twice(() =>
    {
        Kernel64(a =>
        {
            a.mov(rax, Pml4 | 5ul);
            a.mov(cr3, rax);
            SetCr4(a, ControlBits.Cr4Pcide);
        });
        Assert.Equal((Vector.GeneralProtection, 0u), RunToFault());

        // Bit 63 of a value for CR3 is reserved before, and not kept after.
        Kernel64(a =>
        {
            a.mov(rax, Pml4 | (1ul << 63));
            a.mov(cr3, rax);
        });
        Assert.Equal((Vector.GeneralProtection, 0u), RunToFault());
        Kernel64(a =>
        {
            SetCr4(a, ControlBits.Cr4Pcide);
            for (int i = 0; i < 3; i++)
            {
                a.mov(rax, Pml4 | (ulong)(0x123 + i) | (1ul << 63));
                a.mov(cr3, rax);
                a.mov(r8, cr3);
            }

            a.mov(rax, 1ul << 62);
            a.mov(cr3, rax);
        });
        Assert.Equal((Vector.GeneralProtection, 0u), RunToFault());
        Assert.Equal(Pml4 | 0x125ul, State->Gpr[8]);
        Assert.Equal(Pml4 | 0x125ul, State->Cr3);

        // Not outside IA-32e mode, and paging cannot end under it.
        Place(Narrow, 32, a =>
        {
            a.mov(eax, cr0);
            a.btr(eax, 31);
            a.mov(cr0, eax);
        });
        Kernel64(a =>
        {
            SetCr4(a, ControlBits.Cr4Pcide);
            a.push(Kernel32);
            a.push((int)Narrow);
            a.db(0x48);
            a.retf();
        });
        Assert.Equal((Vector.GeneralProtection, 0u), RunToFault());
        Assert.Equal((ulong)Kernel32, Frame(2));
        Place(Narrow, 32, a => SetCr4(a, ControlBits.Cr4Pcide));
        Prepare();
        State->Cr0 = 0x11;
        State->Cr4 = 0;
        State->Efer = 0;
        State->GdtBase = Gdt;
        State->IdtLimit = 0;
        State->Segment(SegmentRegister.Cs) = Flat(Kernel32, 0xC09B);
        State->Rip = Narrow;
        _ = Vcpu.Run();
        Assert.Equal(0ul, State->Cr4);
        State->Efer = 0xD01;
    });

    /// <summary>The new translations hold after a load of CR3 that asks to keep the old ones, if the table
    /// changed before: what kernels rely on is INVPCID or a load without that bit, and both must
    /// flush.</summary>
    [Fact]
    public void ContextsHaveTheirOwnTranslations() => Twice(() =>
    {
        TwoSpaces();
        Write64(0x5_0000, 0x1111);
        Write64(0x5_1000, 0x2222);
        Kernel64(a =>
        {
            SetCr4(a, ControlBits.Cr4Pcide | 0x80);
            a.mov(rbx, (ulong)Pages);
            for (int i = 0; i < 4; i++)
            {
                Register64Load(a, (i & 1) == 0 ? Pml4 | 1ul | (1ul << 63) : Second | 2ul | (1ul << 63));
                a.mov(i switch { 0 => r8, 1 => r9, 2 => r10, _ => r11 }, __qword_ptr[rbx]);
            }

            a.hlt();
        });
        Run();
        Assert.Equal((0x1111ul, 0x2222ul), (State->Gpr[8], State->Gpr[9]));
        Assert.Equal((0x1111ul, 0x2222ul), (State->Gpr[10], State->Gpr[11]));
    });

    [Theory]
    [InlineData(0, false)]
    [InlineData(1, false)]
    [InlineData(2, true)]
    [InlineData(3, false)]
    public void InvpcidForgets(int type, bool global) => Twice(() =>
    {
        TwoSpaces();
        Write64(0x5_0000, 0x1111);
        Write64(0x5_1000, 0x2222);
        Write64(Table, 0x5_0007u | (global ? 0x100u : 0));
        Kernel64(a =>
        {
            SetCr4(a, ControlBits.Cr4Pcide | 0x80);
            a.mov(rbx, (ulong)Pages);
            a.mov(r8, __qword_ptr[rbx]);
            a.mov(rcx, Alias + Table);
            a.mov(__qword_ptr[rcx], 0x5_1007);
            a.push(rbx);
            a.push(0);
            a.mov(eax, type);
            a.invpcid(rax, __[rsp]);
            a.mov(r9, __qword_ptr[rbx]);
            a.hlt();
        });
        Run();
        Assert.Equal((0x1111ul, 0x2222ul), (State->Gpr[8], State->Gpr[9]));
    });

    [Theory]
    [InlineData(4ul, 0ul, 0ul, true)]
    [InlineData(0ul, 0x1000ul, 0ul, true)]
    [InlineData(2ul, 0x1000ul, 0ul, true)]
    [InlineData(0ul, 1ul, 0ul, false)]
    [InlineData(1ul, 1ul, 0ul, false)]
    [InlineData(0ul, 0ul, NotCanonical, true)]
    public void InvpcidRefuses(ulong type, ulong context, ulong address, bool contexts) => Twice(() =>
    {
        Kernel64(a =>
        {
            if (contexts)
            {
                SetCr4(a, ControlBits.Cr4Pcide);
            }

            a.mov(rax, address);
            a.push(rax);
            a.mov(rax, context);
            a.push(rax);
            a.mov(rax, type);
            a.invpcid(rax, __[rsp]);
            a.hlt();
        });
        Assert.Equal((Vector.GeneralProtection, 0u), RunToFault());
    });

    [Fact]
    public void InvpcidIsForKernels() => Twice(() =>
    {
        Place(User, 64, a =>
        {
            a.xor(eax, eax);
            a.invpcid(rax, __[rsp]);
        });
        EnterUser(User, 0x202);
        Assert.Equal((Vector.GeneralProtection, 0u), RunToFault());
    });

    [Fact]
    public void InstructionsForThreadBases() => Twice(() =>
    {
        Write64(0x5_0008, 0x1111);
        Write64(0x5_1008, 0x2222);
        Place(User, 64, a =>
        {
            a.mov(rax, (ulong)0x5_0000);
            a.wrfsbase(rax);
            a.mov(rax, Alias + 0x5_1000);
            a.wrgsbase(rax);
            a.mov(r8, __qword_ptr.fs[8]);
            a.mov(r9, __qword_ptr.gs[8]);
            a.mov(r10, -1L);
            a.rdfsbase(r10);
            a.mov(r11, -1L);
            a.rdgsbase(r11);
            a.rdgsbase(r12d);
            a.mov(rax, -1L);
            a.wrfsbase(eax);
            a.rdfsbase(r13);
            a.mov(rax, NotCanonical);
            a.wrgsbase(rax);
        });
        EnterUser(User, 0x202);
        State->Cr4 |= ControlBits.Cr4Fsgsbase;
        Vcpu.StateChanged();
        Assert.Equal((Vector.GeneralProtection, 0u), RunToFault());
        Assert.Equal((0x1111ul, 0x2222ul), (State->Gpr[8], State->Gpr[9]));
        Assert.Equal((0x5_0000ul, Alias + 0x5_1000), (State->Gpr[10], State->Gpr[11]));
        Assert.Equal((0x5_1000ul, 0xFFFF_FFFFul), (State->Gpr[12], State->Gpr[13]));

        // Not without CR4.FSGSBASE, and not in compatibility mode.
        Place(User, 64, a => a.rdfsbase(rax));
        EnterUser(User, 0x202);
        Assert.Equal(Vector.InvalidOpcode, RunToFault().Vector);
        Place(Narrow, 32, a => a.db(0xF3, 0x0F, 0xAE, 0xC0));
        EnterUser(Narrow, 0x202, Code32);
        State->Cr4 |= ControlBits.Cr4Fsgsbase;
        Vcpu.StateChanged();
        Assert.Equal(Vector.InvalidOpcode, RunToFault().Vector);
    });

    [Fact]
    public void SupervisorsDoNotFetchFromUserPages() => Twice(() =>
    {
        // The page is run by a program first, so that whatever remembers it does.
        MapUserPage();
        Place(0x5_0000, 64, a => a.ud2());
        EnterUser(Pages, 0x202);
        OwnUpperHalf();
        State->Cr4 |= ControlBits.Cr4Smep;
        Vcpu.StateChanged();
        Assert.Equal(Vector.InvalidOpcode, RunToFault().Vector);
        foreach (bool smep in (ReadOnlySpan<bool>)[true, false])
        {
            Kernel64(a =>
            {
                a.mov(rax, (ulong)Pages);
                a.mov(r8, __qword_ptr[rax]);
                a.jmp(rax);
            });
            OwnUpperHalf();
            State->Cr4 |= smep ? ControlBits.Cr4Smep : 0;
            Vcpu.StateChanged();
            Assert.Equal(smep ? (Vector.PageFault, 0x11u) : (Vector.InvalidOpcode, 0u), RunToFault());
            Assert.Equal(0x0B0Ful, State->Gpr[8] & 0xFFFF);
        }
    });

    [Fact]
    public void TablesAreHiddenFromPrograms() => Twice(() =>
    {
        foreach (Action<Assembler> store in (Action<Assembler>[])
            [
                a => a.sgdt(__[rsp - 64]), a => a.sidt(__[rsp - 64]), a => a.sldt(ax),
                a => a.str(__word_ptr[rsp - 64]), a => a.smsw(eax),
            ])
        {
            foreach (ulong hidden in (ReadOnlySpan<ulong>)[ControlBits.Cr4Umip, 0])
            {
                Place(User, 64, a =>
                {
                    store(a);
                    a.ud2();
                });
                EnterUser(User, 0x202);
                State->Cr4 |= hidden;
                Vcpu.StateChanged();
                Assert.Equal(hidden != 0 ? Vector.GeneralProtection : Vector.InvalidOpcode,
                    RunToFault().Vector);
            }

            Kernel64(a =>
            {
                store(a);
                a.ud2();
            });
            State->Cr4 |= ControlBits.Cr4Umip;
            Vcpu.StateChanged();
            Assert.Equal(Vector.InvalidOpcode, RunToFault().Vector);
        }
    });

    private static void SetCr4(Assembler a, ulong bits)
    {
        if (a.Bitness == 64)
        {
            a.mov(rax, cr4);
            a.or(rax, (int)bits);
            a.mov(cr4, rax);
            return;
        }

        a.mov(eax, cr4);
        a.or(eax, (int)bits);
        a.mov(cr4, eax);
    }

    private static void Register64Load(Assembler a, ulong cr3Value)
    {
        a.mov(rax, cr3Value);
        a.mov(cr3, rax);
    }

    /// <summary>At <see cref="Pages"/> one 4 KiB page of user memory at guest-physical 5_0000.</summary>
    private void MapUserPage()
    {
        Write64(Pml4 + 0x3000, Table | 7);
        Write64(Table, 0x5_0007);
    }

    /// <summary>Two address spaces that differ in the page at <see cref="Pages"/>: 5_0000 and
    /// 5_1000.</summary>
    private void TwoSpaces()
    {
        MapUserPage();
        Write64(Second, (Second + 0x1000) | 7);
        Write64(Second + (256 * 8), (Pml4 + 0x1000) | 7);
        Write64(Second + 0x1000, (Pml4 + 0x2000) | 7);
        Write64(Second + 0x1008, (Second + 0x2000) | 7);
        Write64(Second + 0x2000, (Second + 0x3000) | 7);
        Write64(Second + 0x3000, 0x5_1007);
    }

    /// <summary>Runs the kernel in the upper half, which is the supervisor's alone.</summary>
    private void OwnUpperHalf()
    {
        const uint tables = Pml4 + 0x6000;
        Write64(Pml4 + (256 * 8), tables | 3);
        Write64(tables, (Pml4 + 0x2000) | 3);
        State->Rip += Alias;
        State->Gpr[4] += Alias;
    }
}
