# FS and GS have bases, CS, DS, ES and SS prefixes count for nothing.
# init: fs=DATA+0x400 gs=DATA+0xff8 r9=0x20 rsi=DATA+0x40
# vary: rax

    mov rcx, fs:[0x18]
    mov rdx, gs:[4]
    add fs:[r9+8], rax
    mov r10, gs:[r9-0x30]
    mov rbx, fs:[r9*2-0x100]
    .byte 0x2e
    mov r11, [rsi]
    .byte 0x26
    mov r12, [rsi+8]
    mov rdi, DATA+0x700
    mov rsi, 0x10
    fs movsq
