# POP into segment registers with valid and null selectors.
# kernel: no

    push 0x2b
    pop es
    push 0x2b
    pop ds
    push 0
    pop es
    mov ax, es
    mov ecx, ds
    push ds
    pop es
    mov edx, es
