# SPL, BPL, SIL, DIL and R8B-R15B with a REX prefix, AH-BH without (SDM vol. 2, 2.2.1.2).
# vary: rax rcx rdx rbx rsi rdi rbp r8 r9 r10 r11 r12 r13 r14 r15 flags

    add sil, dil
    mov bpl, r8b
    mov r9b, spl
    xor r15b, r14b
    movzx r10d, dil
    movsx r11, sil
    add ah, bl
    mov ch, dh
    xchg r12b, al
    not r13b
