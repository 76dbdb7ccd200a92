/* The calling convention, numbers no dialect or another dialect has, the calls that end a guest, and the ring. */

#include "lguest.h"

TEST(call_keeps_registers, "ABCDEF")
{
    u32 kept[7] = { 0 };
    asm volatile(
        "push %%ebp; mov %0, %%edi; mov $0x22222222, %%ecx; mov $0x33333333, %%edx; mov $0x44444444, %%ebx;"
        "mov $0x55555555, %%ebp; mov $0x66666666, %%esi; xor %%eax, %%eax; stc;"
#if DIALECT == 3
        "vmcall;"
#else
        "int $0x1f;"
#endif
        "mov %%ebp, 16(%%edi); pop %%ebp; mov %%eax, (%%edi); mov %%ecx, 4(%%edi); mov %%edx, 8(%%edi);"
        "mov %%ebx, 12(%%edi); mov %%esi, 20(%%edi); sbb %%eax, %%eax; mov %%eax, 24(%%edi)"
        : : "r"(kept) : "eax", "ebx", "ecx", "edx", "esi", "edi", "memory", "cc");
    check("eax", kept[0], 0);
    check("ecx", kept[1], 0x22222222);
    check("edx", kept[2], 0x33333333);
    check("ebx", kept[3], 0x44444444);
    check("ebp", kept[4], 0x55555555);
    check("esi", kept[5], 0x66666666);
    check("carry", kept[6], 0xFFFFFFFF);
}

/* The first VMCALL kernels were patched to the interrupt: both serve. */
TEST(interrupt_serves_too, "D")
{
    u32 result;
    asm volatile("int $0x1f" : "=a"(result) : "a"(LOAD_GDT_ENTRY), "b"(20), "c"(0x1234), "d"(0xB300) : "memory");
    check("limit", limit_of(20 << 3 | 1), 0x1234);
}

TEST(vmcall_undefined, "ABCEF")
{
    check("vector", TRY(asm volatile("vmcall")), UD);
}

static void user_hypercall(void)
{
    asm volatile("xor %eax, %eax; int $0x1f");
}

TEST(not_from_user_mode, "ABCDEF")
{
    check("vector", USER(user_hypercall), GP);
    check("error", fault.error, HYPERCALL * 8 + 2);
    check("at the call", *(u16 *)fault.eip, 0x1FCD);
    check("from user mode", fault.cs, UCODE);
}

MISUSE(unknown_call_11, "ABCDEF", "bad hypercall 11")
{
    call0(11);
}

MISUSE(unknown_call_20, "ABCDEF", "bad hypercall 20")
{
    call0(20);
}

MISUSE(no_load_gdt, "DEF", "bad hypercall 3")
{
    call2(LOAD_GDT, PHYSICAL(directory), 1);
}

MISUSE(no_bind_dma, "BCDEF", "bad hypercall 12")
{
    call0(BIND_DMA);
}

MISUSE(no_call_13, "BCDEF", "bad hypercall 13")
{
    call0(SEND_DMA);
}

MISUSE(no_notify, "AF", "bad hypercall 17")
{
    call0(NOTIFY);
}

MISUSE(no_load_gdt_entry, "ABC", "bad hypercall 18")
{
    call3(LOAD_GDT_ENTRY, 20, 0, 0);
}

MISUSE(no_send_interrupts, "ABC", "bad hypercall 19")
{
    call0(SEND_INTERRUPTS);
}

MISUSE(crash_message, "ABCDEF", "it all went wrong")
{
    end("it all went wrong");
}

MISUSE(message_beyond_ram, "ABCDEF", "bad address")
{
    call2(SHUTDOWN, MEMORY + DEVICE_PAGES * 4096 - 64, 1);
}

#if DIALECT >= 1 && DIALECT <= 4
MISUSE(notify_beyond_ram, "BCDE", "NOTIFY of")
{
    call1(NOTIFY, MEMORY + DEVICE_PAGES * 4096);
}

/* Not a failure: the host's test looks for the text on the console. */
TEST(early_console, "BCDE")
{
    call1(NOTIFY, PHYSICAL("first words, "));
    call1(NOTIFY, PHYSICAL("before any driver\n"));
}
#endif

/* Not a failure either: ends with a reset. */
TEST(restart, "CDEF")
{
    call2(SHUTDOWN, PHYSICAL("again"), 2);
}

/* Each call loads the entry at its own limit, which LSL shows. */
static u64 *tls_of_limit(u32 slot, u32 limit)
{
    static u64 entries[96][3] __attribute__((aligned(8)));
    entries[slot][0] = descriptor(0, limit, 0xF2, 4);
    return entries[slot];
}

#define TLS_LIMIT() limit_of(6 << 3 | 3)

TEST(ring_in_order, "ABCDEF")
{
    queue_call(0, LOAD_TLS, PHYSICAL(tls_of_limit(0, 111)), 0, 0);
    queue_call(1, LOAD_TLS, PHYSICAL(tls_of_limit(1, 222)), 0, 0);
    queue_call(2, LOAD_TLS, PHYSICAL(tls_of_limit(2, 333)), 0, 0);
    call0(FLUSH_ASYNC);
    check("last one stands", TLS_LIMIT(), 333);
    for (int i = 0; i < 3; i++)
        check("done", STATUS_OF(i), 0xFF);
}

TEST(ring_waits, "BCDEF")
{
    queue_call(0, LOAD_TLS, PHYSICAL(tls_of_limit(0, 111)), 0, 0);
    delay(2000);
    check("not made yet", STATUS_OF(0), 0);
    check("no effect yet", TLS_LIMIT(), 0xFFFFFFFF);
}

/* The oldest hosts made delayed calls whenever they had left the guest. */
TEST(ring_without_call, "A")
{
    queue_call(0, LOAD_TLS, PHYSICAL(tls_of_limit(0, 111)), 0, 0);
    delay(20000);
    check("made", STATUS_OF(0), 0xFF);
    check("effect", TLS_LIMIT(), 111);
}

TEST(ring_before_direct_call, "ABCDEF")
{
    queue_call(0, LOAD_TLS, PHYSICAL(tls_of_limit(0, 111)), 0, 0);
    call1(LOAD_TLS, PHYSICAL(tls_of_limit(1, 222)));
    check("direct one stands", TLS_LIMIT(), 222);
}

TEST(ring_stops_at_gap, "ABCDEF")
{
    queue_call(1, LOAD_TLS, PHYSICAL(tls_of_limit(1, 222)), 0, 0);
    call0(FLUSH_ASYNC);
    check("behind the gap", STATUS_OF(1), 0);
    check("no effect", TLS_LIMIT(), 0xFFFFFFFF);
    queue_call(0, LOAD_TLS, PHYSICAL(tls_of_limit(0, 111)), 0, 0);
    call0(FLUSH_ASYNC);
    check("gap filled", TLS_LIMIT(), 222);
}

TEST(ring_wraps, "ABCDEF")
{
    for (u32 i = 0; i < 60; i++)
        queue_call(i, FLUSH_ASYNC, 0, 0, 0);
    call0(FLUSH_ASYNC);
    for (u32 i = 0; i < 8; i++)
        queue_call((60 + i) & 63, LOAD_TLS, PHYSICAL(tls_of_limit(i, 500 + i)), 0, 0);
    call0(FLUSH_ASYNC);
    check("last one stands", TLS_LIMIT(), 507);
    check("before the end", STATUS_OF(63), 0xFF);
    check("after the start", STATUS_OF(3), 0xFF);
}

TEST(ring_full, "ABCDEF")
{
    for (u32 i = 0; i < 64; i++)
        queue_call(i, LOAD_TLS, PHYSICAL(tls_of_limit(i, 100 + i)), 0, 0);
    call0(FLUSH_ASYNC);
    check("all made", TLS_LIMIT(), 163);
    for (u32 i = 0; i < 64; i++)
        check("done", STATUS_OF(i), 0xFF);
}

/* All argument registers have their word: SET_STACK has three arguments. */
TEST(ring_arguments, "ABCDEF")
{
    static u8 stack[4096] __attribute__((aligned(4096)));
    queue_call(0, SET_STACK, KDATA, (u32)stack + sizeof(stack), 1);
    call0(FLUSH_ASYNC);
    check("vector", USER((void *)0x40000000), PF);
    u32 used = 0;
    for (int i = 1; i <= 64; i++)
        used |= stack[sizeof(stack) - i];
    check("on the new stack", used != 0, 1);
}

MISUSE(ring_unknown_call, "ABCDEF", "bad hypercall 99")
{
    queue_call(0, 99, 0, 0, 0);
    call0(FLUSH_ASYNC);
}
