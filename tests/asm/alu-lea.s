# LEA with every addressing form; it touches no memory and no flags, and truncates to 16 bits.
# vary: eax ecx edx ebx esi edi ebp flags

    lea eax, [ecx+edx*4+0x12345678]
    lea ecx, [ecx+ecx*8-1]
    lea edx, [0x80000000]
    lea bx, [esi+edi*2]
    lea esi, [esp+8]
    lea edi, [esp+eax*2]
    lea ebp, [ebp+0]
    .byte 0x64, 0x8d, 0x40, 4
    .byte 0x67, 0x8d, 0x48, 0xff
    .byte 0x66, 0x67, 0x8d, 0x10
    .byte 0x8d, 0x04, 0x25
    .long 0x1234
    .byte 0x8d, 0x34, 0x20
