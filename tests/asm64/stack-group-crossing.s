# The same with a frame across two pages, and with accesses that cross.
# vary: rax rcx rdx rbx r8 r9

    mov rsp, STACK+0x1010
    push rax
    push r8
    push rcx
    push rdx
    mov [rsp+4], ebx
    mov [rsp+0xc], r9
    mov rsi, [rsp+0xd]
    add [rsp+0x1a], rax
    pop rdi
    pop r10
    mov rsp, STACK+0x1003
    push rax
    push r9
    pop r11
    pop r12
