# REP MOVSD whose element crosses into the unmapped page faults before the element is copied.
# expect: vector=14 ecx=97 cr2=0x20005000

    mov esi, READONLY+0xff2
    mov edi, DATA
    mov ecx, 100
    rep movsd
