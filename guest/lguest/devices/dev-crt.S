/* Start of every device guest: what tells the dialect, the first instructions, one entry stub per interrupt. */

    .intel_syntax noprefix
    .section .head, "ax"
#ifdef DIALECT_P
/* Multiboot header (a PC). */
    .align 4
    .long 0x1BADB002, 0, -0x1BADB002
#else
/* The note by which such a guest says its dialect, 0 for A to 5 for F. */
    .align 4
    .long 6, 4, 1
    .ascii "lhype\0\0\0"
    .long DIALECT - 'A'
#endif
#ifdef DIALECT_A
/* Dialect A starts behind this text. */
    .ascii "GenuineLguest"
#endif
    .global start
start:
    cld
#ifdef DIALECT_P
    mov [multiboot_info], ebx
#endif
    mov esp, offset boot_stack_end
    call setup
    call main
    call finish

/* Interrupt n (0-31): counts it and comes back with interrupts off, as the gate left them; HALT turns them on. */
    .text
    .global stubs
    .align 16
stubs:
    .set irq, 0
    .rept 32
    .align 16
    inc dword ptr [irq_count + 4 * irq]
    iretd
    .set irq, irq + 1
    .endr

    .bss
    .align 16
    .skip 16384
boot_stack_end:
