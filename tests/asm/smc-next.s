# A store to the next instruction takes effect at once.

    mov byte ptr [next+1], 0x77
    jmp next
    next: mov al, 0x11
    nop
    mov byte ptr [there+1], 0x66
    there: mov ah, 0x22
