# 16-bit PUSH and POP, PUSHW imm, POPW to memory.
# vary: eax

    push ax
    push 0x1234
    .byte 0x66, 0x68, 0x34, 0x12
    .byte 0x66, 0x6a, 0xff
    pop cx
    pop dx
    push word ptr [DATA+2]
    pop word ptr [DATA+8]
    .byte 0x66, 0xff, 0xf0
