# LOOP, LOOPE, LOOPNE, JECXZ and their CX forms keep flags.

    mov ecx, 3
    a: inc eax
    loop a
    mov ecx, 5
    b: inc edx
    cmp edx, 3
    loopne b
    mov ecx, 9
    c: inc ebx
    cmp ecx, ecx
    loope c
    jecxz d
    inc esi
    d: mov ecx, 0x10000
    .byte 0x67
    jecxz e
    inc esi
    e: mov ecx, 0x10002
    f: inc edi
    .byte 0x67
    loop f
    pushfd
    jecxz g
    inc esi
    g: mov ecx, 1
    jecxz h
    inc ebp
    h: nop
