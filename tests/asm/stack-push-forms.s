# PUSH of registers, immediates, memory and segments.
# vary: eax ecx
# kernel: no

    push eax
    push 0x7f
    push -128
    push 0x12345678
    push dword ptr [DATA+3]
    .byte 0xff, 0xf1
    push ds
    push es
    .byte 0x66
    push ds
    push fs
    push gs
    .byte 0x8f, 0xc0
    pop ecx
