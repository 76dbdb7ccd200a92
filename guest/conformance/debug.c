/* Single step, instruction breakpoints and the debug registers themselves (SDM vol. 3, 17). */

#include "conformance.h"

#define AT(label) ({ extern u8 label[]; (u32)label; })

static volatile u32 steps, last_eip, last_dr6, first_eip;

static int count(struct frame *frame)
{
    if (frame->vector != DB)
        return 0;
    if (steps++ == 0)
        first_eip = frame->eip;
    last_eip = frame->eip;
    last_dr6 = READ_DR(6);
    WRITE_DR(6, 0xFFFF0FF0);
    if (frame->eip == AT(step_end))
        frame->eflags &= ~(u32)TF;
    frame->eflags |= RF;
    return 1;
}

static void single_step(void)
{
    hook = count;
    steps = 0;
    asm volatile("pushf; orl $0x100, (%%esp); popf\n"
        "step_first: nop\n inc %%eax\n push %%eax\n pop %%ecx\n mov $3, %%ecx\n 1: loop 1b\n step_end: nop"
        : : : "eax", "ecx", "memory");
    check("single step: traps", steps, 8);
    check("single step: first EIP is after the instruction after POPF", first_eip, AT(step_first) + 1);
    check("single step: last EIP", last_eip, AT(step_end));
    check("single step: DR6.BS", last_dr6 & 0xE00F, 0x4000);
    hook = 0;
    check("ICEBP", TRY(asm volatile(".byte 0xf1; icebp_after:")), DB);
    check("ICEBP eip is after", fault.eip, AT(icebp_after));
}

static void breakpoints(void)
{
    hook = count;
    WRITE_DR(6, 0xFFFF0FF0);
    steps = 0;
    WRITE_DR(1, AT(exec_at));
    WRITE_DR(7, 0x8 | 0x400); /* G1, execute */
    asm volatile("xor %%eax, %%eax\n inc %%eax\n exec_at: inc %%eax\n nop" : : : "eax");
    check("execute breakpoint", steps, 1);
    check("execute: eip is at the instruction", last_eip, AT(exec_at));
    check("execute: DR6.B1", last_dr6 & 0xE00F, 2);
    WRITE_DR(7, 0x400);
    asm volatile("jmp 1f\n 1: nop");
    hook = 0;
    WRITE_DR(6, 0xFFFF0FF0);
    WRITE_DR(7, 0x2400); /* GD */
    check("general detect", TRY((void)READ_DR(0)), DB);
    check("general detect: DR6.BD", READ_DR(6) & 0x2000, 0x2000);
    check("general detect clears GD", READ_DR(7) & 0x2000, 0);
    WRITE_DR(6, 0);
    check("DR6 fixed bits", READ_DR(6), 0xFFFF0FF0);
    WRITE_DR(7, 0);
    check("DR7 fixed bits", READ_DR(7), 0x400);
    WRITE_CR(4, READ_CR(4) | 8);
    check("DR4 with CR4.DE", TRY(asm volatile("mov %%dr4, %%eax" : : : "eax")), UD);
    WRITE_CR(4, READ_CR(4) & ~8u);
    check("DR4 without CR4.DE is DR6", ({ u32 v; asm volatile("mov %%dr4, %0" : "=r"(v)); v; }), 0xFFFF0FF0);
}

void main(void)
{
    single_step();
    breakpoints();
}
