/* Every exception that can be provoked without paging: vector, error code, saved EIP (SDM vol. 3, 6.15). */

#include "conformance.h"

#define AT(label) ({ extern u8 label[]; (u32)label; })

u32 words[4] = { 5, 10 };

/* User-mode pieces, each entered by USER(). */
asm(".text\n"
    "user_cli: cli\n"
    "user_hlt: hlt\n"
    "user_syscall: mov $0x1234, %eax\n int $0x80\n"
    "user_after_syscall: nop\n"
    "user_int3: int3\n"
    "user_int_kernel: int $0x21\n"
    "user_out: mov $0xee, %dx\n outb %al, %dx\n int $0x80\n"
    "user_popf: pushl $0x3202\n popf\n pushf\n pop %eax\n int $0x80\n"
    "user_movcr: mov %cr0, %eax\n"
    "user_lgdt: lgdt words\n"
    "user_align: pushl $0x40202\n popf\n mov words+2, %eax\n int $0x80\n"
    "user_load_kdata: mov $0x10, %eax\n mov %eax, %ds\n"
    "user_null_ss: xor %eax, %eax\n mov %eax, %ss\n");

static void at_cpl0(void)
{
    u32 zero = 0;
    check("#DE vector", TRY(asm volatile("de_at: divl %0" : : "r"(zero), "a"(1), "d"(0))), DE);
    check("#DE eip", fault.eip, AT(de_at));
    check("#DE eflags has RF", fault.eflags & RF, RF);
    check("#BP vector", TRY(asm volatile("int3; bp_after:")), BP);
    check("#BP eip is after", fault.eip, AT(bp_after));
    check("#BP eflags has no RF", fault.eflags & RF, 0);
    check("#OF vector", TRY(asm volatile("movb $0x7f, %%al; incb %%al; into" : : : "eax")), OF);
    check("INTO without OF", TRY(asm volatile("xorl %%eax, %%eax; into" : : : "eax")), NONE);
    check("#BR vector", TRY(asm volatile("bound %0, words" : : "r"(11))), BR);
    check("BOUND inside", TRY(asm volatile("bound %0, words" : : "r"(10))), NONE);
    check("#UD vector", TRY(asm volatile("ud2")), UD);
    check("#UD for LOCK MOV", TRY(asm volatile(".byte 0xf0, 0x89, 0xc0")), UD);
    check("#GP selector", TRY(asm volatile("mov %0, %%es" : : "r"(0xFFF8))), GP);
    check("#GP selector code", fault.error, 0xFFF8);
    gdt[7] = descriptor(0, 0xFFFFF, 0x12, 0xC); /* data, not present */
    check("#NP vector", TRY(asm volatile("mov %0, %%es" : : "r"(FREE))), NP);
    check("#NP code", fault.error, FREE);
    check("#SS for absent stack", TRY(asm volatile("mov %0, %%ss" : : "r"(FREE))), SS);
    check("#SS code", fault.error, FREE);
    check("#GP for null SS", TRY(asm volatile("mov %0, %%ss" : : "r"(0))), GP);
    check("#GP for code in DS is allowed (readable)", TRY(asm volatile("mov %0, %%es" : : "r"(KCODE))), NONE);
    check("#GP null ES use", TRY(asm volatile("mov %0, %%es; movb %%es:0, %%al" : : "r"(0) : "eax")), GP);
    check("#GP null ES code", fault.error, 0);
    idt[0x50] &= ~(1ull << 47);
    check("#NP for absent gate", TRY(asm volatile("int $0x50")), NP);
    check("#NP gate code", fault.error, 0x50 * 8 + 2);
    idt[0x51] = 0;
    check("#GP for a gate of type 0", TRY(asm volatile("int $0x51")), GP);
    check("#GP gate code", fault.error, 0x51 * 8 + 2);
}

static void fpu(void)
{
    u16 control = 0x37B;
    u32 mxcsr = 0x1D80;
    WRITE_CR(0, READ_CR(0) | 8);
    check("#NM with TS", TRY(asm volatile("fld1")), NM);
    check("#NM for SSE with TS", TRY(asm volatile("xorps %xmm0, %xmm0")), NM);
    check("#NM for WAIT with TS and MP", TRY(asm volatile("fwait")), NM);
    asm volatile("clts");
    check("FLD after CLTS", TRY(asm volatile("fninit; fld1; fstp %st(0)")), NONE);
    WRITE_CR(0, READ_CR(0) | 4);
    check("#NM with EM", TRY(asm volatile("fld1")), NM);
    check("#UD for SSE with EM", TRY(asm volatile("xorps %xmm0, %xmm0")), UD);
    WRITE_CR(0, READ_CR(0) & ~4u);
    WRITE_CR(4, READ_CR(4) & ~0x200u);
    check("#UD for SSE without OSFXSR", TRY(asm volatile("xorps %xmm0, %xmm0")), UD);
    WRITE_CR(4, READ_CR(4) | 0x200);
    check("#MF vector", TRY(asm volatile("fldcw %0; fld1; fldz; fdivrp; fwait" : : "m"(control))), MF);
    asm volatile("fninit");
    check("#XM vector", TRY(asm volatile("ldmxcsr %0; xorps %%xmm0, %%xmm0; divss %%xmm0, %%xmm0; divss %%xmm1, %%xmm0"
        : : "m"(mxcsr))), NONE);
    u32 one = 0x3F800000;
    check("#XM for division by zero", TRY(asm volatile("movss %0, %%xmm0; xorps %%xmm1, %%xmm1; divss %%xmm1, %%xmm0"
        : : "m"(one))), XM);
    WRITE_CR(4, READ_CR(4) & ~0x400u);
    check("#UD without OSXMMEXCPT", TRY(asm volatile("movss %0, %%xmm0; xorps %%xmm1, %%xmm1; divss %%xmm1, %%xmm0"
        : : "m"(one))), UD);
    mxcsr = 0x1F80;
    asm volatile("ldmxcsr %0" : : "m"(mxcsr));
}

static void at_cpl3(void)
{
    check("CLI at CPL 3", USER((void *)AT(user_cli)), GP);
    check("CLI eip", fault.eip, AT(user_cli));
    check("CLI cs", fault.cs, UCODE);
    check("CLI ss", fault.ss, UDATA);
    check("HLT at CPL 3", USER((void *)AT(user_hlt)), GP);
    check("INT 0x80 at CPL 3", USER((void *)AT(user_syscall)), SYSCALL);
    check("INT 0x80 eax", fault.eax, 0x1234);
    check("INT 0x80 eip is after", fault.eip, AT(user_after_syscall));
    check("INT 0x80 esp", fault.esp, (u32)(user_stack + sizeof(user_stack)));
    check("INT3 at CPL 3", USER((void *)AT(user_int3)), BP);
    check("INT through a DPL 0 gate", USER((void *)AT(user_int_kernel)), GP);
    check("INT through a DPL 0 gate, code", fault.error, 0x21 * 8 + 2);
    check("OUT denied by bitmap", USER((void *)AT(user_out)), GP);
    tss.bitmap[0xEE / 8] &= ~(1 << (0xEE & 7));
    check("OUT allowed by bitmap", USER((void *)AT(user_out)), SYSCALL);
    check("POPF at CPL 3 keeps IOPL and IF", (USER((void *)AT(user_popf)), fault.eax & (IOPL3 | IF)), IF);
    check("MOV CR0 at CPL 3", USER((void *)AT(user_movcr)), GP);
    check("LGDT at CPL 3", USER((void *)AT(user_lgdt)), GP);
    check("kernel data in DS at CPL 3", USER((void *)AT(user_load_kdata)), GP);
    check("kernel data in DS, code", fault.error, KDATA);
    check("null SS at CPL 3", USER((void *)AT(user_null_ss)), GP);
    check("misaligned without AM", USER((void *)AT(user_align)), SYSCALL);
    WRITE_CR(0, READ_CR(0) | 0x40000);
    check("#AC with AM and AC", USER((void *)AT(user_align)), AC);
    check("#AC code", fault.error, 0);
}

void main(void)
{
    at_cpl0();
    fpu();
    at_cpl3();
}
