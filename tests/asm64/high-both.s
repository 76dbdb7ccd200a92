# Base, index and register operand all from R8-R15.
# init: r8=DATA+0x100 r13=DATA+0x800 r12=DATA+0x500
# vary: r9 r10 flags

    mov r14, 3
    mov r15, -2
    mov r11, [r8+r14*8]
    add r9, [r13+r15*4+0x10]
    mov [r12+r14], r10
    adc [r12+r15*8+0x7f], r9b
    cmp [r8+r15], r10
    sete r11b
    xchg [r13+r14*2], r10w
    movzx r10d, byte ptr [r12+r14]
    movsxd r9, dword ptr [r13+r15*4]
