/* Start of every 64-bit conformance guest: multiboot header, the way into long mode, one entry stub per interrupt
   vector, and the few operations C cannot express. The first 4 GiB are mapped one to one for user and supervisor. */

    .intel_syntax noprefix
    .section .multiboot, "ax"
    .align 4
    .long 0x1BADB002, 0, -0x1BADB002

    .text
    .code32
    .global start
start:
    cld
    mov esp, offset boot_stack_end
    mov eax, offset pointers + 7
    mov [pml4], eax
    mov eax, offset directories + 7
    mov edi, offset pointers
    mov ecx, 4
1:  mov [edi], eax
    add eax, 4096
    add edi, 8
    loop 1b
    mov eax, 0x87
    mov edi, offset directories
    mov ecx, 2048
2:  mov [edi], eax
    add eax, 0x200000
    add edi, 8
    loop 2b
    mov eax, offset pml4
    mov cr3, eax
    mov eax, 0x620
    mov cr4, eax
    mov ecx, 0xC0000080
    xor edx, edx
    mov eax, 0x901
    wrmsr
    mov eax, 0x80010033
    mov cr0, eax
    lgdt [first_table]
    .byte 0xEA
    .long long_start
    .word 8

    .align 8
first_gdt:
    .quad 0, 0x00AF9A000000FFFF, 0x00CF92000000FFFF
first_table:
    .word 23
    .long first_gdt

    .code64
long_start:
    mov eax, 0x10
    mov ss, eax
    mov rsp, offset boot_stack_end
    call main_setup
    call main
    call finish

#include "../common/vectors.S"

trap_entry:
    push rax
    push rcx
    push rdx
    push rbx
    push rbp
    push rsi
    push rdi
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
    cld
    mov rdi, rsp
    mov rbx, rsp
    and rsp, -16
    call trap
    mov rsp, rbx
    pop r15
    pop r14
    pop r13
    pop r12
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdi
    pop rsi
    pop rbp
    pop rbx
    pop rdx
    pop rcx
    pop rax
    add rsp, 16
    iretq

/* int save_context(struct context *c): 0 now, 1 when restore_context comes back to it. */
    .global save_context
save_context:
    mov [rdi], rbx
    mov [rdi + 8], rbp
    mov [rdi + 16], r12
    mov [rdi + 24], r13
    mov [rdi + 32], r14
    mov [rdi + 40], r15
    lea rcx, [rsp + 8]
    mov [rdi + 48], rcx
    mov rcx, [rsp]
    mov [rdi + 56], rcx
    xor eax, eax
    ret

    .global restore_context
restore_context:
    mov eax, 0x10
    mov ss, eax
    mov rbx, [rdi]
    mov rbp, [rdi + 8]
    mov r12, [rdi + 16]
    mov r13, [rdi + 24]
    mov r14, [rdi + 32]
    mov r15, [rdi + 40]
    mov rsp, [rdi + 48]
    push 2
    popfq
    mov eax, 1
    jmp [rdi + 56]

/* void enter_user(rip, rsp, rflags, cs): to CPL 3; comes back only through a trap. */
    .global enter_user
enter_user:
    push 0x23
    push rsi
    push rdx
    push rcx
    push rdi
    iretq

/* void load_tables(gdt pointer, idt pointer, task selector) */
    .global load_tables
load_tables:
    lgdt [rdi]
    lidt [rsi]
    ltr dx
    xor eax, eax
    mov ds, eax
    mov es, eax
    mov fs, eax
    mov gs, eax
    ret

    .bss
    .align 4096
pml4:
    .skip 4096
pointers:
    .skip 4096
directories:
    .skip 16384
    .skip 16384
boot_stack_end:
