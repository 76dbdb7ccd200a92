/* Ways between 64-bit code and compatibility mode, at both ends of the privilege levels, and what 32-bit code finds
   there (SDM vol. 3, 5.8 and 2.1.3; vol. 1, 3.1.1). */

#include "conformance.h"

u64 word = 0x1122334455667788;
struct {
    u32 offset;
    u16 selector;
} __attribute__((packed)) narrow_pointer;

asm(".text\n"
    "to_narrow: movabs $0x1111222233334444, %rbx\n movabs $0x5555666677778888, %r9\n mov %rsp, %r10\n"
    "  push %r8\n push $narrow\n lretq\n"
    "wide_again: mov %cs, %edx\n mov %r10, %rsp\n ret\n"
    "user_far: movabs $0x1111222233334444, %rbx\n push $0x1b\n push $user_narrow\n lretq\n"
    "user_wide: mov %cs, %edx\n int $0x80\n"
    "user_indirect: ljmpl *narrow_pointer\n"
    "user_both: push $0x4b\n push $user_wide\n lretq\n"
    "user_to_kernel: push $8\n push $user_wide\n lretq\n"
    ".code32\n"
    "narrow: inc %ebx\n mov %cs, %ecx\n push %ebx\n pop %esi\n ljmp $8, $wide_again\n"
    "user_narrow: inc %ebx\n mov %cs, %ecx\n push %ebx\n ljmp $0x2b, $user_wide\n"
    "user_stays: mov $0x23, %eax\n mov %eax, %ds\n mov %eax, %es\n mov word, %eax\n mov word+4, %ebx\n inc %eax\n int $0x80\n"
    "user_null: xor %eax, %eax\n mov %eax, %ds\n mov word, %eax\n int $0x80\n"
    "user_limit: mov $0x4b, %eax\n mov %eax, %ds\n mov 0xffc, %ebx\n mov 0xffd, %ebx\n int $0x80\n"
    "user_wrap: mov $0x23, %eax\n mov %eax, %ds\n mov $0xfffffff0, %ebx\n mov word+16(%ebx), %eax\n int $0x80\n"
    "user_rex: mov $0x23, %eax\n mov %eax, %ds\n mov $7, %eax\n .byte 0x48, 0x40\n int $0x80\n"
    "user_wide_only: .byte 0x0f, 0x01, 0xf8\n int $0x80\n"
    "user_iret: push $0x23\n push $user_iret_top\n pushf\n push $0x1b\n push $user_iret_end\n iret\n"
    "user_iret_end: mov $9, %eax\n int $0x80\n"
    ".code64\n .data\n .skip 64\n user_iret_top: .text\n");

static u64 rbx, rcx, rdx, rsi, r9;

static void into_narrow(u64 selector)
{
    register u64 r8 asm("r8") = selector;
    register u64 r9_out asm("r9");
    asm volatile("call to_narrow" : "=b"(rbx), "=c"(rcx), "=d"(rdx), "=S"(rsi), "=r"(r9_out), "+r"(r8)
        : : "rax", "r10", "memory");
    r9 = r9_out;
}

void main(void)
{
    for (int time = 0; time < 3; time++) {
        into_narrow(KCODE32);
        check("CS of the kernel's 32-bit code", rcx, KCODE32);
        check("what it wrote has 32 bits", rbx, 0x33334445);
        check("its stack has 4-byte slots", rsi, 0x33334445);
        check("R9 survived", r9, 0x5555666677778888);
        check("back in 64-bit code", rdx, KCODE);

        check("far return of a program", USER(user_far), SYSCALL);
        check("CS in 32-bit code", fault.rcx, UCODE32);
        check("CS in 64-bit code", fault.rdx, UCODE);
        check("RSP: two slots of 8 gone, one of 4 taken", fault.rsp, USER_TOP - 4);
        narrow_pointer.offset = (u32)(u64)AT(user_narrow);
        narrow_pointer.selector = UCODE32;
        check("far jump through memory", USER(user_indirect), SYSCALL);
        check("CS after it", fault.rcx, UCODE32);

        check("32-bit program", USER32(user_stays), SYSCALL);
        check("reads memory", fault.rbx, 0x11223344);
        check("and the lower half", fault.rax, 0x55667789);
        check("CS in its frame", fault.cs, UCODE32);
        check("RSP in its frame", fault.rsp, USER_TOP);
        check("null DS counts", USER32(user_null), GP);
        check("addresses wrap at 4 GiB", USER32(user_wrap), SYSCALL);
        check("to the word", fault.rax, 0x55667788);
        check("REX prefixes are DEC and INC", USER32(user_rex), SYSCALL);
        check("their sum", fault.rax, 7);
        check("SWAPGS does not exist", USER32(user_wide_only), UD);
        check("IRET within CPL 3", USER32(user_iret), SYSCALL);
        check("its end", fault.rax, 9);
    }
    gdt[FREE / 8] = descriptor(0, 0xFFF, 0xF2, 0x4);
    check("limits count in 32-bit code", USER32(user_limit), GP);
    check("up to the byte", fault.rip, (u64)AT(user_limit) + 13);
    gdt[FREE / 8] = descriptor(0, 0xFFFFF, 0xFA, 0xE);
    check("a code segment with L and D", USER(user_both), GP);
    check("its selector", fault.error, FREE);
    gdt[FREE / 8] = descriptor(0, 0xFFFFF, 0x7A, 0xA);
    check("one that is not present", USER(user_both), NP);
    check("far return to an inner ring", USER(user_to_kernel), GP);
    check("names the segment", fault.error, KCODE);
}
