/* Task switches: far CALL to a TSS and IRET back, a double fault through a task gate, TSS checks (SDM vol. 3, 7). */

#include "conformance.h"

#define SLOT(n) (FREE + 8 * ((n) - 7))

static struct tss second __attribute__((aligned(16)));
static u8 second_stack[4096] __attribute__((aligned(16)));
static u32 seen_link, seen_eflags, seen_task, runs;
static struct far {
    u32 offset;
    u16 selector;
} __attribute__((packed)) task_pointer;

static u32 type_of(u32 selector)
{
    return (u32)(gdt[selector >> 3] >> 40) & 15;
}

static u32 task_register(void)
{
    u32 value;
    asm volatile("str %0" : "=r"(value));
    return value & 0xFFFF;
}

/* The second task's body: notes what it sees and returns with IRET, again and again. */
static void second_task(void)
{
    for (;;) {
        runs++;
        seen_link = second.link;
        seen_task = task_register();
        asm volatile("pushf; pop %0" : "=r"(seen_eflags));
        asm volatile("iret");
    }
}

static void prepare(void *eip)
{
    second = (struct tss){
        .esp0 = (u32)(second_stack + 4096), .ss0 = KDATA, .eip = (u32)eip, .eflags = 2, .eax = 0x4321,
        .esp = (u32)(second_stack + 4096), .es = KDATA, .cs = KCODE, .ss = KDATA, .ds = KDATA, .fs = KDATA, .gs = KDATA,
        .iomap = 104,
    };
    second.cr3 = READ_CR(3);
    gdt[7] = descriptor((u32)&second, 103, 0x89, 0);
}

/* Entered through the task gate of vector 8: the error code lies on its stack, the faulting state in the first TSS. */
static void double_fault(void)
{
    u32 error = *(u32 *)(second_stack + 4092);
    check("double fault: error code", error, 0);
    check("double fault: back link", second.link, TASK);
    check("double fault: EFLAGS.NT", ({ u32 v; asm volatile("pushf; pop %0" : "=r"(v)); v & NT; }), NT);
    check("double fault: saved ESP of the victim", tss.esp, 0x10);
    check("double fault: saved EBX of the victim", tss.ebx, 0x1357);
    check("double fault: victim still busy", type_of(TASK), 11);
    check("double fault: CR0.TS", READ_CR(0) & 8, 8);
    finish();
}

void main(void)
{
    prepare(second_task);
    task_pointer.selector = SLOT(7);
    check("first task busy", type_of(TASK), 11);
    check("second task available", type_of(SLOT(7)), 9);
    check("CALL to a TSS", TRY(asm volatile("lcall *%0" : : "m"(task_pointer) : "memory")), NONE);
    check("it ran", runs, 1);
    check("it saw itself in TR", seen_task, SLOT(7));
    check("it saw the back link", seen_link, TASK);
    check("it saw NT", seen_eflags & NT, NT);
    check("back in the first task", task_register(), TASK);
    check("second task available again", type_of(SLOT(7)), 9);
    check("first task busy again", type_of(TASK), 11);
    check("task switch sets CR0.TS", READ_CR(0) & 8, 8);
    asm volatile("clts");
    check("CALL again resumes after IRET", TRY(asm volatile("lcall *%0" : : "m"(task_pointer) : "memory")), NONE);
    check("it ran twice", runs, 2);
    /* A task gate in the IDT. */
    idt[0x60] = (u64)SLOT(7) << 16 | 0x85ull << 40;
    check("INT through a task gate", TRY(asm volatile("int $0x60")), NONE);
    check("it ran three times", runs, 3);
    gdt[7] |= 2ull << 40;
    check("CALL to a busy task", TRY(asm volatile("lcall *%0" : : "m"(task_pointer))), GP);
    check("CALL to a busy task, code", fault.error, SLOT(7));
    gdt[7] &= ~(0x82ull << 40);
    check("CALL to an absent task", TRY(asm volatile("lcall *%0" : : "m"(task_pointer))), NP);
    gdt[7] = descriptor((u32)&second, 50, 0x89, 0);
    check("TSS too small", TRY(asm volatile("lcall *%0" : : "m"(task_pointer))), TS);
    check("TSS too small, code", fault.error, SLOT(7));
    check("LTR of a busy TSS", TRY(asm volatile("ltr %w0" : : "r"(TASK))), GP);
    /* IRET with NT set and a bad back link. */
    tss.link = 0;
    check("IRET with NT and a null link", TRY(asm volatile("pushl $0x4002; popf; iret" : : : "memory")), TS);
    /* A page fault whose handler cannot be entered, because the stack is unmapped: #DF through a task gate. */
    paging_identity();
    prepare(double_fault);
    asm volatile("clts");
    idt[8] = (u64)SLOT(7) << 16 | 0x85ull << 40;
    page_directory[960] = 0;
    *page_entry((void *)0) = 0;
    WRITE_CR(3, page_directory);
    second.cr3 = (u32)page_directory;
    tss.cr3 = (u32)page_directory;
    asm volatile("mov $0x1357, %ebx; mov $0x10, %esp; movl 0xf0000000, %eax");
    check("double fault delivered", 0, 1);
}
