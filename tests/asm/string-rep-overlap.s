# REP MOVS with overlapping runs one element apart replicates, forwards and backwards.

    mov esi, DATA
    mov edi, DATA+1
    mov ecx, 300
    rep movsb
    mov esi, DATA+0x400
    mov edi, DATA+0x402
    mov ecx, 100
    rep movsd
    std
    mov esi, DATA+0x801
    mov edi, DATA+0x800
    mov ecx, 99
    rep movsb
    mov esi, DATA+0xa00
    mov edi, DATA+0x9fe
    mov ecx, 40
    rep movsw
    cld
