/* What a guest finds: registers, memory and boot_params at its first instruction, lguest_data after LGUEST_INIT. */

#include "lguest.h"

#define BYTE_AT(address) (*(volatile u8 *)(OFFSET + (address)))
#define WORD_AT(address) (*(volatile u32 *)(OFFSET + (address)))

EARLY_TEST(entry_registers, "ABCDEF")
{
    static const char *const names[] = {
        "eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "cs", "ss", "ds", "es", "fs", "gs", "eflags",
    };
    static const u32 wanted[] = { 0, 0, 0, 0, 0, 0, 0, 0, KCODE, KDATA, KDATA, KDATA, 0, 0, 0x202 };
    for (int i = 0; i < 15; i++)
        check(names[i], i >= 8 && i < 14 ? entry_state[i] & 0xFFFF : entry_state[i], wanted[i]);
}

EARLY_TEST(entry_gdt, "ABCDEF")
{
    check("code", rights_of(KCODE), 0x00CFBB00);
    check("data", rights_of(KDATA), 0x00CFB300);
    for (u32 index = 0; index < 32; index++)
        if (index != 12 && index != 13)
            check("no other", rights_of(index << 3 | 1), 0);
}

EARLY_TEST(boot_params, "ABCDEF")
{
    check("e820 entries", BYTE_AT(0x1E8), 1);
    check("start", WORD_AT(0x2D0), 0);
    check("start high", WORD_AT(0x2D4), 0);
    check("length", WORD_AT(0x2D8), MEMORY);
    check("length high", WORD_AT(0x2DC), 0);
    check("type", WORD_AT(0x2E0), 1);
    check("command line", WORD_AT(0x228), 4096);
    check("version", WORD_AT(0x206) & 0xFFFF, 0x207);
    check("subarch", WORD_AT(0x23C), 1);
    check("keep segments", BYTE_AT(0x211) & 0x40, 0x40);
    check("loader", BYTE_AT(0x210), 0);
    check("ramdisk", WORD_AT(0x218) | WORD_AT(0x21C), 0);
    if (DIALECT >= E)
        check("alignment", WORD_AT(0x230), 16 << 20);
}

/* RAM is one piece from 0 up, without a PC's holes. */
EARLY_TEST(all_is_ram, "ABCDEF")
{
    for (u32 at = 0x9F000; at < 0x100000; at += 4096) {
        WORD_AT(at) = at;
        check("low", WORD_AT(at), at);
    }
    WORD_AT(MEMORY - 4) = 0x12345678;
    check("top", WORD_AT(MEMORY - 4), 0x12345678);
}

/* D starts with RAM at PAGE_OFFSET too. */
EARLY_TEST(entry_both_maps, "D")
{
    volatile u32 word = 0xCAFE;
    check("alias", *(volatile u32 *)(0xC0000000 + (u32)&word), 0xCAFE);
}

EARLY_MISUSE(entry_no_identity, "A", "unhandled trap 14")
{
    (void)*(volatile u32 *)0x100000;
}

EARLY_MISUSE(entry_no_alias, "BC", "unhandled trap 14")
{
    (void)*(volatile u32 *)0xC0100000;
}

/* Linear mode: every address is physical, so beyond RAM there is nothing. */
EARLY_MISUSE(linear_beyond_ram, "E", "is not memory of the guest")
{
    (void)*(volatile u32 *)0xC0100000;
}

TEST(init_fields, "ABCDEF")
{
    check("reserve_mem", WORD(RESERVE_MEM), 4 << 20);
    check("tsc_khz", WORD(TSC_KHZ) > 100000, 1);
    check("time", WORD(SECONDS) > 1700000000, 1);
    check("nanoseconds", WORD(NANOSECONDS) < 1000000000, 1);
    check("irq_enabled", WORD(IRQ_ENABLED), 0);
    for (int i = 0; i < 64; i++)
        check("ring", STATUS_OF(i), 0xFF);
}

#if DIALECT >= 1 && DIALECT <= 3
/* The table the guest started with, in its own RAM: entries of flags 7, one to one. */
TEST(init_pgdir, "BCD")
{
    u32 top = WORD(PGDIR);
    check("in RAM", top != 0 && top < MEMORY && (top & 4095) == 0, 1);
    for (u32 i = 0; i < MEMORY >> 22; i++) {
        u32 entry = WORD_AT(top + i * 4);
        check("entry", entry & 0xF9F, 7);
        check("page", WORD_AT((entry & ~4095u) + 20) & ~0x60u, (i << 22) + 0x5000 + 7);
        check("at PAGE_OFFSET", WORD_AT(top + (i + 768) * 4) & ~0x60u, DIALECT == D ? entry & ~0x60u : 0);
    }
}
#endif

EARLY_MISUSE(call_before_init, "ABCDEF", "before LGUEST_INIT")
{
    call0(FLUSH_ASYNC);
}

EARLY_MISUSE(init_bad_address, "ABCDEF", "bad guest page")
{
    call1(LGUEST_INIT, MEMORY + DEVICE_PAGES * 4096 - 1000);
}

MISUSE(init_twice, "ABCDEF", "already have lguest_data")
{
    call1(LGUEST_INIT, PHYSICAL(lguest_data));
}
