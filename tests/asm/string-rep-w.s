# Repeated 2-byte MOVS, STOS, LODS, CMPS and SCAS, both directions, count zero included.
# vary: eax flags

    mov esi, DATA+0x100
    mov edi, DATA+0x403
    mov ecx, 57
    rep movsw
    mov ecx, 33
    rep stosw
    mov ecx, 5
    rep lodsw
    mov ecx, 0
    rep movsw
    rep stosw
    pushfd
    mov esi, DATA+0x100
    mov edi, DATA+0x403
    mov ecx, 100
    repe cmpsw
    pushfd
    mov al, [edi+40]
    mov ecx, 200
    repne scasw
    pushfd
    std
    mov ecx, 21
    rep movsw
    mov ecx, 9
    rep stosw
    mov ecx, 50
    repne cmpsw
    pushfd
    mov ecx, 3
    repe scasw
    cld
    pushfd
    xor ecx, ecx
    cmp ecx, 1
    repe cmpsw
    pushfd
