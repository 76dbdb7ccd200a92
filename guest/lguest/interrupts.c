/* Interrupts: masks, gates, frames, the places without interrupts, HALT and the clock. */

#include "lguest.h"

static void start(u32 irq_enabled)
{
    hook = on_timer;
    interrupts = 0;
    WORD(BLOCKED) = 0xFFFFFFFE;
    WORD(IRQ_ENABLED) = irq_enabled;
}

/* Waits until the interrupt is in, at most 200 ms. */
static void await(u32 count)
{
    for (int i = 0; i < 2000 && interrupts < count; i++)
        delay(100);
}

TEST(clock, "ABCDEF")
{
    start(IF);
    call1(SET_CLOCKEVENT, 100000);
    await(1);
    check("once", interrupts, 1);
    delay(3000);
    check("one shot", interrupts, 1);
    check("vector", interrupted.vector, TIMER);
}

TEST(clock_not_early, "ABCDEF")
{
    u64 before, after;
    start(IF);
    asm volatile("rdtsc" : "=A"(before));
    call1(SET_CLOCKEVENT, 20000000);
    await(1);
    asm volatile("rdtsc" : "=A"(after));
    check("fired", interrupts, 1);
    check("20 ms", after - before >= (u64)WORD(TSC_KHZ) * 20, 1);
}

TEST(clock_cancelled, "ABCDEF")
{
    start(IF);
    call1(SET_CLOCKEVENT, 2000000);
    call1(SET_CLOCKEVENT, 0);
    delay(8000);
    check("none", interrupts, 0);
}

TEST(clock_rearmed, "ABCDEF")
{
    start(IF);
    call1(SET_CLOCKEVENT, 4000000000u);
    call1(SET_CLOCKEVENT, 100000);
    await(1);
    check("the later call counts", interrupts, 1);
}

TEST(blocked, "ABCDEF")
{
    start(IF);
    WORD(BLOCKED) = 0xFFFFFFFF;
    call1(SET_CLOCKEVENT, 100000);
    delay(5000);
    check("blocked", interrupts, 0);
    WORD(BLOCKED) = 0xFFFFFFFE;
    await(1);
    check("kept until unblocked", interrupts, 1);
}

/* Nothing but the word in memory says that interrupts are on again. */
TEST(disabled, "ABCDEF")
{
    start(0);
    call1(SET_CLOCKEVENT, 100000);
    delay(5000);
    check("off", interrupts, 0);
    WORD(IRQ_ENABLED) = IF;
    await(1);
    check("on without a call", interrupts, 1);
}

/* A guest copies all of EFLAGS into the word when it returns from a trap: only the interrupt flag counts. */
TEST(other_flags_do_not_count, "ABCDEF")
{
    start(0x46);
    call1(SET_CLOCKEVENT, 100000);
    delay(5000);
    check("off", interrupts, 0);
    WORD(IRQ_ENABLED) = 0x246;
    await(1);
    check("on", interrupts, 1);
}

#if DIALECT >= 3
TEST(pending_is_told, "DEF")
{
    start(0);
    check("nothing yet", WORD(IRQ_PENDING), 0);
    call1(SET_CLOCKEVENT, 100000);
    delay(5000);
    check("pending", WORD(IRQ_PENDING), IF);
    WORD(IRQ_ENABLED) = IF;
    await(1);
    check("delivered", interrupts, 1);
    check("not pending", WORD(IRQ_PENDING), 0);
}

TEST(send_interrupts, "DEF")
{
    start(0);
    call1(SET_CLOCKEVENT, 100000);
    delay(5000);
    WORD(IRQ_ENABLED) = IF;
    call0(SEND_INTERRUPTS);
    check("delivered at once", interrupts, 1);
}

TEST(blocked_is_not_pending, "DEF")
{
    start(0);
    WORD(BLOCKED) = 0xFFFFFFFF;
    call1(SET_CLOCKEVENT, 100000);
    delay(5000);
    check("not told", WORD(IRQ_PENDING), 0);
}
#endif

static u32 enabled_in_handler;

static int note_enabled(struct frame *frame)
{
    enabled_in_handler = WORD(IRQ_ENABLED);
    return on_timer(frame);
}

TEST(interrupt_gate, "ABCDEF")
{
    start(IF);
    hook = note_enabled;
    call1(SET_CLOCKEVENT, 100000);
    await(1);
    check("off in the handler", enabled_in_handler, 0);
    check("on in the frame", interrupted.eflags & IF, IF);
    check("on again", WORD(IRQ_ENABLED) & IF, IF);
}

TEST(trap_gate, "ABCDEF")
{
    start(IF);
    hook = note_enabled;
    set_gate(TIMER, 15, 0, stub_of(TIMER));
    call1(SET_CLOCKEVENT, 100000);
    await(1);
    check("on in the handler", enabled_in_handler, IF);
}

TEST(frame_in_kernel, "ABCDEF")
{
    start(IF);
    call1(SET_CLOCKEVENT, 100000);
    u32 stack;
    asm volatile("mov %%esp, %0" : "=r"(stack));
    while (!interrupts)
        ;
    check("cs", interrupted.cs, KCODE);
    check("no error code", interrupted.error, 0);
}

static void user_loop(void)
{
    asm volatile("mov $0x12345678, %esi; stc; 1: jmp 1b");
}

static int leave_user(struct frame *frame)
{
    if (frame->vector == TIMER)
        interrupted = *frame, interrupts++;
    return 0;
}

TEST(frame_from_user_mode, "ABCDEF")
{
    start(0);
    hook = leave_user;
    call1(SET_CLOCKEVENT, 1000000);
    WORD(IRQ_ENABLED) = IF;
    check("vector", USER(user_loop), TIMER);
    check("cs", fault.cs, UCODE);
    check("ss", fault.ss & 0xFFFF, UDATA);
    check("esp", fault.esp, (u32)(user_stack + sizeof(user_stack)));
    check("esi", fault.esi, 0x12345678);
    check("flags", fault.eflags & (IF | CF), IF | CF);
    check("at the loop", *(u16 *)fault.eip, 0xFEEB);
}

TEST(absent_gate, "ABCDEF")
{
    start(IF);
    load_gate(TIMER, 0);
    call1(SET_CLOCKEVENT, 100000);
    delay(5000);
    check("not delivered", interrupts, 0);
    set_gate(TIMER, 14, 0, stub_of(TIMER));
    await(1);
    check("kept until there is a gate", interrupts, 1);
}

static u32 in_range;

static int note_range(struct frame *frame)
{
    if (frame->vector == TIMER)
        in_range |= frame->eip >= (u32)noirq_start && frame->eip < (u32)noirq_end;
    return on_timer(frame);
}

/* Loops of some 5 ms with the clock at 1 ms. */
TEST(range_without_interrupts, "ABCDEF")
{
    in_range = 0;
    for (int i = 0; i < 5; i++) {
        start(IF);
        hook = note_range;
        call1(SET_CLOCKEVENT, 1000000);
        noirq_spin(10000000);
        await(1);
        check("delivered", interrupts, 1);
    }
    check("inside the range", in_range, DIALECT == F);
}

/* An interrupt that is ready right at the IRET is taken with the frame of the IRET or after it, never with one that
   would return to the IRET. */
TEST(at_the_last_iret, "ABCDEF")
{
    u32 target;
    start(0);
    call1(SET_CLOCKEVENT, 100000);
    delay(5000);
    asm volatile(
        "pushl $0x803; pushl %%cs; pushl $1f; mov $1f, %0;"
        "movl $0x200, lguest_data; jmp noirq_iret;"
        "1: nop; nop"
        : "=&r"(target) : : "eax", "memory", "cc");
    await(1);
    check("delivered", interrupts, 1);
    check("returns behind the IRET", interrupted.eip, target);
    check("flags of its frame", interrupted.eflags & 0xFFF & ~IF, 0x803 & ~IF);
}

static u32 flags_in_handler;

/* First instructions of a handler of its own: reads the live flags. */
asm(".text; flag_handler: pushf; popl flags_in_handler; push $0; push $0x20; jmp trap_entry_of_timer;"
    "trap_entry_of_timer: add $8, %esp; incl interrupts; push %eax; mov 12(%esp), %eax; and $0x200, %eax;"
    "mov %eax, lguest_data; pop %eax; iret");
extern u8 flag_handler[];

TEST(live_flags_in_handler, "ABCDEF")
{
    start(IF);
    set_gate(TIMER, 14, 0, flag_handler);
    call1(SET_CLOCKEVENT, 100000);
    asm volatile("pushf; orl $0x4000, (%%esp); popf" : : : "cc");
    while (!interrupts)
        ;
    asm volatile("pushf; andl $~0x4000, (%%esp); popf" : : : "cc");
    check("nested task off", flags_in_handler & NT, 0);
    check("real interrupt flag on", flags_in_handler & IF, IF);
}

TEST(halt, "ABCDEF")
{
    start(0);
    call1(SET_CLOCKEVENT, 1000000);
    call0(HALT);
    check("woken by the interrupt", interrupts, 1);
    check("implies interrupts on", interrupted.eflags & IF, IF);
}

TEST(halt_until_unblocked, "ABCDEF")
{
    start(0);
    call1(SET_CLOCKEVENT, 100000);
    delay(2000);
    call0(HALT);
    check("the pending one wakes it", interrupts, 1);
}

TEST(halt_without_gate, "ABCDEF")
{
    start(0);
    load_gate(TIMER, 0);
    call1(SET_CLOCKEVENT, 100000);
    call0(HALT);
    check("not delivered", interrupts, 0);
    check("woken with interrupts on", WORD(IRQ_ENABLED), IF);
}

TEST(halt_in_ring, "ABCDEF")
{
    start(0);
    call1(SET_CLOCKEVENT, 1000000);
    queue_call(0, HALT, 0, 0, 0);
    call0(FLUSH_ASYNC);
    check("woken by the interrupt", interrupts, 1);
}

TEST(time_at_interrupts, "ABCDEF")
{
    start(IF);
    u32 seconds = WORD(SECONDS), nanoseconds = WORD(NANOSECONDS);
    delay(3000);
    check("not by itself", WORD(NANOSECONDS), nanoseconds);
    call1(SET_CLOCKEVENT, 100000);
    await(1);
    u64 moved = (u64)(WORD(SECONDS) - seconds) * 1000000000 + WORD(NANOSECONDS) - nanoseconds;
    check("moved 3 ms", moved >= 3000000, 1);
    check("less than 10 s", moved < 10000000000ull, 1);
}
