/* Start of the lguest test guest: first instructions, one entry stub per vector, the way back from traps, and the few
   operations C cannot express. */

    .intel_syntax noprefix
    .section .start, "ax"
#ifdef NOTE
    /* States the dialect: owner "lhype", type 1, one number. */
    .align 4
    .long 6, 4, 1
    .ascii "lhype\0\0\0"
    .long DIALECT
#elif DIALECT == 1
    .ascii "Linux version 2.6.24 "
#endif
#if DIALECT == 0
    .ascii "GenuineLguest"
#endif
    .global start
start:
    mov [entry_state], eax
    mov [entry_state + 4], ecx
    mov [entry_state + 8], edx
    mov [entry_state + 12], ebx
    mov [entry_state + 16], esp
    mov [entry_state + 20], ebp
    mov [entry_state + 24], esi
    mov [entry_state + 28], edi
    mov [entry_state + 32], cs
    mov [entry_state + 36], ss
    mov [entry_state + 40], ds
    mov [entry_state + 44], es
    mov [entry_state + 48], fs
    mov [entry_state + 52], gs
    mov esp, offset boot_stack_end
    pushfd
    pop dword ptr [entry_state + 56]
    cld
    call main

    .text
#include "../common/vectors.S"

trap_entry:
    pushad
    push ds
    push es
    push fs
    push gs
    mov eax, 0x69
    mov ds, eax
    mov es, eax
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
    push eax
    mov eax, [esp + 12]
    and eax, 0x200
    jmp 1f

/* From here to noirq_end the host delivers nothing (A to E); in F only the IRET itself is special. */
    .global noirq_start, noirq_iret, noirq_end, noirq_spin
noirq_start:
/* void noirq_spin(u32 turns) */
noirq_spin:
    mov ecx, [esp + 4]
2:  dec ecx
    jnz 2b
    ret
1:  mov ss:[lguest_data], eax
    pop eax
noirq_iret:
    iretd
noirq_end:
    nop

#include "../common/save_context.S"

    .global restore_context
restore_context:
    mov eax, [esp + 4]
    mov ecx, 0x69
    mov ss, ecx
    mov esp, [eax + 16]
    mov ds, ecx
    mov es, ecx
    push 2
    popfd
    mov ebx, [eax]
    mov esi, [eax + 4]
    mov edi, [eax + 8]
    mov ebp, [eax + 12]
    mov ecx, [eax + 20]
    mov eax, 1
    jmp ecx

/* void enter_user(eip, esp, eflags): to CPL 3; comes back only through a trap. */
    .global enter_user
enter_user:
    mov ebx, [esp + 4]
    mov ecx, [esp + 8]
    mov edx, [esp + 12]
    mov eax, 0x7B
    push eax
    push ecx
    push edx
    push 0x73
    push ebx
    mov ds, eax
    mov es, eax
    iretd

    .bss
    .align 4
    .global entry_state
entry_state:
    .skip 60
    .align 16
    .skip 16384
boot_stack_end:
