/* Page tables: the calls that announce changes, page faults, and entries no guest may use. The test window is at 1 GiB,
   in table 6; kernel addresses in table 7. */

#include "lguest.h"

#define WINDOW 0x40000000u
#define KERNEL 0xD0000000u
#define AT(address) (*(volatile u32 *)(address))

static u32 pages[4][1024] __attribute__((aligned(4096)));

static void fill(void)
{
    for (u32 i = 0; i < 4; i++)
        pages[i][0] = 0x1000 + i;
}

static void expect(const char *name, u32 address, u32 page)
{
    check(name, AT(address), 0x1000 + page);
}

TEST(page_fault, "ABCDEF")
{
    check("read", TRY((void)AT(WINDOW + 0x123)), PF);
    check("cr2", WORD(CR2), WINDOW + 0x123);
    check("error", fault.error, 0);
    check("write", TRY(AT(WINDOW + 0x5678) = 1), PF);
    check("cr2", WORD(CR2), WINDOW + 0x5678);
    check("error", fault.error, 2);
    map(directory, 6, WINDOW, PHYSICAL(pages[0]) | P);
    check("read-only", TRY(AT(WINDOW) = 1), PF);
    check("error", fault.error, 3);
}

static void user_read(void)
{
    asm volatile("mov 0x40000010, %eax");
}

static void user_write(void)
{
    asm volatile("mov %eax, 0x40000010");
}

TEST(user_page_fault, "ABCDEF")
{
    check("not present", USER(user_read), PF);
    check("error", fault.error, 4);
    check("cr2", WORD(CR2), WINDOW + 0x10);
    map(directory, 6, WINDOW, PHYSICAL(pages[0]) | P | RW);
    check("the kernel's", USER(user_write), PF);
    check("error", fault.error, 7);
}

TEST(accessed_and_dirty, "ABCDEF")
{
    fill();
    map(directory, 6, WINDOW, PHYSICAL(pages[0]) | P | RW);
    expect("read", WINDOW, 0);
    check("accessed", tables[6][0] & (ACCESSED | DIRTY), ACCESSED);
    AT(WINDOW + 4) = 1;
    check("dirty", tables[6][0] & (ACCESSED | DIRTY), ACCESSED | DIRTY);
    check("directory", directory[WINDOW >> 22] & ACCESSED, ACCESSED);
}

TEST(new_pgtable, "ABCDEF")
{
    static u32 second[1024] __attribute__((aligned(4096)));
    static u32 table[1024] __attribute__((aligned(4096)));
    fill();
    map(directory, 6, WINDOW, PHYSICAL(pages[0]) | P | RW);
    for (int i = 0; i < 1024; i++)
        second[i] = directory[i];
    second[WINDOW >> 22] = PHYSICAL(table) | P | RW | US;
    table[0] = PHYSICAL(pages[1]) | P | RW;
    for (int i = 0; i < 8; i++) {
        expect("first", WINDOW, 0);
        call1(NEW_PGTABLE, PHYSICAL(second));
        expect("second", WINDOW, 1);
        call1(NEW_PGTABLE, PHYSICAL(directory));
    }
}

TEST(new_pgtable_in_ring, "ABCDEF")
{
    fill();
    map(directory, 6, WINDOW, PHYSICAL(pages[0]) | P | RW);
    expect("before", WINDOW, 0);
    tables[6][0] = PHYSICAL(pages[1]) | P | RW;
    queue_call(0, NEW_PGTABLE, PHYSICAL(directory), 0, 0);
    call0(FLUSH_ASYNC);
    expect("after", WINDOW, 1);
}

TEST(set_pte, "ABCDEF")
{
    fill();
    map(directory, 6, WINDOW, PHYSICAL(pages[0]) | P | RW);
    expect("before", WINDOW, 0);
    tables[6][0] = PHYSICAL(pages[1]) | P | RW;
    call3(SET_PTE, PHYSICAL(directory), WINDOW, tables[6][0]);
    expect("changed", WINDOW, 1);
    tables[6][0] = 0;
    call3(SET_PTE, PHYSICAL(directory), WINDOW, 0);
    check("removed", TRY((void)AT(WINDOW)), PF);
    map(directory, 6, WINDOW, PHYSICAL(pages[2]) | P | RW);
    expect("there without a call", WINDOW, 2);
}

/* A value of 0 only forgets the page, as INVLPG does. */
TEST(set_pte_flush, "ABCDEF")
{
    fill();
    map(directory, 6, WINDOW, PHYSICAL(pages[0]) | P | RW);
    expect("before", WINDOW, 0);
    tables[6][0] = PHYSICAL(pages[1]) | P | RW;
    call3(SET_PTE, PHYSICAL(directory), WINDOW, 0);
    expect("after", WINDOW, 1);
}

/* Kernel addresses are the same in all tables: any table's name will do. */
TEST(set_pte_of_kernel, "ABCDEF")
{
    fill();
    map(directory, 7, KERNEL, PHYSICAL(pages[0]) | P | RW | GLOBAL);
    expect("before", KERNEL, 0);
    tables[7][KERNEL >> 12 & 1023] = PHYSICAL(pages[1]) | P | RW | GLOBAL;
    call3(SET_PTE, 0x1000, KERNEL, tables[7][KERNEL >> 12 & 1023]);
    expect("after", KERNEL, 1);
}

TEST(set_pgd, "ABCDEF")
{
    static u32 table[1024] __attribute__((aligned(4096)));
    fill();
    map(directory, 6, WINDOW, PHYSICAL(pages[0]) | P | RW);
    expect("before", WINDOW, 0);
    table[0] = PHYSICAL(pages[1]) | P | RW;
    directory[WINDOW >> 22] = PHYSICAL(table) | P | RW | US;
    call2(SET_PGD, PHYSICAL(directory), WINDOW >> 22);
    expect("after", WINDOW, 1);
}

TEST(set_pgd_of_kernel, "ABCDEF")
{
    static u32 table[1024] __attribute__((aligned(4096)));
    fill();
    map(directory, 7, KERNEL, PHYSICAL(pages[0]) | P | RW | GLOBAL);
    expect("before", KERNEL, 0);
    table[KERNEL >> 12 & 1023] = PHYSICAL(pages[1]) | P | RW | GLOBAL;
    directory[KERNEL >> 22] = PHYSICAL(table) | P | RW | US;
    call2(SET_PGD, PHYSICAL(directory), KERNEL >> 22);
    expect("after", KERNEL, 1);
}

TEST(flush_user, "ABCDEF")
{
    fill();
    map(directory, 6, WINDOW, PHYSICAL(pages[0]) | P | RW);
    expect("before", WINDOW, 0);
    tables[6][0] = PHYSICAL(pages[1]) | P | RW;
    call1(FLUSH_TLB, 0);
    expect("after", WINDOW, 1);
}

TEST(flush_all, "ABCDEF")
{
    fill();
    map(directory, 7, KERNEL, PHYSICAL(pages[0]) | P | RW | GLOBAL);
    expect("before", KERNEL, 0);
    tables[7][KERNEL >> 12 & 1023] = PHYSICAL(pages[1]) | P | RW | GLOBAL;
    call1(FLUSH_TLB, 1);
    expect("after", KERNEL, 1);
}

MISUSE(page_table_beyond_ram, "ABCDEF", "of a page table")
{
    call1(NEW_PGTABLE, MEMORY + DEVICE_PAGES * 4096);
}

MISUSE(large_page, "ABCDEF", "bad page directory entry")
{
    directory[WINDOW >> 22] = P | RW | LARGE;
    (void)AT(WINDOW);
}

MISUSE(large_page_announced, "ABCDEF", "bad page table entry")
{
    call3(SET_PTE, PHYSICAL(directory), WINDOW, P | RW | LARGE);
}

MISUSE(page_beyond_ram, "ABCDE", "is not memory of the guest")
{
    map(directory, 6, WINDOW, (MEMORY + DEVICE_PAGES * 4096) | P | RW);
    AT(WINDOW) = 1;
}

MISUSE(table_beyond_ram, "ABCDE", "is not memory of the guest")
{
    directory[WINDOW >> 22] = 0x90000000 | P | RW;
    (void)AT(WINDOW);
}

MISUSE(code_beyond_ram, "ABCDE", "is not memory of the guest")
{
    map(directory, 6, WINDOW, 0x90000000 | P | RW);
    ((void (*)(void))WINDOW)();
}

/* PAE: entries of 8 bytes; the four top entries are read when the table is loaded. */
static u64 pae_table[512] __attribute__((aligned(4096)));
static u64 pae_middle[512] __attribute__((aligned(4096)));
static u64 pae_top[4] __attribute__((aligned(32)));

static void map_pae(u32 page)
{
    pae_top[0] = PHYSICAL(tables[5]) | P;
    pae_top[1] = PHYSICAL(pae_middle) | P;
    pae_middle[0] = PHYSICAL(pae_table) | P | RW | US;
    pae_table[0] = PHYSICAL(pages[page]) | P | RW;
}

PAE_TEST(pae_new_pgtable, "DEF")
{
    fill();
    map_pae(0);
    check("not yet", TRY((void)AT(WINDOW)), PF);
    call1(NEW_PGTABLE, PHYSICAL(pae_top));
    expect("new table", WINDOW, 0);
}

PAE_TEST(pae_set_pte, "DEF")
{
    fill();
    map_pae(0);
    call1(NEW_PGTABLE, PHYSICAL(pae_top));
    expect("before", WINDOW, 0);
    pae_table[0] = PHYSICAL(pages[1]) | P | RW;
    hcall(SET_PTE, PHYSICAL(pae_top), WINDOW, (u32)pae_table[0], 0);
    expect("after", WINDOW, 1);
}

PAE_TEST(pae_set_pmd, "DEF")
{
    static u64 table[512] __attribute__((aligned(4096)));
    fill();
    map_pae(0);
    call1(NEW_PGTABLE, PHYSICAL(pae_top));
    expect("before", WINDOW, 0);
    table[0] = PHYSICAL(pages[1]) | P | RW;
    pae_middle[0] = PHYSICAL(table) | P | RW | US;
    call2(SET_PMD_PAE, PHYSICAL(pae_middle), 0);
    expect("after", WINDOW, 1);
}

PAE_TEST(pae_set_pgd, "DEF")
{
    fill();
    map_pae(0);
    u64 entry = pae_top[1];
    pae_top[1] = 0;
    call1(NEW_PGTABLE, PHYSICAL(pae_top));
    check("not yet", TRY((void)AT(WINDOW)), PF);
    pae_top[1] = entry;
    call2(SET_PGD, PHYSICAL(pae_top), 1);
    expect("after", WINDOW, 0);
}
