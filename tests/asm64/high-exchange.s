# XCHG, XADD and CMPXCHG with R8-R15; 49 90 is XCHG R8, RAX while 90 is NOP.
# vary: rax r8 r9 r10 r11 flags

    .byte 0x49, 0x90
    nop
    .byte 0x41, 0x90
    xadd r9, r10
    xadd [DATA+0x10], r11
    lock xadd dword ptr [DATA+0x1d], r8d
    cmpxchg r10, r11
    mov rax, [DATA+0x40]
    cmpxchg [DATA+0x40], r9
    lock cmpxchg qword ptr [DATA+0x48], r10
    xchg r12, r15
    xchg [DATA+0x51], r12b
