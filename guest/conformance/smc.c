/* Self-modifying code at system level: aliases, page tables, DMA-like copies, CPL 3 code patched by CPL 0. */

#include "conformance.h"

typedef u32 (*function)(void);

static u8 code[2][4096] __attribute__((aligned(4096)));
static u8 other[4096] __attribute__((aligned(4096)));

/* mov eax, value; ret */
static void write_function(volatile u8 *at, u32 value)
{
    at[0] = 0xB8;
    *(volatile u32 *)(at + 1) = value;
    at[5] = 0xC3;
}

void main(void)
{
    function f = (function)code[0];
    paging_identity();
    write_function(code[0], 1);
    check("first version", f(), 1);
    write_function(code[0], 2);
    check("rewritten", f(), 2);
    for (u32 i = 0; i < 50; i++) {
        code[0][1] = i;
        if (f() != i)
            check("rewritten in a loop", f(), i);
    }
    /* Alias: page `other` of linear memory now shows code[0]. */
    *page_entry(other) = (u32)code[0] | 7;
    invlpg(other);
    write_function(other, 3);
    check("rewritten through an alias", f(), 3);
    check("run at the alias", ((function)other)(), 3);
    write_function(code[0], 4);
    check("alias sees a write to the original", ((function)other)(), 4);
    /* Read-only code page, written through a writable alias. */
    *page_entry(code[0]) &= ~2u;
    invlpg(code[0]);
    check("write to read-only code", TRY(write_function(code[0], 5)), PF);
    write_function(other, 6);
    check("read-only code written through an alias", f(), 6);
    *page_entry(code[0]) |= 2;
    invlpg(code[0]);
    /* A function across two pages, the second of which changes. */
    function across = (function)(code[0] + 4093);
    write_function(code[0] + 4093, 0x11111111);
    check("across pages", across(), 0x11111111);
    code[1][0] = 0x22;
    check("across pages, tail rewritten", across(), 0x11221111);
    *page_entry(code[1]) = (u32)code[0] | 7;
    code[0][0] = 0x33;
    code[0][1] = 0x44;
    code[0][2] = 0xC3;
    invlpg(code[1]);
    check("across pages, second page remapped", across(), 0x44331111);
    *page_entry(code[1]) = (u32)code[1] | 7;
    invlpg(code[1]);
    /* Unmap code that has run. */
    write_function(code[1], 7);
    function g = (function)code[1];
    check("before unmapping", g(), 7);
    *page_entry(code[1]) = 0;
    invlpg(code[1]);
    check("unmapped code", TRY(g()), PF);
    check("unmapped code, eip", fault.eip, (u32)g);
    *page_entry(code[1]) = (u32)code[1] | 7;
    check("mapped again", g(), 7);
    /* String and SSE-sized copies over code. */
    write_function(other, 0);
    *page_entry(other) = (u32)other | 7;
    invlpg(other);
    write_function(other, 8);
    asm volatile("rep movsb" : : "S"(other), "D"(code[1]), "c"(6) : "memory");
    check("copied by REP MOVSB", g(), 8);
    write_function(other, 9);
    asm volatile("fildll (%0); fistpll (%1)" : : "r"(other), "r"(code[1]) : "memory");
    check("copied by FIST", g(), 9);
    /* The instruction that follows the store, in straight-line code. */
    u32 result;
    asm volatile("movb $0x77, 1f+1\n jmp 1f\n 1: movb $0, %%al\n movzbl %%al, %0" : "=r"(result) : : "eax", "memory");
    check("next instruction", result, 0x77);
    /* The page table itself lies in a page that holds code. */
    u32 pte = *page_entry(code[1]);
    *(u32 *)(code[0] + 2048) = pte;
    write_function(code[0], 10);
    check("data beside code", (f(), *(u32 *)(code[0] + 2048) = 5, f()), 10);
}
