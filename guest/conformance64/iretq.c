/* IRETQ to everywhere (SDM vol. 2, IRET in IA-32e mode): same ring, programs of both sizes, flags, and what it
   refuses. RSP and SS are popped always. */

#include "conformance.h"

asm(".text\n"
    /* iret_to(rip, cs, rflags, rsp, ss) */
    "iret_to: push %r8\n push %rcx\n push %rdx\n push %rsi\n push %rdi\n iretq\n"
    "iret_narrow_frame: mov %rsp, %r9\n sub $20, %rsp\n mov %edi, (%rsp)\n mov %esi, 4(%rsp)\n mov %edx, 8(%rsp)\n"
    "  mov %ecx, 12(%rsp)\n mov %r8d, 16(%rsp)\n iretl\n"
    "here: pushfq\n pop %rax\n mov %ss, %ecx\n mov %rsp, %rdx\n ud2\n"
    "stepped: nop\n nop\n ud2\n"
    "user_here: mov %cs, %ecx\n int $0x80\n"
    "user_iret: push $0x23\n push %rsp\n push $0x3202\n push $0x2b\n push $user_flags\n iretq\n"
    "user_flags: pushfq\n pop %rax\n int $0x80\n"
    ".code32\n"
    "narrow_here: inc %eax\n mov %cs, %ecx\n int $0x80\n"
    ".code64\n");

void iret_to(const void *rip, u64 cs, u64 rflags, u64 rsp, u64 ss);
void iret_narrow_frame(const void *rip, u64 cs, u64 rflags, u64 rsp, u64 ss);

static u8 other_stack[1024] __attribute__((aligned(16)));

void main(void)
{
    u64 top = (u64)(other_stack + sizeof(other_stack));
    for (int time = 0; time < 3; time++) {
        check("same ring", TRY(iret_to(AT(here), KCODE, 2, top, KDATA)), UD);
        check("RSP", fault.rdx, top);
        check("SS", fault.rcx & 0xFFFF, KDATA);
        check("same ring with a null SS", TRY(iret_to(AT(here), KCODE, CF | 2, top - 3, 0)), UD);
        check("RSP, odd", fault.rdx, top - 3);
        check("null SS", fault.rcx & 0xFFFF, 0);
        check("flags", fault.rax & (CF | IF), CF);
        check("a program", TRY(iret_to(AT(user_here), UCODE, IF | 2, USER_TOP, UDATA)), SYSCALL);
        check("its CS", fault.rcx, UCODE);
        check("IF", fault.rflags & IF, IF);
        check("a 32-bit program", TRY(iret_to(AT(narrow_here), UCODE32, 2, 0xABCD00000000 | USER_TOP, UDATA)), SYSCALL);
        check("its CS", fault.rcx, UCODE32);
        check("its RSP has 32 bits", fault.rsp, USER_TOP);
        check("IRETD to a program", TRY(iret_narrow_frame(AT(user_here), UCODE, 2, USER_TOP, UDATA)), SYSCALL);
        check("its CS", fault.rcx, UCODE);
        check("IOPL and AC", TRY(iret_to(AT(user_here), UCODE, 0x43002, USER_TOP, UDATA)), SYSCALL);
        check("are set by CPL 0", fault.rflags & 0x43000, 0x43000);
        check("IRETQ of a program", USER(user_iret), SYSCALL);
        check("changes neither IOPL nor IF", fault.rax & 0x3200, IF);
        check("RF lets one instruction pass", TRY(iret_to(AT(user_here), UCODE, RF | 2, USER_TOP, UDATA)), SYSCALL);
        check("and is gone", fault.rflags & RF, 0);
        check("TF traps after one instruction", TRY(iret_to(AT(stepped), KCODE, TF | 2, top, KDATA)), DB);
        check("there", fault.rip, (u64)AT(stepped) + 1);
    }
    check("NT", TRY(asm volatile("push $0x4002\n popfq\n iretq")), GP);
    check("RIP that is not canonical", TRY(iret_to((void *)NOT_CANONICAL, KCODE, 2, top, KDATA)), GP);
    check("RIP that is not canonical, code", fault.error, 0);
    check("null CS", TRY(iret_to(AT(here), 0, 2, top, KDATA)), GP);
    check("null CS, code", fault.error, 0);
    check("data as CS", TRY(iret_to(AT(here), KDATA, 2, top, KDATA)), GP);
    check("data as CS, code", fault.error, KDATA);
    check("null SS for a program", TRY(iret_to(AT(user_here), UCODE, 2, USER_TOP, 3)), GP);
    check("null SS for a program, code", fault.error, 0);
    check("SS of another ring", TRY(iret_to(AT(user_here), UCODE, 2, USER_TOP, KDATA)), GP);
    check("SS of another ring, code", fault.error, KDATA);
    check("null SS of another RPL", TRY(iret_to(AT(here), KCODE, 2, top, 1)), GP);
    check("null SS for 32-bit code of CPL 0", TRY(iret_to(AT(narrow_here), KCODE32, 2, top, 0)), GP);
    gdt[FREE / 8] = descriptor(0, 0xFFFFF, 0x7A, 0xA);
    check("CS that is not present", TRY(iret_to(AT(user_here), FREE | 3, 2, USER_TOP, UDATA)), NP);
    check("CS that is not present, code", fault.error, FREE);
    gdt[FREE / 8] = descriptor(0, 0xFFFFF, 0x72, 0xC);
    check("SS that is not present", TRY(iret_to(AT(user_here), UCODE, 2, USER_TOP, FREE | 3)), SS);
    check("SS that is not present, code", fault.error, FREE);
    check("beyond the table", TRY(iret_to(AT(here), 0x1000, 2, top, KDATA)), GP);
    check("beyond the table, code", fault.error, 0x1000);
}
