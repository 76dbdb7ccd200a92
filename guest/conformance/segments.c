/* Segmentation: limits, types, expand-down, conforming code, 16-bit code, LDT, call gates (SDM vol. 3, 3 and 5). */

#include "conformance.h"

#define AT(label) ({ extern u8 label[]; (void *)label; })
#define SLOT(n) (FREE + 8 * ((n) - 7))

u8 bytes[256] __attribute__((aligned(16)));
u64 ldt[4];
struct far {
    u32 offset;
    u16 selector;
} __attribute__((packed)) far_target;

#define LOAD_FS(selector) asm volatile("mov %0, %%fs" : : "r"((u32)(selector)))
/* A caught trap leaves kernel data in FS, so every access loads it again. */
#define READ_FS(offset) asm volatile("mov %1, %%fs; movl %%fs:(%0), %%eax" : : "r"(offset), "r"(SLOT(7)) : "eax")
#define WRITE_FS(offset) asm volatile("mov %1, %%fs; movb %%al, %%fs:(%0)" : : "r"(offset), "r"(SLOT(7)) : "memory")

asm(".text\n"
    "conforming: mov %cs, %eax\n int $0x80\n"
    "user_call_conforming: lcall *far_target\n"
    "user_call_gate: pushl $0x1111\n pushl $0x2222\n lcall *far_target\n gate_back: int $0x80\n"
    "gate_target: mov %cs, %eax\n mov 8(%esp), %ebx\n mov 12(%esp), %ecx\n mov 16(%esp), %edx\n lret $8\n"
    "user_small_stack: mov $0x3b, %eax\n mov %eax, %ss\n push %eax\n int $0x80\n"
    "user_jump_kernel: ljmp $0x08, $conforming\n"
    ".code16\n"
    "code16: mov $0x1234, %ax\n push %ax\n pop %bx\n addr32 movl $0x55667788, (%esi)\n lretl\n"
    ".code32\n");

static void limits(void)
{
    gdt[7] = descriptor((u32)bytes, 99, 0x92, 4);
    LOAD_FS(SLOT(7));
    check("segment base", (bytes[5] = 0x5A, ({ u32 v; asm volatile("movzbl %%fs:5, %0" : "=r"(v)); v; })), 0x5A);
    check("last byte", TRY(WRITE_FS(99)), NONE);
    check("one beyond", TRY(WRITE_FS(100)), GP);
    check("one beyond, code", fault.error, 0);
    check("double word at the edge", TRY(READ_FS(96)), NONE);
    check("double word over the edge", TRY(READ_FS(97)), GP);
    check("wrapping offset", TRY(READ_FS(0xFFFFFFFE)), GP);
    gdt[7] = descriptor((u32)bytes, 0, 0x92, 0xC);
    LOAD_FS(SLOT(7));
    check("page granularity, last", TRY(READ_FS(4092)), NONE);
    check("page granularity, beyond", TRY(READ_FS(4096)), GP);
    gdt[7] = descriptor((u32)bytes, 99, 0x96, 4);
    LOAD_FS(SLOT(7));
    check("expand-down: below", TRY(WRITE_FS(99)), GP);
    check("expand-down: first valid", TRY(WRITE_FS(100)), NONE);
    check("expand-down, 32-bit: high", TRY(WRITE_FS(0x20000)), NONE);
    gdt[7] = descriptor((u32)bytes, 99, 0x96, 0);
    LOAD_FS(SLOT(7));
    check("expand-down, 16-bit: last", TRY(READ_FS(0xFFFC)), NONE);
    check("expand-down, 16-bit: beyond", TRY(READ_FS(0xFFFD)), GP);
    gdt[7] = descriptor(0, 0xFFFFF, 0x90, 0xC);
    LOAD_FS(SLOT(7));
    check("read-only data: read", TRY(READ_FS((u32)bytes)), NONE);
    check("read-only data: write", TRY(WRITE_FS((u32)bytes)), GP);
    check("accessed bit", (u32)(gdt[7] >> 40) & 1, 1);
    check("read-only data in SS", TRY(asm volatile("mov %0, %%ss" : : "r"(SLOT(7)))), GP);
    check("code: write through CS", TRY(asm volatile("movb %%al, %%cs:bytes" : : : "memory")), GP);
    gdt[7] = descriptor(0, 0xFFFFF, 0x98, 0xC);
    check("execute-only code in FS", TRY(LOAD_FS(SLOT(7))), GP);
    check("execute-only code in FS, code", fault.error, SLOT(7));
    gdt[7] = descriptor(0, 0xFFFFF, 0x9A, 0xC);
    LOAD_FS(SLOT(7));
    check("readable code in FS: write", TRY(WRITE_FS((u32)bytes)), GP);
    gdt[7] = descriptor(0, 0, 0xF2, 0xC);
    check("stack limit at CPL 3", USER(AT(user_small_stack)), SS);
    check("stack limit at CPL 3, code", fault.error, 0);
}

static void selectors(void)
{
    u32 value, zf;
    gdt[7] = descriptor(0, 99, 0x92, 4);
    asm volatile("lsl %2, %0; setz %b1" : "=r"(value), "=q"(zf) : "r"(SLOT(7)));
    check("LSL", value, 99);
    check("LSL sets ZF", zf & 1, 1);
    gdt[7] = descriptor(0, 1, 0x92, 0xC);
    asm volatile("lsl %1, %0" : "=r"(value) : "r"(SLOT(7)));
    check("LSL with page granularity", value, 0x1FFF);
    asm volatile("lar %1, %0" : "=r"(value) : "r"(SLOT(7)));
    check("LAR", value & 0xF0FF00, 0xC09200);
    asm volatile("lar %1, %0; setz %b0" : "=q"(zf) : "r"(SLOT(31)));
    check("LAR of an empty slot clears ZF", zf & 1, 0);
    asm volatile("verw %w1; setz %b0" : "=q"(zf) : "r"(SLOT(7)));
    check("VERW of data", zf & 1, 1);
    asm volatile("verw %w1; setz %b0" : "=q"(zf) : "r"(KCODE));
    check("VERW of code", zf & 1, 0);
    asm volatile("verr %w1; setz %b0" : "=q"(zf) : "r"(KCODE));
    check("VERR of code", zf & 1, 1);
    asm volatile("mov $0x30, %%eax; mov $0x33, %%ecx; arpl %%cx, %%ax; setz %b0" : "=q"(zf), "=a"(value) : : "ecx");
    asm volatile("mov $0x30, %%eax; mov $0x33, %%ecx; arpl %%cx, %%ax" : "=a"(value) : : "ecx");
    check("ARPL raises RPL", value, 0x33);
    ldt[1] = descriptor((u32)bytes, 255, 0x92, 4);
    gdt[6] = descriptor((u32)ldt, sizeof(ldt) - 1, 0x82, 0);
    asm volatile("lldt %w0" : : "r"(0x30));
    check("LDT selector", TRY(LOAD_FS(0xC)), NONE);
    check("LDT base", ({ u32 v; asm volatile("movzbl %%fs:5, %0" : "=r"(v)); v; }), 0x5A);
    check("LDT beyond its limit", TRY(LOAD_FS(0x24)), GP);
    check("LDT beyond its limit, code", fault.error, 0x24);
    asm volatile("lldt %w0" : : "r"(0));
    check("selector in an absent LDT", TRY(LOAD_FS(0xC)), GP);
    check("LLDT of data", TRY(asm volatile("lldt %w0" : : "r"(KDATA))), GP);
}

static void code(void)
{
    gdt[8] = descriptor(0, 0xFFFFF, 0x9E, 0xC);
    far_target = (struct far){ (u32)AT(conforming), SLOT(8) };
    check("conforming code from CPL 3", USER(AT(user_call_conforming)), SYSCALL);
    check("CPL stays 3 in conforming code", fault.cs, SLOT(8) | 3);
    far_target.selector = KCODE;
    check("non-conforming kernel code from CPL 3", USER(AT(user_call_conforming)), GP);
    check("non-conforming, code", fault.error, KCODE);
    check("far jump to kernel code from CPL 3", USER(AT(user_jump_kernel)), GP);
    u32 gate = (u32)AT(gate_target);
    gdt[9] = (gate & 0xFFFF) | KCODE << 16 | (u64)((gate & 0xFFFF0000) | 0xEC02) << 32;
    far_target = (struct far){ 0, SLOT(9) | 3 };
    check("call gate from CPL 3", USER(AT(user_call_gate)), SYSCALL);
    check("call gate: CS", fault.eax, KCODE);
    check("call gate: first parameter", fault.ebx, 0x2222);
    check("call gate: second parameter", fault.ecx, 0x1111);
    check("call gate: old ESP", fault.edx, (u32)(user_stack + sizeof(user_stack)) - 8);
    check("call gate: stack after RET 8", fault.esp, (u32)(user_stack + sizeof(user_stack)));
    check("call gate: returns", fault.eip, (u32)AT(gate_back) + 2);
    gdt[9] &= ~(0x6000ull << 32);
    check("call gate of DPL 0 from CPL 3", USER(AT(user_call_gate)), GP);
    check("call gate of DPL 0, code", fault.error, SLOT(9));
    gdt[9] |= 0x6000ull << 32;
    gdt[9] &= ~(0x8000ull << 32);
    check("absent call gate", USER(AT(user_call_gate)), NP);
    u32 base = (u32)AT(code16) & ~15u, result;
    gdt[10] = descriptor(base, 0xFFFF, 0x9A, 0);
    far_target = (struct far){ (u32)AT(code16) - base, SLOT(10) };
    asm volatile("xor %%ebx, %%ebx; lcall *far_target" : "=b"(result) : "S"(bytes) : "eax", "memory");
    check("16-bit code: register", result, 0x1234);
    check("16-bit code: 32-bit store", *(u32 *)bytes, 0x55667788);
    gdt[10] = descriptor(base, (u32)AT(code16) - base + 2, 0x9A, 0);
    check("16-bit code beyond its limit", TRY(asm volatile("lcall *far_target" : : "S"(bytes) : "eax", "ebx")), GP);
    check("16-bit code beyond its limit, eip", fault.eip, far_target.offset + 3);
    gdt[10] = descriptor(0, 0xFFFFF, 0x1A, 0xC);
    check("absent code segment", TRY(asm volatile("lcall *far_target")), NP);
    check("absent code segment, code", fault.error, SLOT(10));
    check("far call to data", (far_target.selector = KDATA, TRY(asm volatile("lcall *far_target"))), GP);
}

void main(void)
{
    limits();
    selectors();
    code();
}
