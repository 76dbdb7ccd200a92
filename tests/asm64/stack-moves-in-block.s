# RSP changes by a register, by a load and by an AND between accesses of one block.
# init: rcx=0x40
# vary: rax r8

    push rax
    sub rsp, rcx
    mov [rsp+8], r8
    push rax
    mov [DATA+0x20], rsp
    and rsp, -64
    mov [rsp], rax
    push r8
    mov rsp, [DATA+0x20]
    pop rdx
    add rsp, rcx
    pop rbx
    xchg rsp, r9
    mov rsp, STACK+0x1800
    push rdx
    mov rsp, r9
