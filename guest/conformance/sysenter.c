/* SYSENTER and SYSEXIT: selectors from one MSR, flat segments, no stack traffic (SDM vol. 2). */

#include "conformance.h"

#define AT(label) ({ extern u8 label[]; (void *)label; })

static u8 stack[4096] __attribute__((aligned(16)));
u32 cs, ss, esp, eflags, ecx, edx;

asm(".text\n"
    "user_enter: mov $user_back, %edx\n mov %esp, %ecx\n sysenter\n ud2\n"
    "user_back: mov %cs, %eax\n mov %ss, %ebx\n mov %esp, %esi\n int $0x80\n"
    "user_exit: sysexit\n"
    "kernel_enter: mov $0x10, %eax\n mov %eax, %ds\n mov %eax, %es\n"
    "  mov %cs, cs\n mov %ss, ss\n mov %esp, esp\n pushf\n popl eflags\n mov %ecx, ecx\n mov %edx, edx\n"
    "  mov $0x23, %eax\n mov %eax, %ds\n mov %eax, %es\n sysexit\n");

void main(void)
{
    wrmsr(0x174, 0);
    check("SYSENTER with a null CS MSR", USER(AT(user_enter)), GP);
    check("SYSENTER with a null CS MSR, code", fault.error, 0);
    wrmsr(0x174, KCODE);
    wrmsr(0x175, (u32)(stack + sizeof(stack)));
    wrmsr(0x176, (u32)AT(kernel_enter));
    check("MSR reads back", (u32)rdmsr(0x176), (u32)AT(kernel_enter));
    check("SYSENTER and back", USER(AT(user_enter)), SYSCALL);
    check("kernel CS", cs & 0xFFFF, KCODE);
    check("kernel SS", ss & 0xFFFF, KDATA);
    check("kernel ESP", esp, (u32)(stack + sizeof(stack)));
    check("IF is clear", eflags & IF, 0);
    check("EDX passes through", edx, (u32)AT(user_back));
    check("user CS after SYSEXIT", fault.eax & 0xFFFF, UCODE);
    check("user SS after SYSEXIT", fault.ebx & 0xFFFF, UDATA);
    check("user ESP after SYSEXIT", fault.esi, ecx);
    check("SYSEXIT at CPL 3", USER(AT(user_exit)), GP);
    wrmsr(0x174, 0);
    check("SYSEXIT with a null CS MSR", TRY(asm volatile("sysexit")), GP);
}
