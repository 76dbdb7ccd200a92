# INTO traps only with OF set.
# expect: vector=4

    xor eax, eax
    into
    mov al, 0x7f
    inc al
    into
    nop
