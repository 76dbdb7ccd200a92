/* The common half of the lguest test guest: start-up by the rules of the dialect, hypercalls, trap dispatch, the verdict. */

#include "lguest.h"

u8 lguest_data[1400] __attribute__((aligned(4096)));
struct frame fault;
struct context catcher;
volatile int catching;
int (*volatile hook)(struct frame *frame);
u8 user_stack[4096] __attribute__((aligned(4096)));
u8 kernel_stack[4096] __attribute__((aligned(4096)));
u32 directory[1024] __attribute__((aligned(4096)));
u32 tables[8][1024] __attribute__((aligned(4096)));
volatile u32 interrupts;
struct frame interrupted;

static u64 pointers[4] __attribute__((aligned(32)));
static u64 gdt[32];
static char verdict[128];
static u32 verdict_length;

extern const struct test tests_start[], tests_end[];

u32 hcall(u32 number, u32 first, u32 second, u32 third, u32 fourth)
{
    u32 result;
#if DIALECT <= 2
    (void)fourth;
    asm volatile("int $0x1f" : "=a"(result) : "a"(number), "d"(first), "b"(second), "c"(third) : "memory");
#elif DIALECT == 3
    asm volatile("vmcall" : "=a"(result) : "a"(number), "b"(first), "c"(second), "d"(third), "S"(fourth) : "memory");
#else
    asm volatile("int $0x1f" : "=a"(result) : "a"(number), "b"(first), "c"(second), "d"(third), "S"(fourth)
        : "memory");
#endif
    return result;
}

void end(const char *message)
{
    static char copy[128];
    u32 i = 0;
    for (; message[i] && i < 127; i++)
        copy[i] = message[i];
    copy[i] = 0;
    call2(SHUTDOWN, PHYSICAL(copy), 1);
    for (;;)
        ;
}

static void say(const char *text)
{
    while (*text && verdict_length < sizeof(verdict) - 1)
        verdict[verdict_length++] = *text++;
}

static void say_hex(u32 value)
{
    char text[9];
    say(hex_text(value, text));
}

void check(const char *name, u32 got, u32 want)
{
    if (got == want)
        return;
    say(verdict_length ? "; " : "FAIL ");
    say(name);
    say(" got ");
    say_hex(got);
    say(" want ");
    say_hex(want);
}

/* By the TSC, whose frequency the host states. */
void delay(u32 microseconds)
{
    u64 start, now, ticks = (u64)(WORD(TSC_KHZ) / 1000) * microseconds;
    asm volatile("rdtsc" : "=A"(start));
    do
        asm volatile("rdtsc" : "=A"(now));
    while (now - start < ticks);
}

u64 descriptor(u32 base, u32 limit, u32 access, u32 flags)
{
    return (u64)(limit & 0xFFFF) | (u64)(base & 0xFFFFFF) << 16 | (u64)access << 40
        | (u64)(limit >> 16 & 15) << 48 | (u64)flags << 52 | (u64)(base >> 24) << 56;
}

void load_descriptor(u32 index, u64 value)
{
    if (DIALECT >= D) {
        call3(LOAD_GDT_ENTRY, index, (u32)value, (u32)(value >> 32));
    } else {
        gdt[index] = value;
        call2(LOAD_GDT, PHYSICAL(gdt), 32);
    }
}

void load_gate(u32 vector, u64 gate)
{
    call3(LOAD_IDT_ENTRY, vector, (u32)gate, (u32)(gate >> 32));
}

void set_gate(u32 vector, u32 type, u32 dpl, const void *handler)
{
    u32 at = (u32)handler;
    load_gate(vector, (at & 0xFFFF) | KCODE << 16 | (u64)((at & 0xFFFF0000) | 0x8000 | dpl << 13 | type << 8) << 32);
}

void *stub_of(u32 vector)
{
    return stubs + vector * 16;
}

void queue_call(u32 slot, u32 number, u32 first, u32 second, u32 third)
{
    volatile u32 *words = (volatile u32 *)(lguest_data + RING) + slot * RING_WORDS;
    words[0] = number;
    if (DIALECT == B || DIALECT == C) {
        words[3] = first;
        words[1] = second;
        words[2] = third;
    } else {
        words[1] = first;
        words[2] = second;
        words[3] = third;
    }
    STATUS_OF(slot) = 0;
}

/* Points the entry of a linear address at a frame; "table" says which of tables[] serves that part of memory. */
void map(u32 *top, u32 table, u32 linear, u32 entry)
{
    top[linear >> 22] = PHYSICAL(tables[table]) | P | RW | US;
    tables[table][linear >> 12 & 1023] = entry;
}

/* All RAM and the device pages at OFFSET, for everybody, in tables 0 to 4. */
void identity(void)
{
    for (u32 page = 0; page < MEMORY / 4096 + DEVICE_PAGES; page++)
        map(directory, page >> 10, OFFSET + (page << 12), page << 12 | P | RW | US);
}

/* The same in the format of PAE: middle tables in tables[5], page tables reuse the directory and tables 0 to 4. */
static void identity_pae(void)
{
    u64 *middle = (u64 *)tables[5];
    static u64 leaves[9][512] __attribute__((aligned(4096)));
    for (u32 page = 0; page < MEMORY / 4096 + DEVICE_PAGES; page++) {
        middle[page >> 9] = PHYSICAL(leaves[page >> 9]) | P | RW | US;
        leaves[page >> 9][page & 511] = (u64)page << 12 | P | RW | US;
    }
    pointers[0] = PHYSICAL(middle) | P;
    call1(NEW_PGTABLE, PHYSICAL(pointers));
}

static void initialise(int kind)
{
    for (int i = 0; i < 64; i++)
        STATUS_OF(i) = 0xFF;
    WORD(BLOCKED) = 0xFFFFFFFF;
#if DIALECT == 5
    WORD(NOIRQ_IRET) = (u32)noirq_iret;
#else
    WORD(NOIRQ_START) = (u32)noirq_start;
    WORD(NOIRQ_END) = (u32)noirq_end;
#endif
#if DIALECT != 0
    WORD(KERNEL_ADDRESS) = 0xC0000000;
    WORD(SYSCALL_VEC) = SYSCALL;
#endif
    call1(LGUEST_INIT, PHYSICAL(lguest_data));
    if (kind == PAE) {
        identity_pae();
    } else {
        identity();
        call1(NEW_PGTABLE, PHYSICAL(directory));
    }
    gdt[12] = descriptor(0, 0xFFFFF, 0xBB, 0xC);
    gdt[13] = descriptor(0, 0xFFFFF, 0xB3, 0xC);
    load_descriptor(14, descriptor(0, 0xFFFFF, 0xFA, 0xC));
    load_descriptor(15, descriptor(0, 0xFFFFF, 0xF2, 0xC));
    for (u32 vector = 0; vector < 256; vector++)
        if (vector != HYPERCALL)
            set_gate(vector, 14, vector == BP || vector == OF || vector == SYSCALL ? 3 : 0, stub_of(vector));
    call3(SET_STACK, KDATA, (u32)kernel_stack + sizeof(kernel_stack), 1);
}

/* From trap_entry. */
void trap(struct frame *frame)
{
    if (hook && hook(frame))
        return;
    if (!catching) {
        verdict_length = 0;
        say("FAIL unexpected vector ");
        say_hex(frame->vector);
        say(" error ");
        say_hex(frame->error);
        say(" eip ");
        say_hex(frame->eip);
        say(" cr2 ");
        say_hex(WORD(CR2));
        end(verdict);
    }
    fault = *frame;
    if ((frame->cs & 3) == 1) {
        fault.esp = (u32)&frame->esp;
        fault.ss = KDATA;
    }
    catching = 0;
    restore_context(&catcher);
}

/* A hook that counts the clock's interrupts and keeps the frame of the last. */
int on_timer(struct frame *frame)
{
    if (frame->vector != TIMER)
        return 0;
    interrupts++;
    interrupted = *frame;
    return 1;
}

static int is_named(const char *name, const char *line)
{
    const char *key = "test=";
    for (; *line; line++) {
        const char *at = line, *word = key;
        while (*word && *at == *word)
            at++, word++;
        if (*word)
            continue;
        while (*name && *at == *name)
            at++, name++;
        return !*name && (*at == 0 || *at == ' ');
    }
    return 0;
}

void main(void)
{
    const struct test *test;
    for (test = tests_start; test < tests_end; test++)
        if (is_named(test->name, (const char *)(OFFSET + 4096)))
            break;
    if (test == tests_end) {
        initialise(NORMAL);
        end("FAIL the command line names no test");
    }
    if (test->kind == EARLY) {
        test->run();
        initialise(NORMAL);
    } else {
        initialise(test->kind);
        test->run();
    }
    end(verdict_length ? verdict : "Power down");
}
