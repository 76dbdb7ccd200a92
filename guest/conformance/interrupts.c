/* Interrupts from outside: 8259A pair, 8254, IO-APIC, local APIC and its timer, and the instructions that let them in
   or keep them out (SDM vol. 3, 6.8 and 11; 8259A, 8254 and 82093AA data sheets). */

#include "conformance.h"

#define AT(label) ({ extern u8 label[]; (u32)label; })
#define LAPIC(offset) (*(volatile u32 *)(0xFEE00000 + (offset)))
#define PATIENCE 8000000000ull /* TSC ticks: a few seconds */

enum { LAPIC_TPR = 0x80, LAPIC_PPR = 0xA0, LAPIC_EOI = 0xB0, LAPIC_SVR = 0xF0, LAPIC_ISR = 0x100, LAPIC_IRR = 0x200,
    LAPIC_ICR = 0x300, LAPIC_TIMER = 0x320, LAPIC_LINT0 = 0x350, LAPIC_INITIAL = 0x380, LAPIC_CURRENT = 0x390,
    LAPIC_DIVIDE = 0x3E0 };

enum { MASKED = 0x10000, PERIODIC = 0x20000, DEADLINE = 0x40000 };

/* Vectors: the 8259s from 30 hex on, messages from 50 to 7F. */
enum { MASTER = 0x30, SLAVE = 0x38, LOW = 0x51, MESSAGE = 0x62, HIGH = 0x73 };

static volatile u32 taken, order, inner_flags, frame_end;
static struct frame last;
static void (*volatile during)(struct frame *frame);

static u32 flags(void)
{
    u32 value;
    asm volatile("pushf; pop %0" : "=r"(value));
    return value;
}

static int on_interrupt(struct frame *frame)
{
    u32 vector = frame->vector;
    if (vector < MASTER || vector >= SYSCALL)
        return 0;
    inner_flags = flags();
    last = *frame;
    frame_end = (u32)(&frame->ss + 1);
    taken++;
    order = order << 8 | vector;
    if (during)
        during(frame);
    if (vector >= 0x40) {
        LAPIC(LAPIC_EOI) = 0;
        return 1;
    }
    if (vector >= SLAVE)
        outb(0xA0, 0x20);
    outb(0x20, 0x20);
    return 1;
}

static void clear(void)
{
    taken = 0;
    order = 0;
    during = 0;
    last.eip = 0;
}

static u64 tsc(void)
{
    u64 value;
    asm volatile("rdtsc" : "=A"(value));
    return value;
}

/* Lets interrupts in until so many have been taken; gives up after a few seconds. */
static u32 wait_taken(u32 number)
{
    u64 start = tsc();
    asm volatile("sti" : : : "memory");
    while (taken < number && tsc() - start < PATIENCE)
        ;
    asm volatile("cli" : : : "memory");
    return taken;
}

static void let_in(void)
{
    asm volatile("sti; nop; nop; cli" : : : "memory");
}

static u32 requested(u32 vector)
{
    return LAPIC(LAPIC_IRR + (vector >> 5) * 16) >> (vector & 31) & 1;
}

static u32 in_service(u32 vector)
{
    return LAPIC(LAPIC_ISR + (vector >> 5) * 16) >> (vector & 31) & 1;
}

/* A self IPI, waiting because IF is clear. */
static void post(u32 vector)
{
    LAPIC(LAPIC_ICR) = 0x40000 | vector;
}

static u32 pic_irr(void)
{
    outb(0x20, 0x0A);
    return inb(0x20);
}

static u32 pic_isr(void)
{
    outb(0x20, 0x0B);
    return inb(0x20);
}

static void pic_setup(void)
{
    outb(0x20, 0x11);
    outb(0xA0, 0x11);
    outb(0x21, MASTER);
    outb(0xA1, SLAVE);
    outb(0x21, 4);
    outb(0xA1, 2);
    outb(0x21, 1);
    outb(0xA1, 1);
}

static void pic_mask(u32 mask)
{
    outb(0x21, mask);
    outb(0xA1, mask >> 8);
}

/* COM1 asks for a byte: IRQ 4, until the enable goes or IIR is read. */
static void uart_asks(int asks)
{
    if (asks)
        while ((inb(0x3FD) & 0x60) != 0x60)
            ;
    outb(0x3FC, 0x0B);
    outb(0x3F9, asks ? 2 : 0);
}

static void pit(u32 mode, u32 count)
{
    outb(0x43, 0x30 | mode << 1);
    outb(0x40, count);
    outb(0x40, count >> 8);
}

/* Counter 0 once, until its edge is latched in the master. */
static u32 pit_edge(void)
{
    u64 start = tsc();
    pit(0, 100);
    while (!(pic_irr() & 1) && tsc() - start < PATIENCE)
        ;
    return pic_irr() & 1;
}

static void uart_off(struct frame *frame)
{
    if (frame->vector == MASTER + 4)
        uart_asks(0);
}

static void timer_inside_uart(struct frame *frame)
{
    if (frame->vector != MASTER + 4)
        return;
    uart_asks(0);
    check("8259: request in service", pic_isr(), 0x10);
    pit_edge();
    let_in();
    check("8259: higher priority nests", order, (MASTER + 4) << 8 | MASTER);
}

static u32 before_eoi;

/* Nothing may be printed while the UART asks: a byte written to it takes the request back. */
static void uart_inside_timer(struct frame *frame)
{
    uart_off(frame);
    if (frame->vector != MASTER)
        return;
    uart_asks(1);
    let_in();
    before_eoi = order;
}

static void pic(void)
{
    pic_setup();
    check("8259: ICW1 clears the mask", inb(0x21), 0);
    pic_mask(0xFFFB);
    check("8259: mask reads back", inb(0x21) | inb(0xA1) << 8, 0xFFFB);
    clear();
    check("8259: masked input is latched", pit_edge(), 1);
    let_in();
    check("8259: masked input does not interrupt", taken, 0);
    pic_mask(0xFFFA);
    let_in();
    check("8259: unmasked, vector is base + 0", order, MASTER);
    check("8259: EOI ends service", pic_isr(), 0);
    clear();
    pic_mask(0xFFEA);
    during = uart_off;
    pit_edge();
    uart_asks(1);
    asm volatile("sti; nop; nop; nop; cli" : : : "memory");
    check("8259: fixed priority", order, MASTER << 8 | (MASTER + 4));
    clear();
    during = uart_off;
    outb(0x20, 0xC0); /* input 0 lowest */
    pit_edge();
    uart_asks(1);
    asm volatile("sti; nop; nop; nop; cli" : : : "memory");
    check("8259: set priority", order, (MASTER + 4) << 8 | MASTER);
    outb(0x20, 0xC7);
    clear();
    during = timer_inside_uart;
    uart_asks(1);
    let_in();
    clear();
    during = uart_inside_timer;
    pit_edge();
    let_in();
    check("8259: lower priority waits for EOI", before_eoi, MASTER);
    check("8259: lower priority after EOI", order, MASTER << 8 | (MASTER + 4));

    /* A level that goes away before the acknowledge: nothing, or input 7 without its in-service bit. */
    clear();
    outb(0x4D0, 0x10);
    uart_asks(1);
    check("8259: level is seen", pic_irr() & 0x10, 0x10);
    uart_asks(0);
    check("8259: level is gone", pic_irr() & 0x10, 0);
    outb(0x20, 0x0B);
    let_in();
    check("8259: withdrawn request is not delivered", taken == 0 || order == MASTER + 7, 1);
    check("8259: spurious leaves nothing in service", pic_isr(), 0);
    outb(0x4D0, 0);
    outb(0x20, 0x0C);
    check("8259: poll without a request", inb(0x20) & 0x80, 0);
    pit_edge();
    outb(0x20, 0x0C);
    check("8259: poll acknowledges", inb(0x20), 0x80);
    check("8259: polled request is in service", pic_isr(), 1);
    outb(0x20, 0x60);
    check("8259: specific EOI", pic_isr(), 0);
    LAPIC(LAPIC_LINT0) = MASKED | 0x700;
    pit_edge();
    let_in();
    check("LINT0 masked keeps the 8259 out", taken, 0);
    LAPIC(LAPIC_LINT0) = 0x700;
    let_in();
    check("LINT0 as ExtINT", order, MASTER);
}

static u8 cmos(u8 index)
{
    outb(0x70, index);
    return inb(0x71);
}

static void read_c(struct frame *frame)
{
    (void)frame;
    cmos(0x0C);
}

/* The clock's periodic interrupt, IRQ 8, comes through both chips. */
static void slave(void)
{
    clear();
    during = read_c;
    pic_mask(0xFEFB);
    u8 old = cmos(0x0B);
    cmos(0x0A);
    outb(0x71, 0x26);
    cmos(0x0B);
    outb(0x71, old | 0x40);
    cmos(0x0C);
    check("slave 8259: periodic interrupts", wait_taken(3) >= 3, 1);
    check("slave 8259: vector", order & 0xFF, SLAVE);
    cmos(0x0B);
    outb(0x71, old & ~0x40);
    cmos(0x0C);
    pic_mask(0xFFFF);
}

/* 8254 clocks since counter 2 was started; all ones once it has run out. */
static u32 passed(void)
{
    if (inb(0x61) & 0x20)
        return ~0u;
    outb(0x43, 0x80);
    u32 low = inb(0x42);
    return 0xFFFF - (low | inb(0x42) << 8);
}

static void start_passing(void)
{
    outb(0x61, 1);
    outb(0x43, 0xB0);
    outb(0x42, 0xFF);
    outb(0x42, 0xFF);
}

static void ticks(void)
{
    clear();
    pic_mask(0xFFFE);
    pit(2, 1193);
    start_passing();
    check("8254: ticks through the 8259", wait_taken(10) >= 10, 1);
    check("8254: ten ticks take their time", passed() >= 9 * 1193, 1);
    pic_mask(0xFFFF);

    volatile u32 *ioapic = (volatile u32 *)0xFEC00000;
    clear();
    ioapic[0] = 1;
    check("IO-APIC: inputs", ioapic[4] >> 16 & 0xFF, 23);
    ioapic[0] = 0x15; /* input 2, upper half: destination */
    ioapic[4] = LAPIC(0x20) & 0xFF000000;
    ioapic[0] = 0x14;
    ioapic[4] = LOW;
    check("IO-APIC: entry reads back", ioapic[4], LOW);
    check("8254: ticks through the IO-APIC", wait_taken(5) >= 5, 1);
    check("IO-APIC: vector", order & 0xFF, LOW);
    ioapic[4] = MASKED | LOW;
    pit(0, 100);
    let_in();
    clear();
    pit(2, 1193);
    start_passing();
    asm volatile("sti" : : : "memory");
    while (passed() < 5 * 1193)
        ;
    asm volatile("cli" : : : "memory");
    check("IO-APIC: masked input", taken, 0);
    pit(0, 100);
}

static void nest_low(struct frame *frame)
{
    if (frame->vector != MESSAGE)
        return;
    check("local APIC: in service", in_service(MESSAGE), 1);
    check("local APIC: PPR in service", LAPIC(LAPIC_PPR), MESSAGE & 0xF0);
    post(LOW);
    let_in();
    check("local APIC: lower class waits", order, MESSAGE);
    post(HIGH);
    let_in();
    check("local APIC: higher class nests", order, MESSAGE << 8 | HIGH);
}

static void local_apic(void)
{
    clear();
    post(MESSAGE);
    check("self IPI waits in IRR", requested(MESSAGE), 1);
    check("self IPI with IF clear", taken, 0);
    let_in();
    check("self IPI is taken", order, MESSAGE);
    check("self IPI leaves IRR", requested(MESSAGE), 0);
    check("EOI leaves ISR", in_service(MESSAGE), 0);
    clear();
    post(LOW);
    post(HIGH);
    post(MESSAGE);
    asm volatile("sti; nop; nop; nop; nop; cli" : : : "memory");
    check("local APIC: by priority", order, HIGH << 16 | MESSAGE << 8 | LOW);
    clear();
    during = nest_low;
    post(MESSAGE);
    asm volatile("sti; nop; nop; nop; nop; cli" : : : "memory");
    check("local APIC: lower class after EOI", order, MESSAGE << 16 | HIGH << 8 | LOW);
    clear();
    LAPIC(LAPIC_TPR) = MESSAGE & 0xF0;
    check("local APIC: PPR is TPR", LAPIC(LAPIC_PPR), MESSAGE & 0xF0);
    post(MESSAGE);
    let_in();
    check("TPR keeps its class out", taken, 0);
    LAPIC(LAPIC_TPR) = (MESSAGE & 0xF0) - 1;
    let_in();
    check("TPR lowered", order, MESSAGE);
    LAPIC(LAPIC_TPR) = 0;
}

static void set_timer(u32 lvt, u32 count)
{
    LAPIC(LAPIC_DIVIDE) = 0xB;
    LAPIC(LAPIC_TIMER) = lvt;
    LAPIC(LAPIC_INITIAL) = count;
}

static void pass_time(void)
{
    start_passing();
    asm volatile("sti" : : : "memory");
    while (passed() < 6000)
        ;
    asm volatile("cli" : : : "memory");
}

static void timer(void)
{
    u32 ecx, a, b, d;
    clear();
    set_timer(HIGH, 10000);
    check("timer, one-shot", wait_taken(1), 1);
    check("timer, one-shot: count is used up", LAPIC(LAPIC_CURRENT), 0);
    pass_time();
    check("timer, one-shot: only once", taken, 1);
    clear();
    set_timer(HIGH | PERIODIC, 10000);
    check("timer, periodic", wait_taken(5) >= 5, 1);
    check("timer, periodic: count within the period", LAPIC(LAPIC_CURRENT) <= 10000, 1);
    set_timer(HIGH | PERIODIC, 0);
    let_in();
    clear();
    pass_time();
    check("timer, count of zero stops it", taken, 0);
    set_timer(HIGH | MASKED, 10000);
    pass_time();
    check("timer, masked", taken, 0);
    LAPIC(LAPIC_TIMER) = HIGH;
    pass_time();
    check("timer, unmasked after its end", taken, 0);
    asm volatile("cpuid" : "=a"(a), "=b"(b), "=c"(ecx), "=d"(d) : "a"(1), "c"(0));
    if (!(ecx >> 24 & 1))
        return;
    LAPIC(LAPIC_TIMER) = HIGH | DEADLINE;
    u64 deadline = tsc() + 2000000;
    wrmsr(0x6E0, deadline);
    check("TSC deadline reads back", rdmsr(0x6E0) == deadline, 1);
    check("TSC deadline", wait_taken(1), 1);
    check("TSC deadline: not early", tsc() >= deadline, 1);
    check("TSC deadline: disarmed", rdmsr(0x6E0) == 0, 1);
    clear();
    wrmsr(0x6E0, 1);
    check("TSC deadline in the past", wait_taken(1), 1);
    clear();
    wrmsr(0x6E0, tsc() + 2000000);
    wrmsr(0x6E0, 0);
    pass_time();
    check("TSC deadline of zero", taken, 0);
    LAPIC(LAPIC_TIMER) = HIGH | MASKED;
}

/* Runs code with an interrupt waiting and IF clear; the label is where it must come in. */
#define WAITING(name, label, code) \
    do { \
        clear(); \
        post(MESSAGE); \
        asm volatile(code "\n cli" : : : "eax", "ecx", "memory", "cc"); \
        check(name, taken, 1); \
        check(name ": eip", last.eip, AT(label)); \
    } while (0)

static void shadows(void)
{
    WAITING("STI holds for one instruction", sti_in, "sti; nop; sti_in: nop; nop");
    WAITING("STI before a jump", jump_in, "sti; jmp jump_in; nop; jump_in: nop; nop");
    WAITING("STI before a call", call_in, "jmp 1f; call_in: nop; ret; 1: sti; call call_in; nop");
    WAITING("STI before MOV CR", cr_in, "mov %%cr0, %%eax; sti; mov %%eax, %%cr0; cr_in: nop; nop");
    WAITING("STI before an OUT", out_in, "mov $0x80, %%al; sti; out %%al, $0x80; out_in: nop; nop");
    WAITING("STI after STI does not hold", sti2_in, "sti; sti; sti2_in: nop; nop");
    WAITING("POPF does not hold", popf_in, "pushf; orl $0x200, (%%esp); popf; popf_in: nop; nop");
    WAITING("IRET does not hold", iret_in, "pushf; orl $0x200, (%%esp); push %%cs; push $iret_in; iret\n"
        "nop; iret_in: nop; nop");
    WAITING("STI before HLT", hlt_in, "sti; hlt; hlt_in: nop; nop");
    clear();
    post(MESSAGE);
    asm volatile("sti; cli; nop; nop" : : : "memory");
    check("CLI right after STI", taken, 0);
    asm volatile("sti; pushf; cli; nop; andl $~0x200, (%%esp); popf" : : : "memory", "cc");
    check("STI, PUSHF, CLI", taken, 1);
    clear();
    post(MESSAGE);
    check("STI before a fault: fault first", TRY(asm volatile("sti; sti_ud: ud2")), UD);
    check("STI before a fault: eip", fault.eip, AT(sti_ud));
    check("STI before a fault: IF is saved", fault.eflags & IF, IF);
    check("STI before a fault: interrupt still waits", taken, 0);
    let_in();
    check("after the fault", order, MESSAGE);
    asm volatile("sti; nop" : : : "memory");
    check("STI, CLI and PUSHF", flags() & IF, IF);
    asm volatile("cli" : : : "memory");
}

static volatile u32 in_shadow;

static void watch_shadow(struct frame *frame)
{
    if (frame->eip == AT(after_mov_ss) || frame->eip == AT(after_pop_ss))
        in_shadow++;
}

/* A fast timer against a loop of MOV SS and POP SS: never between one of them and the next instruction. */
static void stack_shadow(void)
{
    u64 start = tsc();
    clear();
    in_shadow = 0;
    during = watch_shadow;
    set_timer(HIGH | PERIODIC, 3000);
    asm volatile("sti" : : : "memory");
    while (taken < 200 && tsc() - start < PATIENCE)
        asm volatile("mov $500, %%ecx; 1: mov %%ss, %%eax; mov %%eax, %%ss; after_mov_ss: nop\n"
            "push %%ss; pop %%ss; after_pop_ss: nop; loop 1b" : : : "eax", "ecx", "memory");
    asm volatile("cli" : : : "memory");
    set_timer(HIGH | PERIODIC, 0);
    let_in();
    check("MOV SS and POP SS: interrupts come", taken >= 200, 1);
    check("MOV SS and POP SS: none in the shadow", in_shadow, 0);
}

static void halt(void)
{
    clear();
    set_timer(HIGH, 50000);
    asm volatile("sti; hlt; halt_in: cli" : : : "memory");
    check("HLT is woken", order, HIGH);
    check("HLT: eip is after", last.eip, AT(halt_in));
    clear();
    set_timer(HIGH | PERIODIC, 50000);
    while (taken < 5)
        asm volatile("sti; hlt; cli" : : : "memory");
    set_timer(HIGH | PERIODIC, 0);
    let_in();
    check("HLT in a loop", taken >= 5, 1);
}

#define AREA ((u32 *)0x1000000)
#define AREA_WORDS (8u << 18) /* 8 MiB */

static volatile u32 middles, wrong;
static u32 value, backwards;

static void look_at_string(struct frame *frame)
{
    if (frame->eip != AT(rep_at))
        return;
    u32 left = frame->ecx;
    if (left == 0 || left >= AREA_WORDS)
        return;
    middles++;
    u32 *next = backwards ? AREA + left - 1 : AREA + (AREA_WORDS - left);
    u32 *done = backwards ? next + 1 : next - 1;
    if (frame->edi != (u32)next || frame->eax != value || *done != value || *next == value)
        wrong++;
    if (!(frame->eflags & DF_FLAG) != !backwards)
        wrong++;
}

static void fill(u32 down)
{
    backwards = down;
    clear();
    middles = wrong = 0;
    during = look_at_string;
    set_timer(HIGH | PERIODIC, 20000);
    u32 bad = 0;
    for (u32 round = 0; round < 40 && middles < 3; round++) {
        value++;
        u32 *at = down ? AREA + AREA_WORDS - 1 : AREA;
        u32 count = AREA_WORDS, direction = down ? DF_FLAG | IF : IF;
        asm volatile("pushf; orl %2, (%%esp); popf; rep_at: rep stosl; cld; cli"
            : "+D"(at), "+c"(count) : "r"(direction), "a"(value) : "memory", "cc");
        if (count != 0 || at != (down ? AREA - 1 : AREA + AREA_WORDS))
            bad++;
        for (u32 i = 0; i < AREA_WORDS; i += 61)
            bad += AREA[i] != value;
    }
    set_timer(HIGH | PERIODIC, 0);
    let_in();
    check(down ? "REP STOS down is interrupted" : "REP STOS is interrupted", middles != 0, 1);
    check(down ? "REP STOS down: registers and memory agree" : "REP STOS: registers and memory agree", wrong, 0);
    check(down ? "REP STOS down is completed" : "REP STOS is completed", bad, 0);
}

static void gates(void)
{
    clear();
    post(MESSAGE);
    let_in();
    check("interrupt gate clears IF", inner_flags & IF, 0);
    check("interrupt gate saves IF", last.eflags & IF, IF);
    set_gate(MESSAGE, 15, 0, stub_of(MESSAGE));
    clear();
    post(MESSAGE);
    let_in();
    check("trap gate keeps IF", inner_flags & IF, IF);
    check("trap gate: taken", taken, 1);
    set_gate(MESSAGE, 14, 0, stub_of(MESSAGE));
    clear();
    post(MESSAGE);
    asm volatile("pushf; orl $0x200, (%%esp); orl $0x4000, (%%esp); popf; nop; cli\n"
        "pushf; andl $~0x4000, (%%esp); popf" : : : "memory", "cc");
    check("gate clears NT", inner_flags & NT, 0);
    check("gate saves NT", last.eflags & NT, NT);
}

asm(".text\nuser_spin: incl %eax\n jmp user_spin\nuser_leave: int $0x80\n");

static void leave_user(struct frame *frame)
{
    if (taken == 5)
        frame->eip = AT(user_leave);
}

static void from_user(void)
{
    clear();
    post(MESSAGE);
    set_timer(HIGH | PERIODIC, 20000);
    u32 top = (u32)(user_stack + sizeof(user_stack));
    during = leave_user;
    u32 vector = USER((void *)AT(user_spin));
    set_timer(HIGH | PERIODIC, 0);
    check("CPL 3 is left by INT 0x80", vector, SYSCALL);
    check("CPL 3: interrupts", taken, 5);
    check("CPL 3: cs", last.cs, UCODE);
    check("CPL 3: ss", last.ss, UDATA);
    check("CPL 3: esp", last.esp, top);
    check("CPL 3: IF", last.eflags & IF, IF);
    check("CPL 3: data segments", (last.ds & 0xFFFF) == UDATA && (last.gs & 0xFFFF) == UDATA, 1);
    check("CPL 3: frame on the stack of the TSS", frame_end, tss.esp0);
    let_in();
    clear();
    post(MESSAGE);
    check("IRET to CPL 3 lets in", USER((void *)AT(user_leave)), SYSCALL);
    check("IRET to CPL 3: before the first instruction", last.eip, AT(user_leave));
    check("IRET to CPL 3: once", taken, 1);
}

void main(void)
{
    hook = on_interrupt;
    LAPIC(LAPIC_SVR) = 0x1FF;
    LAPIC(LAPIC_LINT0) = 0x700;
    LAPIC(LAPIC_TPR) = 0;
    pic();
    slave();
    ticks();
    local_apic();
    timer();
    gates();
    shadows();
    stack_shadow();
    halt();
    fill(0);
    fill(1);
    from_user();
}
