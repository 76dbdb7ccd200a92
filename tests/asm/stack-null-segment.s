# An access through a null ES faults with #GP(0).
# expect: vector=13 error=0
# kernel: no

    push 0
    pop es
    mov eax, es:[DATA]
