# LES, LDS and LSS load a pointer.
# kernel: no

    mov dword ptr [DATA], 0x30001000
    mov word ptr [DATA+4], 0x2b
    les ecx, [DATA]
    lds edx, [DATA]
    lss esp, [DATA]
    push 5
    mov dword ptr [DATA+8], 0x002b1234
    .byte 0x66, 0x0f, 0xb4, 0x1d
    .long DATA+8
    lgs esi, [DATA]
