/* Traps, the IDT and GDT the host holds, the stack for traps from user mode, FPU traps, privileged instructions. */

#include "lguest.h"

TEST(trap_in_kernel, "ABCDEF")
{
    WORD(IRQ_ENABLED) = 0;
    check("vector", TRY(asm volatile("ud2")), UD);
    check("cs", fault.cs, KCODE);
    check("at the instruction", *(u16 *)fault.eip, 0x0B0F);
    check("interrupts off", fault.eflags & IF, 0);
    WORD(IRQ_ENABLED) = IF;
    check("again", TRY(asm volatile("ud2")), UD);
    check("interrupts on", fault.eflags & IF, IF);
    check("off in the handler", WORD(IRQ_ENABLED), 0);
}

TEST(error_codes, "ABCDEF")
{
    check("divide", TRY(asm volatile("xor %%edx, %%edx; xor %%ecx, %%ecx; div %%ecx" : : : "eax", "ecx", "edx")), DE);
    check("none", fault.error, 0);
    check("selector", TRY(asm volatile("mov %0, %%gs" : : "r"(0x88))), GP);
    check("its index", fault.error, 0x88);
    check("beyond the table", TRY(asm volatile("mov %0, %%gs" : : "r"(0x100))), GP);
    check("its index", fault.error, 0x100);
    check("no LDT", TRY(asm volatile("mov %0, %%gs" : : "r"(0x0C))), GP);
    check("its index", fault.error, 0x0C);
    check("breakpoint", TRY(asm volatile("int3")), BP);
    check("overflow", TRY(asm volatile("mov $0x7FFFFFFF, %%eax; inc %%eax; into" : : : "eax", "cc")), OF);
}

static void user_syscall(void)
{
    asm volatile("mov $0x11111111, %ebp; int $0x80");
}

static void user_interrupt_41(void)
{
    asm volatile("int $0x41");
}

static void user_breakpoint(void)
{
    asm volatile("int3");
}

static void user_undefined(void)
{
    asm volatile("ud2");
}

TEST(trap_from_user_mode, "ABCDEF")
{
    WORD(IRQ_ENABLED) = IF;
    check("vector", USER(user_syscall), SYSCALL);
    check("cs", fault.cs, UCODE);
    check("ss", fault.ss & 0xFFFF, UDATA);
    check("esp", fault.esp, (u32)(user_stack + sizeof(user_stack)));
    check("ebp", fault.ebp, 0x11111111);
    check("flags", fault.eflags & IF, IF);
    check("fault", USER(user_undefined), UD);
    check("at the instruction", *(u16 *)fault.eip, 0x0B0F);
}

TEST(gate_privilege, "ABCDEF")
{
    check("closed to users", USER(user_interrupt_41), GP);
    check("error", fault.error, 0x41 * 8 + 2);
    set_gate(0x41, 15, 3, stub_of(0x41));
    check("open to users", USER(user_interrupt_41), 0x41);
    set_gate(0x41, 15, 1, stub_of(0x41));
    check("closed again", USER(user_interrupt_41), GP);
    check("open to the kernel", TRY(asm volatile("int $0x41")), 0x41);
    set_gate(0x41, 15, 0, stub_of(0x41));
    check("closed to both", TRY(asm volatile("int $0x41")), GP);
    load_gate(0x41, 0);
    check("absent", TRY(asm volatile("int $0x41")), GP);
    check("error", fault.error, 0x41 * 8 + 2);
    set_gate(BP, 15, 3, stub_of(BP));
    check("breakpoint", USER(user_breakpoint), BP);
}

/* Whatever selector a gate names, handlers run in the kernel's code segment. */
TEST(gate_selector, "ABCDEF")
{
    u32 at = (u32)stub_of(0x42);
    load_gate(0x42, (at & 0xFFFF) | 0x10 << 16 | (u64)((at & 0xFFFF0000) | 0xEF00) << 32);
    check("vector", TRY(asm volatile("int $0x42; hlt")), 0x42);
    u32 cs;
    asm("mov %%cs, %0" : "=r"(cs));
    check("cs", cs & 0xFFFF, KCODE);
}

/* NMI, double fault, spurious interrupt and hypercall are not the guest's: writes do nothing, not even wrong ones. */
TEST(gates_of_the_host, "ABCDEF")
{
    static const u8 vectors[] = { 2, 8, 15, 31 };
    for (int i = 0; i < 4; i++) {
        load_gate(vectors[i], 0x8500ull << 32);
        set_gate(vectors[i], 14, 3, stub_of(vectors[i]));
    }
    check("NMI", TRY(asm volatile("int $2")), GP);
    check("double fault", TRY(asm volatile("int $8")), GP);
    check("spurious", TRY(asm volatile("int $15")), GP);
    call0(FLUSH_ASYNC);
}

MISUSE(gate_index, "ABCDEF", "Setting idt entry 256")
{
    load_gate(256, 0);
}

MISUSE(gate_type, "ABCDEF", "bad IDT type 5")
{
    load_gate(0x41, 0x8500ull << 32);
}

MISUSE(trap_without_gate, "ABCDEF", "unhandled trap 6")
{
    load_gate(UD, 0);
    asm volatile("ud2");
}

MISUSE(fault_without_gate, "ABCDEF", "unhandled trap 14 at")
{
    load_gate(PF, 0);
    (void)*(volatile u32 *)0x10;
    map(directory, 0, OFFSET, 0);
    call3(SET_PTE, PHYSICAL(directory), OFFSET, 0);
    (void)*(volatile u32 *)OFFSET;
}

TEST(descriptors, "ABCDEF")
{
    load_descriptor(20, descriptor(0x1000, 0x12345, 0x92, 4));
    check("limit", limit_of(20 << 3 | 1), 0x12345);
    check("DPL 0 becomes 1, accessed is set", rights_of(20 << 3 | 1) >> 8 & 0xFF, 0xB3);
    load_descriptor(21, descriptor(0, 0xFFF, 0xF2, 4));
    check("DPL 3 stays", rights_of(21 << 3 | 3) >> 8 & 0xFF, 0xF3);
    load_descriptor(21, 0);
    check("gone", rights_of(21 << 3 | 3), 0);
    load_descriptor(20, descriptor(0x1000, 0x12345, 0x8C, 0));
    check("no gates", rights_of(20 << 3 | 1), 0);
}

TEST(descriptors_of_the_host, "ABCDEF")
{
    static const u8 entries[] = { 10, 11, 16, 31 };
    for (int i = 0; i < 4; i++) {
        load_descriptor(entries[i], descriptor(0, 0xFFFFF, 0xF2, 0xC));
        check("ignored", rights_of(entries[i] << 3 | 3), 0);
    }
}

TEST(segment_base, "ABCDEF")
{
    static u32 words[4] = { 1, 2, 3, 4 };
    u32 value;
    load_descriptor(20, descriptor((u32)words, sizeof(words) - 1, 0xB2, 4));
    asm volatile("mov %1, %%fs; mov %%fs:8, %0; mov %2, %%fs" : "=&r"(value) : "r"(20 << 3 | 1), "r"(0));
    check("read", value, 3);
    u32 vector = TRY(asm volatile("mov %0, %%fs; mov %%fs:16, %%eax" : : "r"(20 << 3 | 1) : "eax"));
    check("limit", vector, GP);
}

#if DIALECT <= 2
MISUSE(gdt_too_long, "ABC", "too many gdt entries")
{
    call2(LOAD_GDT, PHYSICAL(directory), 33);
}

MISUSE(gdt_beyond_ram, "ABC", "of a GDT")
{
    call2(LOAD_GDT, MEMORY + DEVICE_PAGES * 4096, 32);
}
#else
MISUSE(gdt_index, "DEF", "too many gdt entries")
{
    call3(LOAD_GDT_ENTRY, 32, 0, 0);
}
#endif

MISUSE(stack_of_ring_0, "ABCDEF", "bad stack segment")
{
    call3(SET_STACK, KDATA & ~3, (u32)kernel_stack + 4096, 1);
}

MISUSE(stack_of_ring_3, "ABCDEF", "bad stack segment")
{
    call3(SET_STACK, UDATA, (u32)kernel_stack + 4096, 1);
}

MISUSE(stack_pages, "ABCDEF", "bad stack pages 3")
{
    call3(SET_STACK, KDATA, (u32)kernel_stack + 4096, 3);
}

MISUSE(stack_not_mapped, "ABCDEF", "bad stack page")
{
    call3(SET_STACK, KDATA, 0x40000000, 1);
}

MISUSE(stack_not_writable, "ABCDEF", "bad stack page")
{
    map(directory, 6, 0x40000000, PHYSICAL(kernel_stack) | P);
    call3(SET_STACK, KDATA, 0x40001000, 1);
}

MISUSE(stack_no_segment, "ABCDEF", "bad stack segment")
{
    call3(SET_STACK, 20 << 3 | 1, (u32)kernel_stack + 4096, 1);
    (void)USER(user_syscall);
}

MISUSE(stack_gone_in_kernel, "ABCDEF", "bad stack at")
{
    asm volatile("mov $0x40000000, %esp; ud2");
}

TEST(stack_two_pages, "ABCDEF")
{
    static u8 stack[8192] __attribute__((aligned(4096)));
    call3(SET_STACK, KDATA, (u32)stack + sizeof(stack), 2);
    check("vector", USER(user_syscall), SYSCALL);
    u32 used = 0;
    for (int i = 0; i < 64; i++)
        used |= stack[8191 - i];
    check("used", used != 0, 1);
}

static u32 x87(void)
{
    return TRY(asm volatile("fninit"));
}

TEST(task_switched, "ABCDEF")
{
    check("clear", x87(), NONE);
    call1(TS, 1);
    check("set", x87(), NM);
    call1(TS, 0);
    check("clear again", x87(), NONE);
    call1(TS, 0x100);
    check("any bit sets", x87(), NM);
    call1(TS, 0);
    queue_call(0, TS, 1, 0, 0);
    call0(FLUSH_ASYNC);
    check("by the ring", x87(), NM);
}

static void user_x87(void)
{
    asm volatile("fninit; int $0x80");
}

TEST(task_switched_in_user_mode, "ABCDEF")
{
    call1(TS, 1);
    check("set", USER(user_x87), NM);
    check("from user mode", fault.cs, UCODE);
    call1(TS, 0);
    check("clear", USER(user_x87), SYSCALL);
}

TEST(ports, "ABCDEF")
{
    u32 value = 0;
    asm volatile("inb $0x80, %%al" : "+a"(value));
    check("byte", value, 0xFF);
    value = 0;
    asm volatile("inw %%dx, %%ax" : "+a"(value) : "d"(0x3F8));
    check("word", value, 0xFFFF);
    asm volatile("inl %%dx, %%eax" : "=a"(value) : "d"(0x1234));
    check("double word", value, 0xFFFFFFFF);
    asm volatile("outb %%al, $0x80; outw %%ax, %%dx; outl %%eax, %%dx" : : "a"(0), "d"(0x1234));
    check("string input", TRY(asm volatile("insb" : : "D"(user_stack), "d"(0x80) : "memory")), GP);
    check("error", fault.error, 0);
}

static void user_port(void)
{
    asm volatile("inb $0x80, %al");
}

TEST(ports_of_user_mode, "ABCDEF")
{
    check("vector", USER(user_port), GP);
    check("error", fault.error, 0);
}

TEST(cli, "ABCDEF")
{
    check("ignored since D", TRY(asm volatile("cli")), DIALECT >= D ? NONE : GP);
    u32 flags;
    asm volatile("pushf; pop %0" : "=r"(flags));
    check("real flag stays on", flags & IF, IF);
}

static void user_cli(void)
{
    asm volatile("cli");
}

TEST(privileged, "ABCDEF")
{
    check("sti", TRY(asm volatile("sti")), GP);
    check("hlt", TRY(asm volatile("hlt")), GP);
    check("mov cr3", TRY(asm volatile("mov %%cr3, %%eax" : : : "eax")), GP);
    check("lgdt", TRY(asm volatile("lgdt (%0)" : : "r"(user_stack))), GP);
    check("invlpg", TRY(asm volatile("invlpg (%0)" : : "r"(user_stack))), GP);
    check("rdmsr", TRY(asm volatile("rdmsr" : : "c"(0x10) : "eax", "edx")), GP);
    check("user cli", USER(user_cli), GP);
}

/* POPF and IRET leave the real interrupt flag and IOPL alone. */
TEST(flags_not_the_guests, "ABCDEF")
{
    u32 flags;
    asm volatile("push $0x3002; popf; pushf; pop %0" : "=r"(flags) : : "cc");
    check("popf", flags & 0x3200, IF);
    asm volatile("push $0x3002; push %%cs; push $1f; iret; 1: pushf; pop %0" : "=r"(flags) : : "cc");
    check("iret", flags & 0x3200, IF);
}
