# Shifts and rotations of R8-R15 by CL, by a constant and by one; counts are masked with 63 for 64 bits.
# vary: rcx r8 r9 r10 r11 r12 r13 r14 r15

    and ecx, 0x7f
    shl r8, cl
    pushfq
    pop rax
    and eax, 0xc5
    shr r9d, cl
    sar r10, 33
    rol r11, 63
    ror r12d, 31
    shl r13, 1
    pushfq
    pop rbx
    and ebx, 0x8c5
    sar r14w, 7
    rol r15b, 3
