# MUL, IMUL and DIV with R8-R15 and 64 bits.
# vary: rax rbx r9 r10 r11 r12

    mul r9
    mov rsi, rax
    mov rdi, rdx
    imul r10, r11, -0x123456
    setc bpl
    imul r12, [DATA+0x20]
    imul r13, r12, 77
    mov rax, rbx
    imul r11
    mov r14, rdx
    mov r15, rax
    xor edx, edx
    mov rax, rsi
    or r9, 1
    div r9
    mov rsi, rax
    mov rax, rdi
    cqo
    mov r8, 12345
    idiv r8
    cmp eax, eax
