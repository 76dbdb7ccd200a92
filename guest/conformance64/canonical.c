/* Addresses whose bits 47 to 63 are not all alike (SDM vol. 1, 3.3.7.1): which exception they raise where, and which
   registers refuse them. */

#include "conformance.h"

asm(".text\n"
    "user_load: movabs $0x7fffffffffff, %rbx\n mov $5, %ecx\n mov 1(%rbx), %rcx\n int $0x80\n"
    "user_across: movabs $0x7ffffffffffd, %rbx\n mov (%rbx), %rax\n int $0x80\n"
    "user_negative: movabs $0xffff7fffffffffff, %rbx\n movb $1, (%rbx)\n int $0x80\n"
    "user_frame: movabs $0x800000000000, %rbp\n mov 16(%rbp), %rax\n int $0x80\n"
    "user_push: movabs $0x800000000008, %rsp\n push %rax\n int $0x80\n"
    "user_call: movabs $0x900000000000, %rsp\n call user_call\n int $0x80\n"
    "user_pop: movabs $0x900000000000, %rsp\n pop %rax\n int $0x80\n"
    "user_string: movabs $0x800000000000, %rdi\n mov $3, %ecx\n xor %eax, %eax\n rep stosb\n int $0x80\n"
    "user_locked: movabs $0xff80000000000000, %r9\n lock incl (%r9)\n int $0x80\n"
    "user_jump: movabs $0x800000000000, %rax\n jmp *%rax\n"
    "user_return: movabs $0x800000000000, %rax\n push %rax\n ret\n"
    "user_lea: movabs $0x800000000000, %rbx\n lea 1(%rbx), %rax\n prefetcht0 (%rbx)\n nopl (%rbx)\n int $0x80\n");

static const u32 address_registers[] = {
    0xC0000100, 0xC0000101, 0xC0000102, 0xC0000082, 0xC0000083, 0x175, 0x176,
};

void main(void)
{
    check("load", USER(user_load), GP);
    check("load, code", fault.error, 0);
    check("load, RCX is kept", fault.rcx, 5);
    check("load across the end", USER(user_across), GP);
    check("store below the upper half", USER(user_negative), GP);
    check("relative to RBP", USER(user_frame), SS);
    check("relative to RBP, code", fault.error, 0);
    check("PUSH", USER(user_push), SS);
    check("PUSH, RSP is kept", fault.rsp, NOT_CANONICAL + 8);
    check("CALL", USER(user_call), SS);
    check("POP", USER(user_pop), SS);
    check("REP STOSB", USER(user_string), GP);
    check("REP STOSB, RCX is kept", fault.rcx, 3);
    check("LOCK INC", USER(user_locked), GP);
    check("JMP", USER(user_jump), GP);
    check("JMP, code", fault.error, 0);
    check("RET", USER(user_return), GP);
    check("LEA, prefetch and NOP do not care", USER(user_lea), SYSCALL);
    check("LEA", fault.rax, NOT_CANONICAL + 1);

    for (u32 i = 0; i < sizeof(address_registers) / sizeof(u32); i++) {
        u64 old = rdmsr(address_registers[i]);
        check("WRMSR", TRY(wrmsr(address_registers[i], NOT_CANONICAL)), GP);
        check("WRMSR, value is kept", rdmsr(address_registers[i]), old);
        check("WRMSR, upper half", TRY(wrmsr(address_registers[i], 0xFFFF800000001000)), NONE);
        check("RDMSR", rdmsr(address_registers[i]), 0xFFFF800000001000);
        wrmsr(address_registers[i], old);
    }
    struct {
        u16 limit;
        u64 base;
    } __attribute__((packed)) table = { 127, NOT_CANONICAL }, kept;
    check("LGDT", TRY(asm volatile("lgdt %0" : : "m"(table))), GP);
    check("LIDT", TRY(asm volatile("lidt %0" : : "m"(table))), GP);
    asm volatile("sgdt %0" : "=m"(kept));
    check("GDTR is kept", kept.base, (u64)gdt);
    check("INVLPG does not care", TRY(asm volatile("invlpg (%0)" : : "r"(NOT_CANONICAL) : "memory")), NONE);
    gdt[FREE / 8] = descriptor(0, 0x67, 0x89, 0);
    gdt[FREE / 8 + 1] = NOT_CANONICAL >> 32;
    check("LTR", TRY(asm volatile("ltr %w0" : : "r"(FREE))), GP);
    check("LTR, code", fault.error, FREE);
    check("MOV to CR3 above the physical addresses", TRY(WRITE_CR(3, 1ull << 62)), GP);
    check("MOV to CR0 above 32 bits", TRY(WRITE_CR(0, READ_CR(0) | 1ull << 40)), GP);
    check("MOV to CR4 without PAE", TRY(WRITE_CR(4, READ_CR(4) & ~0x20ull)), GP);
    tss.rsp[0] = NOT_CANONICAL;
    check("exception to a stack like that", USER(user_load), DF);
    check("exception to a stack like that, code", fault.error, 0);
    check("it came on its own stack", fault_at + sizeof(struct frame), (u64)(ist_stack + sizeof(ist_stack)));
}
