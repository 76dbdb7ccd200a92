/* Two-level and PAE paging: error codes, CR2, accessed and dirty bits, WP, large pages, NX (SDM vol. 3, 4). */

#include "conformance.h"

#define AT(label) ({ extern u8 label[]; (void *)label; })
#define P 1
#define W 2
#define U 4
#define ACCESSED 0x20
#define DIRTY 0x40

static u8 page[4][4096] __attribute__((aligned(4096)));
static u64 pae_pointers[4] __attribute__((aligned(32)));
static u64 pae_directory[512] __attribute__((aligned(4096)));
static u64 pae_table[512] __attribute__((aligned(4096)));

#define TARGET (page[1])
#define LOAD(address) asm volatile("movl (%0), %%eax" : : "r"(address) : "eax", "memory")
#define STORE(address) asm volatile("movl %%eax, (%0)" : : "r"(address) : "memory")

asm(".text\n"
    "user_load: mov page+4096, %eax\n int $0x80\n"
    "user_store: mov %eax, page+4096\n int $0x80\n"
    "user_store_high: mov %eax, page+4096+0xc0000000\n int $0x80\n"
    "user_rmw: addl $1, page+4096\n int $0x80\n"
    "user_fetch: mov $page+4096, %eax\n jmp *%eax\n");

static void set(u32 bits)
{
    *page_entry(TARGET) = (u32)TARGET | bits;
    invlpg(TARGET);
}

static void faults(void)
{
    set(0);
    check("read of absent page", TRY(LOAD(TARGET)), PF);
    check("read of absent page, code", fault.error, 0);
    check("read of absent page, CR2", fault_cr2, (u32)TARGET);
    check("write to absent page, code", (TRY(STORE(TARGET + 12)), fault.error), W);
    check("write to absent page, CR2", fault_cr2, (u32)TARGET + 12);
    check("user read of absent page, code", (USER(AT(user_load)), fault.error), U);
    check("user write to absent page, code", (USER(AT(user_store)), fault.error), U | W);
    check("user fetch from absent page, code", (USER(AT(user_fetch)), fault.error), U);
    check("user fetch, eip is the target", fault.eip, (u32)TARGET);
    set(P | W);
    check("supervisor page from CPL 0", TRY(STORE(TARGET)), NONE);
    check("user read of supervisor page, code", (USER(AT(user_load)), fault.error), P | U);
    check("user write to supervisor page, code", (USER(AT(user_store)), fault.error), P | U | W);
    check("user read-modify-write, code", (USER(AT(user_rmw)), fault.error), P | U | W);
    set(P | U);
    check("user read of read-only page", USER(AT(user_load)), SYSCALL);
    check("user write to read-only page, code", (USER(AT(user_store)), fault.error), P | U | W);
    check("CPL 0 write to read-only page with WP, code", (TRY(STORE(TARGET)), fault.error), P | W);
    WRITE_CR(0, READ_CR(0) & ~0x10000u);
    check("CPL 0 write to read-only page without WP", TRY(STORE(TARGET)), NONE);
    WRITE_CR(0, READ_CR(0) | 0x10000);
    check("and with WP again", TRY(STORE(TARGET)), PF);
    set(P | W | U);
    page_directory[768] = page_directory[0] & ~(u32)W;
    check("read-only directory entry", (USER(AT(user_store_high)), fault.error), P | U | W);
    page_directory[768] = page_directory[0] & ~(u32)U;
    WRITE_CR(3, page_directory);
    check("supervisor directory entry", (USER(AT(user_store_high)), fault.error), P | U | W);
    page_directory[768] = 0;
    WRITE_CR(3, page_directory);
    check("absent directory entry", (USER(AT(user_store_high)), fault.error), U | W);
    check("absent directory entry, CR2", fault_cr2, (u32)TARGET + 0xC0000000);
    set(0);
    check("access across pages, second absent: CR2", (TRY(LOAD(TARGET - 2)), fault_cr2), (u32)TARGET);
    check("store across pages, second absent: CR2", (TRY(STORE(TARGET - 1)), fault_cr2), (u32)TARGET);
    check("access across pages, first absent: CR2", (TRY(LOAD(TARGET + 4094)), fault_cr2), (u32)TARGET + 4094);
    set(P | W | U);
}

static void accessed_dirty(void)
{
    set(P | W | U);
    LOAD(TARGET);
    check("A after a read", *page_entry(TARGET) & (ACCESSED | DIRTY), ACCESSED);
    STORE(TARGET);
    check("A and D after a write", *page_entry(TARGET) & (ACCESSED | DIRTY), ACCESSED | DIRTY);
    set(P | W | U);
    STORE(TARGET);
    check("A and D after a first write", *page_entry(TARGET) & (ACCESSED | DIRTY), ACCESSED | DIRTY);
    set(P | U);
    check("denied write", TRY(STORE(TARGET)), PF);
    check("no D after a denied write", *page_entry(TARGET) & DIRTY, 0);
    set(P | W | U);
    check("A cleared", *page_entry(TARGET) & ACCESSED, 0);
    LOAD(TARGET);
    *page_entry(TARGET) &= ~(u32)(ACCESSED | DIRTY);
    invlpg(TARGET);
    STORE(TARGET);
    check("D set again after INVLPG", *page_entry(TARGET) & DIRTY, DIRTY);
    page_directory[0] &= ~(u32)ACCESSED;
    WRITE_CR(3, page_directory);
    LOAD(TARGET);
    check("A in the directory entry", page_directory[0] & ACCESSED, ACCESSED);
}

static void large(void)
{
    u32 *high = (u32 *)(0xC0000000 + (u32)TARGET);
    WRITE_CR(4, READ_CR(4) | 0x10);
    page_directory[768] = 0 | 0x80 | P | W;
    *(volatile u32 *)TARGET = 0x1234567;
    check("read through a 4 MiB page", *(volatile u32 *)high, 0x1234567);
    check("A in the 4 MiB entry", page_directory[768] & (ACCESSED | DIRTY), ACCESSED);
    STORE(high);
    check("D in the 4 MiB entry", page_directory[768] & DIRTY, DIRTY);
    page_directory[768] = 0;
    WRITE_CR(3, page_directory);
    check("4 MiB page gone after CR3", TRY(LOAD(high)), PF);
    page_directory[768] = 0x80 | P | W | 0x200000;
    check("reserved bit in a 4 MiB entry", TRY(LOAD(high)), PF);
    check("reserved bit, code", fault.error, P | 8);
    page_directory[768] = page_directory[0];
    ((volatile u32 *)high)[1] = 77;
    check("two mappings of one page", ((volatile u32 *)TARGET)[1], 77);
    page_directory[768] = 0;
    WRITE_CR(3, page_directory);
}

static void remap(void)
{
    /* The same linear page shows another physical one after INVLPG, for data and for code. */
    *(u32 *)page[2] = 0xC340C031; /* xor eax, eax; inc eax; ret */
    *(u32 *)page[3] = 0x4040C031; /* xor eax, eax; inc eax; inc eax; ret */
    page[3][4] = 0xC3;
    u32 (*code)(void) = (void *)TARGET;
    *page_entry(TARGET) = (u32)page[2] | P | W | U;
    invlpg(TARGET);
    check("code of the first page", code(), 1);
    check("code of the first page again", code(), 1);
    *page_entry(TARGET) = (u32)page[3] | P | W | U;
    invlpg(TARGET);
    check("code of the second page", code(), 2);
    check("data of the second page", *(volatile u32 *)TARGET, 0x4040C031);
    set(P | W | U);
}

static void pae(void)
{
    WRITE_CR(0, READ_CR(0) & 0x7FFFFFFF);
    for (u32 i = 0; i < 512; i++) {
        pae_directory[i] = (u64)i << 21 | 0x80 | P | W | U;
        pae_table[i] = ((u32)TARGET & ~0x1FFFFFu) + (i << 12) + (P | W | U);
    }
    u32 slot = (u32)TARGET >> 21, index = (u32)TARGET >> 12 & 511;
    pae_directory[slot] = (u32)pae_table | P | W | U;
    pae_pointers[0] = (u32)pae_directory | P;
    WRITE_CR(4, READ_CR(4) | 0x20);
    WRITE_CR(3, pae_pointers);
    wrmsr(0xC0000080, rdmsr(0xC0000080) | 0x800);
    WRITE_CR(0, READ_CR(0) | 0x80000000);
    STORE(TARGET);
    check("PAE: A and D", (u32)pae_table[index] & (ACCESSED | DIRTY), ACCESSED | DIRTY);
    check("PAE: absent pointer entry", (TRY(LOAD(0x40000000)), fault.error), 0);
    pae_table[index] |= 1ull << 63;
    invlpg(TARGET);
    check("PAE: read of a no-execute page", TRY(LOAD(TARGET)), NONE);
    *(u8 *)TARGET = 0xC3;
    check("PAE: fetch from a no-execute page", TRY(((void (*)(void))TARGET)()), PF);
    check("PAE: fetch, code", fault.error, P | 0x10);
    check("PAE: fetch from absent page has I/D",
        (pae_table[index] = 0, invlpg(TARGET), TRY(((void (*)(void))TARGET)()), fault.error), 0x10);
    pae_table[index] = (u32)TARGET | P | W | U | 1ull << 60;
    invlpg(TARGET);
    check("PAE: reserved bit", TRY(LOAD(TARGET)), PF);
    check("PAE: reserved bit, code", fault.error, P | 8);
    pae_table[index] = (u32)TARGET | P | W | U;
    invlpg(TARGET);
    WRITE_CR(0, READ_CR(0) & 0x7FFFFFFF);
    WRITE_CR(4, READ_CR(4) & ~0x20u);
}

void main(void)
{
    paging_identity();
    faults();
    accessed_dirty();
    large();
    remap();
    pae();
}
