# Repeated string instructions with DF, overlapping, across pages.
# init: rsi=DATA+0x1008 rdi=DATA+0x1020

    std
    mov ecx, 30
    rep movsq
    mov ecx, 13
    mov al, 0x5a
    rep stosb
    cld
    mov rsi, DATA+0x300
    mov rdi, DATA+0x304
    mov ecx, 50
    rep movsd
