/* User programs: thread-local storage by LOAD_TLS, and two processes with page tables of their own that share the CPU. */

#include "lguest.h"

static u64 tls_entries[3] __attribute__((aligned(8)));

static void load_tls(u32 base, u32 bytes)
{
    tls_entries[0] = descriptor(base, bytes - 1, 0xF2, 4);
    tls_entries[1] = descriptor(0, 111, 0xF2, 4);
    tls_entries[2] = descriptor(0, 222, 0xF0, 4);
    call1(LOAD_TLS, PHYSICAL(tls_entries));
}

/* A program as a C library makes them: GS selects the thread's block, which starts with its own address. */
static void threaded_program(void)
{
    asm volatile(
        "mov $0x33, %eax; mov %eax, %gs; mov %gs:0, %ebx; addl $5, %gs:4; mov %gs:4, %ecx; mov 4(%ebx), %edx;"
        "int $0x80");
}

static void beyond_its_block(void)
{
    asm volatile("mov $0x33, %eax; mov %eax, %gs; mov %gs:64, %eax; int $0x80");
}

TEST(tls, "ABCDEF")
{
    static u32 blocks[2][16];
    for (u32 thread = 0; thread < 2; thread++) {
        blocks[thread][0] = (u32)blocks[thread];
        blocks[thread][1] = 100 * (thread + 1);
    }
    for (volatile u32 turn = 1; turn <= 3; turn++) {
        for (volatile u32 thread = 0; thread < 2; thread++) {
            asm volatile("mov %0, %%gs" : : "r"(0));
            load_tls((u32)blocks[thread], sizeof(blocks[0]));
            check("ran", USER(threaded_program), SYSCALL);
            check("own address", fault.ebx, (u32)blocks[thread]);
            check("through gs", fault.ecx, 100 * (thread + 1) + 5 * turn);
            check("through the address", fault.edx, fault.ecx);
        }
    }
    check("limit", USER(beyond_its_block), GP);
    asm volatile("mov %0, %%gs" : : "r"(0));
}

TEST(tls_entries, "ABCDEF")
{
    load_tls(0x1000, 16);
    check("first", limit_of(0x33), 15);
    check("second", limit_of(0x3B), 111);
    check("third", limit_of(0x43), 222);
    check("accessed is set", rights_of(0x43) >> 8 & 0xFF, 0xF1);
    tls_entries[0] = 0;
    call1(LOAD_TLS, PHYSICAL(tls_entries));
    check("emptied", rights_of(0x33), 0);
    tls_entries[0] = descriptor(0, 15, 0x92, 4);
    call1(LOAD_TLS, PHYSICAL(tls_entries));
    check("DPL 0 becomes 1", rights_of(0x31) >> 8 & 0xFF, 0xB3);
}

MISUSE(tls_beyond_ram, "ABCDEF", "of TLS entries")
{
    call1(LOAD_TLS, MEMORY + DEVICE_PAGES * 4096 - 16);
}

/* Two processes: the same program at the same address counts in the same word, each in a page of its own. The clock
   switches between them: page table, stack and TLS change hands through the ring, as in a kernel's scheduler. */
enum { PROGRAM = 0x40000000, COUNTER = 0x40001000, SWITCHES = 20 };

struct process {
    u32 directory[1024] __attribute__((aligned(4096)));
    u32 table[1024] __attribute__((aligned(4096)));
    u32 counter[1024] __attribute__((aligned(4096)));
    u8 stack[4096] __attribute__((aligned(4096)));
    u64 tls[3];
    struct frame frame;
};

static struct process processes[2];
static u8 code_page[4096] __attribute__((aligned(4096)));
static u32 current, switches, slot;

static void queue(u32 number, u32 first, u32 second, u32 third)
{
    queue_call(slot, number, first, second, third);
    slot = (slot + 1) & 63;
}

static int schedule(struct frame *frame)
{
    if (frame->vector != TIMER || (frame->cs & 3) != 3)
        return 0;
    processes[current].frame = *frame;
    if (++switches == SWITCHES)
        return 0;
    current ^= 1;
    struct process *next = &processes[current];
    queue(NEW_PGTABLE, PHYSICAL(next->directory), 0, 0);
    queue(SET_STACK, KDATA, (u32)next->stack + sizeof(next->stack), 1);
    queue(LOAD_TLS, PHYSICAL(next->tls), 0, 0);
    queue(SET_CLOCKEVENT, 500000, 0, 0);
    asm volatile("mov %0, %%gs" : : "r"(0));
    call0(FLUSH_ASYNC);
    /* The frame lies on the stack of the process that was interrupted; both stacks are mapped everywhere. */
    *frame = next->frame;
    return 1;
}

TEST(processes, "ABCDEF")
{
    /* 1: incl COUNTER; mov %gs:0, %ebx; jmp 1b */
    static const u8 program[] = { 0xFF, 0x05, 0, 0x10, 0, 0x40, 0x65, 0x8B, 0x1D, 0, 0, 0, 0, 0xEB, 0xF1 };
    for (u32 i = 0; i < sizeof(program); i++)
        code_page[i] = program[i];
    for (u32 i = 0; i < 2; i++) {
        struct process *process = &processes[i];
        for (u32 entry = 0; entry < 1024; entry++)
            process->directory[entry] = directory[entry];
        process->directory[PROGRAM >> 22] = PHYSICAL(process->table) | P | RW | US;
        process->table[0] = PHYSICAL(code_page) | P | US;
        process->table[1] = PHYSICAL(process->counter) | P | RW | US;
        process->counter[1] = 0x5555 + i;
        process->tls[0] = descriptor((u32)&process->counter[1], 3, 0xF2, 4);
        process->frame = (struct frame){
            .gs = 0x33, .ds = UDATA, .es = UDATA, .eip = PROGRAM, .cs = UCODE, .eflags = 0x202,
            .esp = PROGRAM, .ss = UDATA,
        };
    }
    hook = schedule;
    WORD(BLOCKED) = 0xFFFFFFFE;
    call1(NEW_PGTABLE, PHYSICAL(processes[0].directory));
    call3(SET_STACK, KDATA, (u32)processes[0].stack + 4096, 1);
    call1(LOAD_TLS, PHYSICAL(processes[0].tls));
    call1(SET_CLOCKEVENT, 500000);
    asm volatile("mov %0, %%gs" : : "r"(0x33));
    WORD(IRQ_ENABLED) = IF;
    check("ends at the last switch", TRY(enter_user((void *)PROGRAM, PROGRAM, 0x202)), TIMER);
    check("switches", switches, SWITCHES);
    for (u32 i = 0; i < 2; i++) {
        check("counted", processes[i].counter[0] > 1000, 1);
        check("own TLS", processes[i].frame.ebx, 0x5555 + i);
    }
    check("apart", processes[0].counter[0] != processes[1].counter[0], 1);
    asm volatile("mov %0, %%gs" : : "r"(0));
    /* A page is taken from one process and its next access faults. */
    call1(NEW_PGTABLE, PHYSICAL(processes[0].directory));
    hook = 0;
    processes[0].table[1] = 0;
    call3(SET_PTE, PHYSICAL(processes[0].directory), COUNTER, 0);
    check("page taken away", TRY(enter_user((void *)PROGRAM, PROGRAM, 0x202)), PF);
    check("cr2", WORD(CR2), COUNTER);
    check("error", fault.error, 6);
}
