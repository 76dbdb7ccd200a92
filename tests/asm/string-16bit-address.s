# String instructions with a 16-bit address size use SI, DI and CX.

    mov ecx, 0x10000
    .byte 0x67
    rep movsb
    mov esi, DATA
    xor ecx, ecx
    .byte 0x67, 0xf3, 0xa4
    lea eax, [esi+edi]
    pushfd
