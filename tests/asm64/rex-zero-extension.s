# Writes of 32 bits clear the upper half, writes of 8 and 16 bits keep it; also where nothing else changes.
# vary: rax rcx rdx rbx rsi rdi rbp r8 r9 r10 r11 r12 r13 r14 r15 flags
# expect: r8=1

    mov r8, -1
    mov r8d, 1
    mov ax, cx
    mov dl, bl
    mov r9w, r10w
    add esi, 0
    xor edi, edi
    or r11d, r11d
    inc r12d
    movzx ebx, bx
    cmovc ecx, r13d
    bswap r14d
    lea r15d, [r15+1]
