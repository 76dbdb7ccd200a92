# Single 2-byte string instructions forwards and backwards.
# vary: eax flags

    mov esi, DATA+0x100
    mov edi, DATA+0x200
    lodsw
    stosw
    movsw
    cmpsw
    pushfd
    scasw
    pushfd
    std
    lodsw
    stosw
    movsw
    cmpsw
    pushfd
    scasw
    pushfd
    cld
