# Single 4-byte string instructions forwards and backwards.
# vary: eax flags

    mov esi, DATA+0x100
    mov edi, DATA+0x200
    lodsd
    stosd
    movsd
    cmpsd
    pushfd
    scasd
    pushfd
    std
    lodsd
    stosd
    movsd
    cmpsd
    pushfd
    scasd
    pushfd
    cld
