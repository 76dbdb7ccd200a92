# SP as a 16-bit operand keeps the upper half of ESP.

    mov ax, sp
    add sp, 0x10
    sub sp, 0x10
    mov cx, sp
    mov sp, cx
    inc sp
    dec sp
    xchg sp, ax
    xchg sp, ax
    push sp
    pop bx
