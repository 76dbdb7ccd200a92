/* The common half of the 64-bit conformance guests: tables and trap dispatch. Checks are in ../common/verdict.c. */

#include "conformance.h"

u64 gdt[16] __attribute__((aligned(16)));
u64 idt[512] __attribute__((aligned(16)));
struct tss tss __attribute__((aligned(16)));
struct frame fault;
u64 fault_at;
struct context catcher;
volatile int catching;
int (*hook)(struct frame *frame);
u8 user_stack[4096] __attribute__((aligned(16)));
u8 ring0_stack[8192] __attribute__((aligned(16)));
u8 ist_stack[4096] __attribute__((aligned(16)));

extern u8 stubs[];

#include "../common/verdict.c"

/* An interrupt gate for the vector's stub. */
void set_gate(u32 vector, u32 dpl, u32 ist)
{
    u64 at = (u64)(stubs + vector * 16);
    idt[vector * 2] = (at & 0xFFFF) | KCODE << 16 | (u64)ist << 32 | (u64)(0x8E00 | dpl << 13) << 32
        | (at & 0xFFFF0000) << 32;
    idt[vector * 2 + 1] = at >> 32;
}

void main_setup(void)
{
    gdt[KCODE / 8] = descriptor(0, 0xFFFFF, 0x9A, 0xA);
    gdt[KDATA / 8] = descriptor(0, 0xFFFFF, 0x92, 0xC);
    gdt[UCODE32 / 8] = descriptor(0, 0xFFFFF, 0xFA, 0xC);
    gdt[UDATA / 8] = descriptor(0, 0xFFFFF, 0xF2, 0xC);
    gdt[UCODE / 8] = descriptor(0, 0xFFFFF, 0xFA, 0xA);
    gdt[TASK / 8] = descriptor((u32)(u64)&tss, sizeof(tss) - 1, 0x89, 0);
    gdt[KCODE32 / 8] = descriptor(0, 0xFFFFF, 0x9A, 0xC);
    tss.rsp[0] = (u64)(ring0_stack + sizeof(ring0_stack));
    tss.ist[0] = (u64)(ist_stack + sizeof(ist_stack));
    tss.iomap = sizeof(tss);
    for (u32 vector = 0; vector < 256; vector++)
        set_gate(vector, vector == BP || vector == OF || vector == SYSCALL ? 3 : 0, vector == DF ? 1 : 0);
    struct table_pointer gdt_pointer = { sizeof(gdt) - 1, (u64)gdt };
    struct table_pointer idt_pointer = { sizeof(idt) - 1, (u64)idt };
    load_tables(&gdt_pointer, &idt_pointer, TASK);
    wrmsr(0xC0000081, (u64)UCODE32 << 48 | (u64)KCODE << 32);
    outb(0x21, 0xFF);
    outb(0xA1, 0xFF);
}

/* From trap_entry. */
void trap(struct frame *frame)
{
    if (hook && hook(frame))
        return;
    if (!catching) {
        print("unexpected vector ");
        print_hex(frame->vector);
        print(" error ");
        print_hex(frame->error);
        print(" rip ");
        print_hex(frame->rip);
        print(" cr2 ");
        print_hex(READ_CR(2));
        print("\n");
        failures++;
        finish();
    }
    fault = *frame;
    fault_at = (u64)frame;
    catching = 0;
    restore_context(&catcher);
}
