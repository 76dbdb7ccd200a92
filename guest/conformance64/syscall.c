/* SYSCALL, SYSRET and SWAPGS (SDM vol. 2): registers, flags, selectors, and what they refuse. */

#include "conformance.h"

u64 entry_rcx, entry_r11, entry_flags, entry_cs, entry_ss, entry_rsp, kernel_rsp;

asm(".text\n"
    /* The kernel's entry: notes what it finds and returns by the way of entry_way. */
    "entry: mov %rcx, entry_rcx\n mov %r11, entry_r11\n mov %rsp, entry_rsp\n mov kernel_rsp, %rsp\n"
    "  pushfq\n popq entry_flags\n mov %cs, %eax\n mov %eax, entry_cs\n mov %ss, %eax\n mov %eax, entry_ss\n"
    "  mov entry_rsp, %rsp\n cmp $1, %edi\n je 1f\n cmp $2, %edi\n je 2f\n sysretq\n"
    "1: mov $user_narrow, %ecx\n movabs $0xffffffff00000000, %rax\n or %rax, %rcx\n sysretl\n"
    "2: movabs $0x800000000000, %rcx\n sysretq\n"
    "user_plain: xor %edi, %edi\n movabs $0x1111222233334444, %rcx\n std\n stc\n syscall\n"
    "user_back: mov %cs, %eax\n mov %ss, %ebx\n pushfq\n pop %rdx\n int $0x80\n"
    "user_flags: xor %edi, %edi\n push $0x44002\n popfq\n syscall\n int $0x80\n"
    "user_to_narrow: mov $1, %edi\n syscall\n int $0x80\n"
    "user_bad_return: mov $2, %edi\n syscall\n int $0x80\n"
    "user_sysret: sysretq\n"
    "user_swapgs: swapgs\n"
    ".code32\n"
    "user_narrow: mov %cs, %eax\n mov %ss, %ebx\n inc %esi\n int $0x80\n"
    "user_narrow_syscall: .byte 0x0f, 0x05\n int $0x80\n"
    "user_narrow_sysret: .byte 0x0f, 0x07\n int $0x80\n"
    ".code64\n");

u64 gs_words[2] = { 0x1111, 0x2222 };

void main(void)
{
    u64 efer = rdmsr(0xC0000080);
    wrmsr(0xC0000082, (u64)AT(entry));
    wrmsr(0xC0000084, IF | DF_FLAG);
    kernel_rsp = (u64)(ring0_stack + sizeof(ring0_stack));

    for (int time = 0; time < 3; time++) {
        check("SYSCALL and SYSRET", USER(user_plain), SYSCALL);
        check("RCX is the return address", entry_rcx, (u64)AT(user_back));
        check("R11 has the flags", entry_r11 & (DF_FLAG | IF | CF), DF_FLAG | IF | CF);
        check("R11 has no RF", entry_r11 & RF, 0);
        check("masked flags are clear", entry_flags & (DF_FLAG | IF), 0);
        check("other flags stay", entry_flags & CF, CF);
        check("kernel CS", entry_cs & 0xFFFF, KCODE);
        check("kernel SS", entry_ss & 0xFFFF, KDATA);
        check("RSP is the user's", entry_rsp, USER_TOP);
        check("user CS", fault.rax, UCODE);
        check("user SS", fault.rbx, UDATA);
        check("flags are back", fault.rdx & (DF_FLAG | IF | CF), DF_FLAG | IF | CF);
        check("SYSRET to 32-bit code", USER(user_to_narrow), SYSCALL);
        check("its CS", fault.rax, UCODE32);
        check("its CS in the frame", fault.cs, UCODE32);
        check("its SS", fault.rbx, UDATA);
        check("its RIP has 32 bits", fault.rip >> 32, 0);
        check("SYSRET to an address that is not canonical", USER(user_bad_return), GP);
        check("that fails at CPL 0", fault.cs, KCODE);
        check("with code 0", fault.error, 0);
        check("and the user's RSP", fault.rsp, USER_TOP);
    }
    wrmsr(0xC0000084, 0xFFFFFFFF);
    check("NT and AC can be masked", USER(user_flags), SYSCALL);
    check("and are", entry_flags & 0x3F7FD7, 2);
    check("R11 had them", entry_r11 & (NT | AC_FLAG), NT | AC_FLAG);
    check("and so has the program again", fault.rflags & (NT | AC_FLAG), NT | AC_FLAG);

    check("SYSRET at CPL 3", USER(user_sysret), GP);
    check("SYSCALL in 32-bit code", USER32(user_narrow_syscall), UD);
    check("SYSRET in 32-bit code", USER32(user_narrow_sysret), UD);
    wrmsr(0xC0000080, efer & ~1ull);
    check("SYSCALL without EFER.SCE", USER(user_plain), UD);
    check("SYSRET without EFER.SCE", USER(user_sysret), UD);
    wrmsr(0xC0000080, efer);

    check("SWAPGS at CPL 3", USER(user_swapgs), GP);
    wrmsr(0xC0000101, (u64)&gs_words[0]);
    wrmsr(0xC0000102, (u64)&gs_words[1]);
    u64 first, second;
    asm volatile("mov %%gs:0, %0\n swapgs\n mov %%gs:0, %1" : "=&r"(first), "=&r"(second));
    check("GS before SWAPGS", first, 0x1111);
    check("GS after SWAPGS", second, 0x2222);
    check("the MSRs have changed places", rdmsr(0xC0000102), (u64)&gs_words[0]);
    asm volatile("mov %w0, %%gs" : : "r"(0));
    check("a null selector clears the base", rdmsr(0xC0000101), 0);
    asm volatile("mov %w0, %%fs" : : "r"(UDATA));
    wrmsr(0xC0000100, 0xFFFF800012345678);
    check("FS keeps its selector", ({ u32 s; asm volatile("mov %%fs, %0" : "=r"(s)); s & 0xFFFF; }), UDATA);
    check("and has a wide base", rdmsr(0xC0000100), 0xFFFF800012345678);
}
