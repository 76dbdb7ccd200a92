/* A kernel's map of all memory at a fixed distance, warmed up until an engine treats it as one piece, and then every
 * way in which it stops being one: rights, invalidation, code in it, its ends. */

#include "conformance.h"

enum { P = 1, W = 2, ACCESSED = 0x20, DIRTY = 0x40, LARGE = 0x80, GLOBAL = 0x100, PSE = 0x10, PGE = 0x80 };
enum { READY = P | W | ACCESSED | DIRTY | GLOBAL };

#define BASE 0xC0000000u
#define MEGABYTES 64
#define SMALL 0x400000u /* guest-physical 4 to 8 MiB is mapped by 4 KiB pages */
#define WORD(linear) (*(volatile u32 *)(linear))
#define AREA (BASE + SMALL + 0x100000)
#define STORE(address, value) \
    ({ asm volatile("movl %1, (%0)" : : "r"(address), "r"((u32)(value)) : "memory"); })
#define LOAD(address) ({ u32 v_; asm volatile("movl (%1), %0" : "=r"(v_) : "r"(address)); v_; })
#define ADD(address, value) \
    ({ asm volatile("addl %1, (%0)" : : "r"(address), "r"((u32)(value)) : "memory", "cc"); })

static u32 small[1024] __attribute__((aligned(4096)));

static u32 *entry_of(u32 linear)
{
    return &small[(linear >> 12) & 1023];
}

static void build(void)
{
    for (u32 i = 0; i < 1024; i++)
        small[i] = (SMALL + i * 4096) | READY;
    for (u32 i = 0; i < MEGABYTES / 4; i++)
        page_directory[768 + i] = (i << 22) | LARGE | READY;
    page_directory[768 + SMALL / 0x400000] = (u32)small | P | W | ACCESSED;
    WRITE_CR(4, READ_CR(4) | PSE | PGE);
    WRITE_CR(3, page_directory);
}

/* Long enough for any engine to see what this kernel's memory looks like. */
static void warm_up(void)
{
    for (u32 round = 0; round < 300; round++)
        for (u32 page = 0; page < 512; page++) {
            STORE(BASE + 0x1000000 + page * 4096, round);
            if (LOAD(BASE + 0x1000000 + page * 4096) != round)
                check("warming up", page, 0);
        }
}

static void flush_page(u32 linear)
{
    invlpg((void *)linear);
}

static void access(void)
{
    STORE(AREA, 0x11223344);
    check("store and load", LOAD(AREA), 0x11223344);
    check("the same memory by its other address", WORD(AREA - BASE), 0x11223344);
    ADD(AREA, 1);
    check("read-modify-write", LOAD(AREA), 0x11223345);
    STORE(AREA + 4094, 0x55667788);
    check("across pages", LOAD(AREA + 4094), 0x55667788);
    check("across pages, first", *(volatile u16 *)(AREA + 4094 - BASE), 0x7788);
    check("across pages, second", *(volatile u16 *)(AREA + 4096 - BASE), 0x5566);
    check("behind the end", TRY(LOAD(BASE + (MEGABYTES << 20))), PF);
    check("behind the end, CR2", fault_cr2, BASE + (MEGABYTES << 20));
    check("over the end", TRY(LOAD(BASE + (MEGABYTES << 20) - 2)), PF);
    check("over the end, CR2", fault_cr2, BASE + (MEGABYTES << 20));
    check("store over the end", TRY(STORE(BASE + (MEGABYTES << 20) - 1, 0)), PF);
    check("before the start", TRY(STORE(BASE - 4, 0)), PF);
    check("before the start, CR2", fault_cr2, BASE - 4);
}

static void read_only(void)
{
    u32 page = AREA + 0x10000;
    STORE(page - 4, 0xAAAAAAAA);
    STORE(page, 0xBBBBBBBB);
    *entry_of(page) &= ~(u32)W;
    flush_page(page);
    check("store to a page made read-only", TRY(STORE(page, 1)), PF);
    check("its code", fault.error, P | W);
    warm_up();
    check("load from it", LOAD(page), 0xBBBBBBBB);
    check("store to it later", TRY(STORE(page + 8, 1)), PF);
    check("read-modify-write", TRY(ADD(page, 1)), PF);
    check("store across into it", TRY(STORE(page - 2, 0)), PF);
    check("store across, CR2", fault_cr2, page);
    check("store across, first part unchanged", LOAD(page - 4), 0xAAAAAAAA);
    check("store before it", TRY(STORE(page - 4, 0xCCCCCCCC)), NONE);
    check("store before it, value", LOAD(page - 4), 0xCCCCCCCC);
    WRITE_CR(0, READ_CR(0) & ~0x10000u);
    check("store without WP", TRY(STORE(page, 2)), NONE);
    WRITE_CR(0, READ_CR(0) | 0x10000);
    check("store without WP, value", LOAD(page), 2);
    warm_up();
    check("store with WP again", TRY(STORE(page, 3)), PF);
    *entry_of(page) |= W;
    flush_page(page);
    check("store to a page made writable", (STORE(page, 4), LOAD(page)), 4);
    warm_up();
}

static void invalidation(void)
{
    u32 page = AREA + 0x20000, other = AREA + 0x30000;
    STORE(page, 1);
    STORE(other, 2);
    *entry_of(page) = (other - BASE) | READY;
    flush_page(page);
    check("another page after INVLPG", LOAD(page), 2);
    warm_up();
    check("another page, later", LOAD(page), 2);
    STORE(page, 3);
    check("store to another page", LOAD(other), 3);
    *entry_of(page) = 0;
    flush_page(page);
    check("absent after INVLPG", TRY(LOAD(page)), PF);
    warm_up();
    check("absent, later", TRY(LOAD(page)), PF);
    check("absent, store", TRY(STORE(page, 1)), PF);
    check("load across into it", TRY(LOAD(page - 1)), PF);
    check("load across into it, CR2", fault_cr2, page);
    *entry_of(page) = (page - BASE) | READY;
    flush_page(page);
    check("present again", LOAD(page), 1);
    warm_up();
    page_directory[768 + SMALL / 0x400000] = 0;
    WRITE_CR(4, READ_CR(4) & ~(u32)PGE);
    check("directory entry gone", TRY(LOAD(page)), PF);
    page_directory[768 + SMALL / 0x400000] = (u32)small | P | W | ACCESSED;
    WRITE_CR(4, READ_CR(4) | PGE);
    warm_up();
    check("directory entry back", LOAD(page), 1);
    *entry_of(page) &= ~(u32)(ACCESSED | DIRTY);
    flush_page(page);
    warm_up();
    check("A and D stay clear without an access", *entry_of(page) & (ACCESSED | DIRTY), 0);
    check("A after a load", (LOAD(page), *entry_of(page) & (ACCESSED | DIRTY)), ACCESSED);
    warm_up();
    check("D after a store", (STORE(page, 9), *entry_of(page) & (ACCESSED | DIRTY)), ACCESSED | DIRTY);
    warm_up();
}

/* mov eax, value; ret */
static void write_function(u32 at, u32 value)
{
    *(volatile u8 *)at = 0xB8;
    WORD(at + 1) = value;
    *(volatile u8 *)(at + 5) = 0xC3;
}

static void code(void)
{
    u32 page = AREA + 0x40000;
    u32 (*function)(void) = (void *)page, (*low)(void) = (void *)(page - BASE);
    write_function(page, 1);
    check("code in the map", function(), 1);
    warm_up();
    for (u32 i = 0; i < 100; i++) {
        WORD(page + 1) = i;
        if (function() != i || low() != i)
            check("code rewritten", i, 0xFFFFFFFF);
    }
    write_function(page, 0x55);
    STORE(page - 1, 0x6677B800); /* reaches over the opcode into the constant */
    check("code rewritten across pages", function(), 0x6677);
    write_function(page, 7);
    check("and back", function(), 7);
    for (u32 i = 0; i < 100000; i++) /* data beside code */
        STORE(page + 2048 + (i & 63) * 4, i);
    check("code beside data", function(), 7);
    WORD(page + 1) = 8;
    check("code beside data, rewritten", function(), 8);
    WORD(page - BASE + 1) = 9;
    check("code rewritten by its other address", function(), 9);
}

void main(void)
{
    paging_identity();
    build();
    access();
    warm_up();
    access();
    read_only();
    invalidation();
    code();
    access();
}
