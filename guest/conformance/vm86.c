/* Virtual-8086 mode entered by IRET: segments, IOPL-sensitive instructions, faults back to ring 0 (SDM vol. 3, 20). */

#include "conformance.h"

#define AT(label) ({ extern u8 label[]; (u32)label; })
#define LOW ((u8 *)0x20000)

asm(".text\n.code16\n"
    "v_hlt: hlt\n"
    "v_basic: mov %cs, %ax\n mov %ds, %bx\n movw $0x5678, 4\n mov $0x1234, %cx\n push %cx\n pop %dx\n hlt\n"
    "v_int: mov $7, %ax\n int $0x21\n nop\n hlt\n"
    "v_cli: cli\n hlt\n"
    "v_pushf: pushf\n pop %ax\n hlt\n"
    "v_popf: popf\n hlt\n"
    "v_iret: iret\n"
    "v_in: in $0x60, %al\n hlt\n"
    "v_movcr: .byte 0x0f, 0x20, 0xc0\n hlt\n"
    "v_int3: int3\n hlt\n"
    "v_segload: mov $0x2100, %ax\n mov %ax, %es\n movb $0x99, %es:2\n hlt\n"
    "v_limit: mov $0xfffe, %bx\n mov (%bx), %ax\n inc %bx\n mov (%bx), %ax\n hlt\n"
    "v_arith32: addr32 movl (%esi), %eax\n addl $1, %eax\n hlt\n"
    "v_lldt: .byte 0x0f, 0x00, 0xd0\n hlt\n"
    "v_loop: mov $5, %cx\n xor %ax, %ax\n 1: inc %ax\n loop 1b\n call 2f\n hlt\n 2: add $0x10, %ax\n ret\n"
    "v_end:\n.code32\n");

static u32 start_of(u32 label)
{
    return label - AT(v_hlt);
}

/* Runs the code at a label in vm86 mode with CS = 0x2000, DS = 0x2200, SS = 0x2300. */
static u32 run(u32 label, u32 eflags)
{
    return TRY(asm volatile(
        "pushl $0; pushl $0; pushl $0x2200; pushl $0x2200\n" /* gs fs ds es */
        "pushl $0x2300; pushl $0x1000; pushl %0; pushl $0x2000; pushl %1; iret"
        : : "r"(eflags | VM | 2), "r"(start_of(label)) : "memory"));
}

void main(void)
{
    for (u32 i = 0; i < AT(v_end) - AT(v_hlt); i++)
        LOW[i] = ((u8 *)AT(v_hlt))[i];
    check("HLT in vm86", run(AT(v_hlt), 0), GP);
    check("HLT, code", fault.error, 0);
    check("frame has VM", fault.eflags & VM, VM);
    check("frame CS", fault.cs, 0x2000);
    check("frame SS", fault.ss & 0xFFFF, 0x2300);
    check("frame ESP", fault.esp, 0x1000);
    check("frame DS", fault.vm_ds & 0xFFFF, 0x2200);
    check("frame ES", fault.vm_es & 0xFFFF, 0x2200);
    check("frame FS", fault.vm_fs & 0xFFFF, 0);
    check("code runs to HLT", run(AT(v_basic), 0), GP);
    check("CS in AX", fault.eax & 0xFFFF, 0x2000);
    check("DS in BX", fault.ebx & 0xFFFF, 0x2200);
    check("push and pop", fault.edx & 0xFFFF, 0x1234);
    check("store at DS:4", *(u16 *)0x22004, 0x5678);
    check("INT with IOPL 0", run(AT(v_int), 0), GP);
    check("INT with IOPL 0, eip", fault.eip, start_of(AT(v_int)) + 3);
    set_gate(0x21, 14, 3, stub_of(0x21));
    check("INT with IOPL 3 and DPL 3", run(AT(v_int), IOPL3), 0x21);
    check("INT with IOPL 3: eip", fault.eip, start_of(AT(v_int)) + 5);
    set_gate(0x21, 14, 0, stub_of(0x21));
    check("INT with IOPL 3 and DPL 0", run(AT(v_int), IOPL3), GP);
    check("INT with IOPL 3 and DPL 0, code", fault.error, 0x21 * 8 + 2);
    check("CLI with IOPL 0", run(AT(v_cli), IF), GP);
    check("CLI with IOPL 0, eip", fault.eip, start_of(AT(v_cli)));
    check("CLI with IOPL 3", (run(AT(v_cli), IOPL3 | IF), fault.eip), start_of(AT(v_cli)) + 1);
    check("CLI with IOPL 3 clears IF", fault.eflags & IF, 0);
    check("PUSHF with IOPL 0", (run(AT(v_pushf), 0), fault.eip), start_of(AT(v_pushf)));
    check("PUSHF with IOPL 3", (run(AT(v_pushf), IOPL3), fault.eax & IOPL3), IOPL3);
    check("POPF with IOPL 0", (run(AT(v_popf), 0), fault.eip), start_of(AT(v_popf)));
    check("IRET with IOPL 0", (run(AT(v_iret), 0), fault.eip), start_of(AT(v_iret)));
    check("IN is by bitmap", (run(AT(v_in), IOPL3), fault.eip), start_of(AT(v_in)));
    tss.bitmap[0x60 / 8] &= ~1u;
    check("IN allowed by bitmap", (run(AT(v_in), 0), fault.eip), start_of(AT(v_in)) + 2);
    check("MOV CR0", run(AT(v_movcr), IOPL3), GP);
    check("MOV CR0, eip", fault.eip, start_of(AT(v_movcr)));
    check("INT3 ignores IOPL", run(AT(v_int3), 0), BP);
    check("segment load", (run(AT(v_segload), 0), *(u8 *)0x21002), 0x99);
    check("segment load in the frame", fault.vm_es & 0xFFFF, 0x2100);
    check("offset 0xFFFE", (run(AT(v_limit), 0), fault.vector), GP);
    check("word at 0xFFFF", fault.eip, start_of(AT(v_limit)) + 6);
    check("LLDT is undefined", run(AT(v_lldt), 0), UD);
    check("loop, call, ret", (run(AT(v_loop), 0), fault.eax & 0xFFFF), 0x15);
    tss.esp0 = tss.esp0;
    paging_identity();
    *page_entry((void *)0x22000) = 0x22000 | 3;
    WRITE_CR(3, page_directory);
    check("supervisor page from vm86", run(AT(v_basic), 0), PF);
    check("supervisor page, code", fault.error, 7);
    check("supervisor page, CR2", fault_cr2, 0x22004);
}
