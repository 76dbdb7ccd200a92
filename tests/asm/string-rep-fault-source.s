# REP MOVSB running off the end of its source stops exactly there.
# expect: vector=14 error=4 ecx=84 esi=0x20005000 edi=DATA+16

    mov esi, READONLY+0xff0
    mov edi, DATA
    mov ecx, 100
    rep movsb
