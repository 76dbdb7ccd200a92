/* The common half of the conformance guests: tables and trap dispatch. Checks are in ../common/verdict.c. */

#include "conformance.h"

u64 gdt[32] __attribute__((aligned(8)));
u64 idt[256] __attribute__((aligned(8)));
struct tss tss __attribute__((aligned(16)));
struct frame fault;
u32 fault_cr2;
struct context catcher;
volatile int catching;
int (*hook)(struct frame *frame);
u8 user_stack[4096] __attribute__((aligned(16)));
u32 page_directory[1024] __attribute__((aligned(4096)));

static u8 ring0_stack[8192] __attribute__((aligned(16)));
static u32 page_tables[4][1024] __attribute__((aligned(4096)));

#include "../common/verdict.c"

void set_gate(u32 vector, u32 type, u32 dpl, const void *handler)
{
    u32 at = (u32)handler;
    idt[vector] = (at & 0xFFFF) | KCODE << 16 | (u64)((at & 0xFFFF0000) | 0x8000 | dpl << 13 | type << 8) << 32;
}

void *stub_of(u32 vector)
{
    return stubs + vector * 16;
}

void main_setup(void)
{
    gdt[1] = descriptor(0, 0xFFFFF, 0x9A, 0xC);
    gdt[2] = descriptor(0, 0xFFFFF, 0x92, 0xC);
    gdt[3] = descriptor(0, 0xFFFFF, 0xFA, 0xC);
    gdt[4] = descriptor(0, 0xFFFFF, 0xF2, 0xC);
    gdt[5] = descriptor((u32)&tss, sizeof(tss) - 1, 0x89, 0);
    tss.ss0 = KDATA;
    tss.esp0 = (u32)(ring0_stack + sizeof(ring0_stack));
    tss.iomap = 104;
    for (u32 i = 0; i < sizeof(tss.bitmap); i++)
        tss.bitmap[i] = 0xFF;
    for (u32 vector = 0; vector < 256; vector++)
        set_gate(vector, 14, vector == BP || vector == OF || vector == SYSCALL ? 3 : 0, stub_of(vector));
    struct table_pointer gdt_pointer = { sizeof(gdt) - 1, (u32)gdt };
    struct table_pointer idt_pointer = { sizeof(idt) - 1, (u32)idt };
    load_tables(&gdt_pointer, &idt_pointer, TASK);
    WRITE_CR(0, (READ_CR(0) & ~0xEu) | 0x22); /* NE, MP; no EM or TS */
    WRITE_CR(4, READ_CR(4) | 0x600);
    outb(0x21, 0xFF);
    outb(0xA1, 0xFF);
}

/* From trap_entry. */
void trap(struct frame *frame)
{
    u32 cr2 = READ_CR(2);
    if (hook && hook(frame))
        return;
    if (!catching) {
        print("unexpected vector ");
        print_hex(frame->vector);
        print(" error ");
        print_hex(frame->error);
        print(" eip ");
        print_hex(frame->eip);
        print(" cr2 ");
        print_hex(cr2);
        print("\n");
        failures++;
        finish();
    }
    int outer = (frame->cs & 3) != 0 || (frame->eflags & VM);
    fault = *frame;
    if (!outer) {
        fault.esp = (u32)&frame->esp;
        fault.ss = KDATA;
    }
    fault_cr2 = cr2;
    catching = 0;
    restore_context(&catcher);
}

/* Maps the low 16 MiB one to one, user-accessible and writable, in 4 KiB pages, and turns paging on with WP. */
void paging_identity(void)
{
    for (u32 i = 0; i < 4096; i++)
        page_tables[i >> 10][i & 1023] = i << 12 | 7;
    for (u32 i = 0; i < 4; i++)
        page_directory[i] = (u32)page_tables[i] | 7;
    WRITE_CR(3, page_directory);
    WRITE_CR(0, READ_CR(0) | 0x80010000);
}

u32 *page_entry(const void *address)
{
    return &page_tables[(u32)address >> 22][(u32)address >> 12 & 1023];
}
