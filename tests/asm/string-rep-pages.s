# REP MOVS and STOS over several pages at odd offsets.

    mov esi, DATA+3
    mov edi, DATA+0x1805
    mov ecx, 0x1801
    rep movsb
    mov edi, DATA+0xff1
    mov ecx, 0x420
    mov eax, 0x11223344
    rep stosd
    std
    mov edi, DATA+0x3ffd
    mov esi, DATA+0x2003
    mov ecx, 0x5f0
    rep movsw
    cld
    mov edi, DATA+0xf00
    mov ecx, 0x2000
    xor eax, eax
    repne scasb
