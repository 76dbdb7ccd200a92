# REP STOSW downwards into an unmapped page.
# expect: vector=14 error=6 ecx=45 edi=DATA-2

    std
    mov edi, DATA+8
    mov ecx, 50
    rep stosw
