# XCHG in all forms; with memory it is locked and must leave flags alone.
# vary: eax ecx edx ebx flags

    xchg eax, ecx
    xchg dx, bx
    xchg ah, cl
    xchg [DATA+4], eax
    xchg [DATA+9], cx
    xchg ch, [DATA+12]
    xchg eax, edi
    .byte 0x66, 0x90
    .byte 0x87, 0xc0
