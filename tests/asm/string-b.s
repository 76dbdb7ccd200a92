# Single 1-byte string instructions forwards and backwards.
# vary: eax flags

    mov esi, DATA+0x100
    mov edi, DATA+0x200
    lodsb
    stosb
    movsb
    cmpsb
    pushfd
    scasb
    pushfd
    std
    lodsb
    stosb
    movsb
    cmpsb
    pushfd
    scasb
    pushfd
    cld
