/* System instructions that an engine may run in a short cut: each is first executed often enough to take it, then with
   one condition changed, so that the short cut must notice. The check that follows shows the architecture's answer. */

#include "conformance.h"

#define AT(label) ({ extern u8 label[]; (void *)label; })
#define SLOT(n) (FREE + 8 * ((n) - 7))
#define USER_SLOT(n) (SLOT(n) | 3)
#define OFTEN for (often = 0; often < 4; often++)

#define LOAD(register, selector) asm volatile("mov %0, %%" #register : : "r"((u32)(selector)) : "memory")
#define STORED(register) ({ u32 v_; asm volatile("mov %%" #register ", %0" : "=r"(v_)); v_ & 0xFFFF; })
#define FLAGS() ({ u32 v_; asm volatile("pushf\n pop %0" : "=r"(v_)); v_; })
#define SET_FLAGS(v) asm volatile("push %0\n popf" : : "r"((u32)(v)) : "cc")

u8 pages[6][4096] __attribute__((aligned(4096)));
u32 saved_esp, seen_flags;
static volatile int often;
u64 user_tsc;

/* iret_from: IRETD of a frame that may lie anywhere. At CPL 0 it comes back at iret_back. */
asm(".text\n"
    "user_int: int $0x80\n"
    "user_rdtsc: rdtsc\n mov %eax, user_tsc\n int $0x80\n"
    "user_tick: nop\n nop\n int $0x80\n"
    "user_gs: mov $0x23, %eax\n mov %eax, %gs\n mov %gs, %ebx\n xor %eax, %eax\n mov %eax, %gs\n mov %gs:4, %eax\n"
    "handler_flags: pushf\n popl seen_flags\n mov 4(%esp), %eax\n iretl\n"
    ".globl iret_from\n"
    "iret_from: push %ebp\n push %ebx\n push %esi\n push %edi\n mov %esp, saved_esp\n mov 20(%esp), %esp\n iretl\n"
    "iret_back: mov saved_esp, %esp\n pop %edi\n pop %esi\n pop %ebx\n pop %ebp\n ret\n");

void iret_from(void *frame);

static u32 *frame(u32 *at, u32 eip, u32 cs, u32 eflags, u32 esp, u32 ss)
{
    u32 values[5] = { eip, cs, eflags, esp, ss };
    for (int i = 0; i < 5; i++)
        at[i] = values[i];
    return at;
}

static u32 *user_frame(u32 *at, u32 eflags)
{
    return frame(at, (u32)AT(user_int), UCODE, eflags, (u32)(user_stack + sizeof(user_stack)), UDATA);
}

static void segments(void)
{
    u64 good = descriptor((u32)pages[0], 0xFFFFF, 0xF3, 0xC);
    gdt[7] = good;
    OFTEN LOAD(fs, SLOT(7));
    *(u32 *)(pages[0] + 4) = 0x1234;
    check("FS: base", ({ u32 v; asm volatile("mov %%fs:4, %0" : "=r"(v)); v; }), 0x1234);
    gdt[7] = descriptor((u32)pages[1], 0xFFFFF, 0xF3, 0xC);
    *(u32 *)(pages[1] + 4) = 0x5678;
    LOAD(fs, SLOT(7));
    check("FS: the descriptor was changed", ({ u32 v; asm volatile("mov %%fs:4, %0" : "=r"(v)); v; }), 0x5678);
    gdt[7] = descriptor(0, 0xFFFFF, 0x73, 0xC);
    check("FS: not present", TRY(LOAD(fs, SLOT(7))), NP);
    check("FS: not present, code", fault.error, SLOT(7));
    gdt[7] = descriptor(0, 0xFFFFF, 0xF2, 0xC);
    OFTEN LOAD(fs, SLOT(7));
    check("accessed bit set again", (u32)(gdt[7] >> 40) & 1, 1);
    gdt[7] = good & ~(3ull << 45);
    check("FS: RPL above DPL", TRY(LOAD(fs, USER_SLOT(7))), GP);
    check("FS: RPL above DPL, code", fault.error, SLOT(7));
    OFTEN LOAD(gs, 3);
    check("null selector keeps its RPL", STORED(gs), 3);
    check("null GS faults", TRY(asm volatile("mov %%gs:0, %%eax" : : : "eax")), GP);
    OFTEN LOAD(es, KDATA);
    gdt[7] = descriptor(0, 0xFFFF, 0x93, 0x4);
    LOAD(es, SLOT(7));
    check("ES: a limit from now on", TRY(asm volatile("movb $0, %%es:(%0)" : : "r"(0x20000))), GP);
    LOAD(es, KDATA);
    OFTEN asm volatile("push %0\n pop %%es\n push %0\n pop %%fs" : : "r"(KDATA));
    check("POP ES", STORED(es), KDATA);
    check("POP FS", STORED(fs), KDATA);
    check("beyond the table", TRY(LOAD(ds, sizeof(gdt))), GP);
    check("beyond the table, code", fault.error, sizeof(gdt));
    check("GS at CPL 3", USER(AT(user_gs)), GP);
    check("GS at CPL 3, selector", fault.ebx & 0xFFFF, UDATA);
}

static void flags(void)
{
    OFTEN SET_FLAGS(2);
    SET_FLAGS(0x247DD7 & ~(u32)(TF | IF));
    check("POPF: all but TF and IF", FLAGS() & 0x3F7FD7, 0x247CD7);
    SET_FLAGS(2);
    check("POPF: none", FLAGS() & 0x3F7FD7, 2);
    SET_FLAGS(DF_FLAG | 2);
    pages[2][7] = 9;
    u8 *at = pages[2] + 7;
    asm volatile("lodsb\n cld" : "+S"(at) : : "eax");
    check("POPF: DF steps down", (u32)(pages[2] + 7 - at), 1);
    SET_FLAGS(VM | RF | 0x180000 | 2);
    check("POPF: VM, RF, VIF, VIP stay clear", FLAGS() & 0x1B0000, 0);
    check("POPF: TF traps after the next instruction",
        TRY(asm volatile("push $0x102\n popf\n nop\n nop\n push $2\n popf")), DB);
    SET_FLAGS(2);
    u32 *entry = page_entry(pages[3]);
    *entry &= ~1u;
    invlpg(pages[3]);
    check("POPF from a page that is not there", TRY(asm volatile(
        "mov %%esp, %%ebp\n mov %0, %%esp\n popf\n mov %%ebp, %%esp" : : "r"(pages[3]) : "ebp")), PF);
    check("POPF from a page that is not there, CR2", fault_cr2, (u32)pages[3]);
    *entry |= 1;
}

static void interrupt_return(void)
{
    u32 *at = (u32 *)(pages[2] + 64);
    OFTEN check("IRET to CPL 3", TRY(iret_from(user_frame(at, 2))), SYSCALL);
    check("IRET to CPL 3, ESP", fault.esp, (u32)(user_stack + sizeof(user_stack)));
    OFTEN iret_from(frame(at, (u32)AT(iret_back), KCODE, 2, 0, 0));
    check("IRET to CPL 3, IOPL and flags", TRY(iret_from(user_frame(at, 0x3CD7 & ~(u32)IF))), SYSCALL);
    check("IRET to CPL 3, flags seen", fault.eflags, 0x3CD7 & ~(u32)IF);
    check("IRET to CPL 3, TF", TRY(iret_from(frame(at, (u32)AT(user_tick), UCODE, TF | 2, 0, UDATA))), DB);
    check("IRET to CPL 3, TF: EIP", fault.eip, (u32)AT(user_tick) + 1);
    user_frame(at, 2)[4] = 0;
    check("IRET: null SS", TRY(iret_from(at)), GP);
    check("IRET: null SS, code", fault.error, 0);
    user_frame(at, 2)[4] = KDATA;
    check("IRET: SS of ring 0", TRY(iret_from(at)), GP);
    check("IRET: SS of ring 0, code", fault.error, KDATA);
    gdt[8] = descriptor(0, 0xFFFFF, 0x73, 0xC);
    user_frame(at, 2)[4] = USER_SLOT(8);
    check("IRET: SS not present", TRY(iret_from(at)), SS);
    check("IRET: SS not present, code", fault.error, SLOT(8));
    user_frame(at, 2)[1] = 0;
    check("IRET: null CS", TRY(iret_from(at)), GP);
    user_frame(at, 2)[1] = KCODE | 3;
    check("IRET: RPL 3, DPL 0", TRY(iret_from(at)), GP);
    check("IRET: RPL 3, DPL 0, code", fault.error, KCODE);
    gdt[3] &= ~(1ull << 47);
    check("IRET: CS not present", TRY(iret_from(user_frame(at, 2))), NP);
    check("IRET: CS not present, code", fault.error, UCODE & ~3);
    gdt[3] |= 1ull << 47;
    SET_FLAGS(NT | 2);
    tss.link = 0;
    check("IRET with NT goes to the previous task", TRY(iret_from(user_frame(at, 2))), TS);
    SET_FLAGS(2);

    /* The frame's first three values in one page, the other two in the next. */
    u32 *across = (u32 *)(pages[4] - 12);
    check("IRET: frame across pages", TRY(iret_from(user_frame(across, 2))), SYSCALL);
    u32 *entry = page_entry(pages[4]);
    *entry &= ~1u;
    invlpg(pages[4]);
    check("IRET: second half not there", TRY(iret_from(across)), PF);
    check("IRET: second half not there, CR2", fault_cr2, (u32)pages[4]);
    *entry |= 1;
    check("IRET after that", TRY(iret_from(user_frame(at, 2))), SYSCALL);
    LOAD(gs, KDATA);
    check("IRET drops GS of ring 0", (TRY(iret_from(user_frame(at, 2))), fault.gs & 0xFFFF), 0);
}

static void software_interrupts(void)
{
    u64 kept = idt[SYSCALL];
    OFTEN check("INT from CPL 3", USER(AT(user_int)), SYSCALL);
    check("INT: IF is saved", fault.eflags & IF, IF);
    set_gate(SYSCALL, 15, 3, AT(handler_flags));
    u32 after = 0;
    OFTEN asm volatile("push %1\n popf\n int $0x80\n pushf\n pop %0" : "=r"(after) : "r"(0x8C7 | NT) : "eax", "memory");
    check("INT at CPL 0, trap gate: flags in the handler", seen_flags & 0x7FD7, 0x8C7);
    check("IRET brings NT back", after & 0x7FD7, 0x8C7 | NT);
    SET_FLAGS(2);
    idt[SYSCALL] = kept;
    set_gate(SYSCALL, 14, 0, stub_of(SYSCALL));
    check("INT: gate of ring 0", USER(AT(user_int)), GP);
    check("INT: gate of ring 0, code", fault.error, SYSCALL * 8 + 2);
    idt[SYSCALL] = kept & ~(1ull << 47);
    check("INT: gate not present", USER(AT(user_int)), NP);
    check("INT: gate not present, code", fault.error, SYSCALL * 8 + 2);
    idt[SYSCALL] = (kept & ~0xFFFF0000ull) | UDATA << 16;
    check("INT: gate to data", USER(AT(user_int)), GP);
    check("INT: gate to data, code", fault.error, UDATA & ~3);
    idt[SYSCALL] = kept;
    tss.ss0 = UDATA;
    check("INT: stack of ring 3 in the TSS", TRY(asm volatile("int $0x80")), SYSCALL);
    tss.ss0 = KDATA;
    check("INT after that", USER(AT(user_int)), SYSCALL);
}

static void control_registers(void)
{
    u32 *entry = page_entry(pages[4]), kept = *entry;
    volatile u8 *data = pages[4];
    OFTEN WRITE_CR(3, READ_CR(3));
    pages[4][0] = 1;
    pages[5][0] = 2;
    *entry = (u32)pages[5] | 7;
    WRITE_CR(3, READ_CR(3));
    check("MOV to CR3: the new page is read", *data, 2);
    *data = 3;
    check("MOV to CR3: the new page is written", pages[5][0], 3);
    *entry = kept;
    invlpg(pages[4]);
    check("INVLPG: read", *data, 1);
    *entry = kept & ~2u;
    invlpg(pages[4]);
    check("INVLPG: write", TRY(*data = 4), PF);
    check("INVLPG: write, code", fault.error, 3);
    *entry = kept & ~0x60u;
    invlpg(pages[4]);
    check("read", *data, 1);
    check("read sets A", *entry & 0x60, 0x20);
    *data = 1;
    check("write sets D", *entry & 0x60, 0x60);

    /* The same code address, another page. */
    pages[4][0] = pages[5][0] = 0xB8;
    *(u32 *)(pages[4] + 1) = 11;
    *(u32 *)(pages[5] + 1) = 22;
    pages[4][5] = pages[5][5] = 0xC3;
    u32 (*code)(void) = (u32 (*)(void))pages[4];
    OFTEN code();
    *entry = (u32)pages[5] | 7;
    invlpg(pages[4]);
    check("INVLPG: code", code(), 22);
    *entry = kept;
    WRITE_CR(3, READ_CR(3));
    check("MOV to CR3: code", code(), 11);
    OFTEN *(u32 *)(pages[4] + 1) += 1;
    check("stores to code that runs", code(), 15);

    OFTEN {
        asm volatile("clts");
        check("CLTS", TRY(asm volatile("fninit")), NONE);
        WRITE_CR(0, READ_CR(0) | 8);
        check("TS", TRY(asm volatile("fninit")), NM);
        check("TS reads back", READ_CR(0) & 8, 8);
    }
    asm volatile("clts");
    OFTEN check("RDTSC at CPL 3", USER(AT(user_rdtsc)), SYSCALL);
    WRITE_CR(4, READ_CR(4) | 4);
    check("RDTSC at CPL 3 with TSD", USER(AT(user_rdtsc)), GP);
    u32 low;
    check("RDTSC at CPL 0 with TSD", TRY(asm volatile("rdtsc" : "=a"(low) : : "edx")), NONE);
    WRITE_CR(4, READ_CR(4) & ~4u);
}

void main(void)
{
    paging_identity();
    segments();
    flags();
    interrupt_return();
    software_interrupts();
    control_registers();
}
