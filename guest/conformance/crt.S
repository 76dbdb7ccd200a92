/* Start of every conformance guest: multiboot header, first instructions, one entry stub per interrupt vector, and the
   few operations C cannot express. */

    .intel_syntax noprefix
    .section .multiboot, "ax"
    .align 4
    .long 0x1BADB002, 0, -0x1BADB002

    .text
    .global start
start:
    cld
    mov esp, offset boot_stack_end
    call main_setup
    call main
    push eax
    call finish

#include "../common/vectors.S"

trap_entry:
    pushad
    push ds
    push es
    push fs
    push gs
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov fs, eax
    mov gs, eax
    cld
    push esp
    call trap
    add esp, 4
    pop gs
    pop fs
    pop es
    pop ds
    popad
    add esp, 8
    iretd

#include "../common/save_context.S"

    .global restore_context
restore_context:
    mov eax, [esp+4]
    mov ecx, 0x10
    mov ss, ecx
    mov esp, [eax+16]
    push 2
    popfd
    mov ebx, [eax]
    mov esi, [eax+4]
    mov edi, [eax+8]
    mov ebp, [eax+12]
    mov ecx, [eax+20]
    mov eax, 1
    jmp ecx

/* void enter_user(eip, esp, eflags): to CPL 3; comes back only through a trap. */
    .global enter_user
enter_user:
    mov ebx, [esp+4]
    mov ecx, [esp+8]
    mov edx, [esp+12]
    mov eax, 0x23
    mov ds, eax
    mov es, eax
    mov fs, eax
    mov gs, eax
    push eax
    push ecx
    push edx
    push 0x1B
    push ebx
    iretd

/* void load_tables(gdt pointer, idt pointer, task selector) */
    .global load_tables
load_tables:
    mov eax, [esp+4]
    lgdt [eax]
    mov eax, [esp+8]
    lidt [eax]
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov fs, eax
    mov gs, eax
    mov ss, eax
    push 8
    push offset 1f
    retf
1:  mov eax, [esp+12]
    ltr ax
    ret

    .bss
    .align 16
    .skip 16384
boot_stack_end:
