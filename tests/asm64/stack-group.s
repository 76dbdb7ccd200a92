# Several accesses relative to one RSP, with writes in between, in one page.
# vary: rax rcx rdx rbx r8 r9

    sub rsp, 0x48
    mov [rsp], rax
    mov [rsp+8], r8
    mov [rsp+0x10], ecx
    mov [rsp+0x14], dx
    mov [rsp+0x17], bl
    push r9
    add rax, [rsp+8]
    mov rsi, [rsp+0x18]
    movzx edi, word ptr [rsp+0x1c]
    lea rbp, [rsp+0x20]
    mov [rbp], rsi
    mov r10, [rsp+0x20]
    pop r11
    add rsp, 0x48
