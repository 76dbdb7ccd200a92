# A loop that patches its own immediate on every iteration.

    mov ecx, 20
    again: add eax, 1
    inc byte ptr [again+2]
    dec ecx
    jnz again
