# 16-bit POPF leaves the upper half of EFLAGS alone.
# kernel: no

    push 0x200202
    popfd
    .byte 0x66, 0x68, 0xd5, 0x0c
    .byte 0x66
    popf
    pushfd
    pop eax
    .byte 0x66
    pushf
    pop cx
    push 0x202
    popfd
