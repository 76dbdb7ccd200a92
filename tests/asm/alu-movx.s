# MOVZX and MOVSX from byte and word, registers and memory, to 16 and 32 bits.
# vary: eax ecx edx ebx

    movzx eax, cl
    movzx edx, ch
    movsx ebx, dh
    movsx esi, cx
    movzx edi, cx
    movzx ax, bl
    movsx cx, dl
    movzx eax, byte ptr [DATA+7]
    movsx ecx, byte ptr [DATA+8]
    movzx edx, word ptr [DATA+9]
    movsx ebx, word ptr [DATA+11]
    movzx bp, byte ptr [DATA+13]
    movsx bp, byte ptr [DATA+14]
    .byte 0x66, 0x0f, 0xb7, 0xc1
    .byte 0x66, 0x0f, 0xbf, 0xd3
