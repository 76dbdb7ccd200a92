/* Which stack an event comes on (SDM vol. 3, 6.14), when interrupts come (STI, MOV to SS, POPFQ, CR8), and HLT. */

#include "conformance.h"

#define APIC ((volatile u32 *)0xFEE00000)
enum { SELF = 0x40000, IPI = 0x51 };

static u64 interrupts, last_rip, last_rsp, last_ss, last_frame;

asm(".text\n"
    "user_trap: mov $1, %ecx\n ud2\n"
    "user_int: int $0x81\n");

static int note_interrupt(struct frame *frame)
{
    if (frame->vector != IPI)
        return 0;
    interrupts++;
    last_rip = frame->rip;
    last_rsp = frame->rsp;
    last_ss = frame->ss;
    last_frame = (u64)frame;
    APIC[0xB0 / 4] = 0;
    return 1;
}

static void send(void)
{
    APIC[0x300 / 4] = SELF | IPI;
}

#define TOP(stack) ((u64)(stack + sizeof(stack)))

static void event_stacks(void)
{
    check("exception of a program", USER(user_trap), UD);
    check("its frame is on RSP0", fault_at + sizeof(struct frame), TOP(ring0_stack));
    check("SS in the frame", fault.ss, UDATA);
    check("CS in the frame", fault.cs, UCODE);
    tss.rsp[0] = TOP(ring0_stack) - 5;
    check("with RSP0 off by 5", USER(user_trap), UD);
    check("its frame is aligned", fault_at + sizeof(struct frame), TOP(ring0_stack) - 16);
    tss.rsp[0] = TOP(ring0_stack);
    set_gate(UD, 0, 1);
    check("with an interrupt stack", USER(user_trap), UD);
    check("its frame is there", fault_at + sizeof(struct frame), TOP(ist_stack));
    check("exception of the kernel there", TRY(asm volatile("ud2")), UD);
    check("its frame is there too", fault_at + sizeof(struct frame), TOP(ist_stack));
    check("SS stays", fault.ss, KDATA);
    tss.ist[0] = TOP(ist_stack) - 3;
    check("with a stack off by 3", TRY(asm volatile("ud2")), UD);
    check("its frame is aligned", fault_at + sizeof(struct frame), TOP(ist_stack) - 16);
    tss.ist[0] = TOP(ist_stack);
    set_gate(UD, 0, 0);
    check("kernel without one, RSP off by 3",
        TRY(asm volatile("sub $0x203, %%rsp\n mov %%rsp, %%r9\n ud2" : : : "r9")), UD);
    check("RSP in the frame", fault.rsp, fault.r9);
    check("its frame is aligned below", fault_at + sizeof(struct frame), fault.r9 & ~15ull);
    idt[UD * 2] &= ~(1ull << 47);
    check("a gate that is not present", TRY(asm volatile("ud2")), NP);
    check("its code names the gate, and an earlier exception", fault.error, UD * 8 + 3);
    idt[UD * 2] |= 1ull << 47;
    idt[UD * 2] = (idt[UD * 2] & ~(0xFFFFull << 16)) | (u64)KCODE32 << 16;
    check("a gate to 32-bit code", TRY(asm volatile("ud2")), GP);
    check("its code names the segment, and an earlier exception", fault.error, KCODE32 + 1);
    set_gate(UD, 0, 0);
    check("INT through a gate for CPL 0", USER(user_int), GP);
    check("its code names the gate too", fault.error, 0x81 * 8 + 2);
}

static void interrupt_windows(void)
{
    u64 at, end;
    hook = note_interrupt;
    APIC[0xF0 / 4] = 0x1FF;
    for (int time = 0; time < 4; time++) {
        interrupts = 0;
        send();
        asm volatile("nop\n nop");
        check("IF is clear: nothing comes", interrupts, 0);
        asm volatile("lea 1f(%%rip), %0\n sti\n nop\n 1: nop\n cli" : "=&r"(at) : : "memory");
        check("after STI it comes one instruction later", last_rip, at);
        check("once", interrupts, 1);
        check("with SS of CPL 0", last_ss, KDATA);

        send();
        asm volatile("sti\n cli" : : : "memory");
        check("STI and CLI: it does not come", interrupts, 1);
        asm volatile("lea 1f(%%rip), %0\n pushfq\n orq $0x200, (%%rsp)\n popfq\n 1: nop\n cli" : "=&r"(at) : : "memory");
        check("after POPFQ it comes at once", last_rip, at);
        check("once again", interrupts, 2);

        send();
        asm volatile("lea 1f(%%rip), %0\n mov %%ss, %1\n sti\n mov %w1, %%ss\n nop\n 1: nop\n cli"
            : "=&r"(at), "=&r"(end) : : "memory");
        check("after STI, MOV to SS it comes behind or one later", last_rip == at || last_rip == at - 1, 1);
        check("a third time", interrupts, 3);

        send();
        asm volatile("lea 1f(%%rip), %0\n sti\n hlt\n 1: cli" : "=&r"(at) : : "memory");
        check("STI, HLT: it wakes, and the HLT is over", last_rip, at);
        check("a fourth time", interrupts, 4);

        WRITE_CR(8, 5);
        check("CR8 reads back", READ_CR(8), 5);
        check("CR8 is the APIC's TPR", APIC[0x80 / 4], 0x50);
        send();
        asm volatile("sti\n nop\n nop\n cli" : : : "memory");
        check("the priority in CR8 holds it off", interrupts, 4);
        asm volatile("lea 1f(%%rip), %0\n sti\n nop\n mov %1, %%cr8\n 1: nop\n nop\n cli"
            : "=&r"(at) : "r"(4ull) : "memory");
        check("less lets it come", interrupts, 5);
        check("a reserved bit of CR8", TRY(WRITE_CR(8, 0x10)), GP);
        WRITE_CR(8, 0);

        set_gate(IPI, 0, 1);
        send();
        asm volatile("mov %%rsp, %0\n sti\n nop\n nop\n cli" : "=&r"(at) : : "memory");
        check("an interrupt on its own stack", last_frame + sizeof(struct frame), TOP(ist_stack));
        check("RSP in its frame", last_rsp, at);
        set_gate(IPI, 0, 0);
    }
    hook = 0;
}

void main(void)
{
    event_stacks();
    interrupt_windows();
}
