# PUSH of registers, immediates (sign-extended to 64 bits), memory, and of 16 bits.
# vary: rax r8 r12 r13
# expect: rcx=0xffffffffffffff80 rdx=0x7fffffff

    push r12
    push r13
    push -128
    push 0x7fffffff
    push qword ptr [DATA+3]
    push qword ptr [r15+DATA+0x13]
    push ax
    .byte 0x66, 0x6a, 0xfe
    mov rbx, rsp
    add rsp, 20
    pop rdx
    pop rcx
    pop r14
    pop r15
