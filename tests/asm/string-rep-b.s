# Repeated 1-byte MOVS, STOS, LODS, CMPS and SCAS, both directions, count zero included.
# vary: eax flags

    mov esi, DATA+0x100
    mov edi, DATA+0x403
    mov ecx, 57
    rep movsb
    mov ecx, 33
    rep stosb
    mov ecx, 5
    rep lodsb
    mov ecx, 0
    rep movsb
    rep stosb
    pushfd
    mov esi, DATA+0x100
    mov edi, DATA+0x403
    mov ecx, 100
    repe cmpsb
    pushfd
    mov al, [edi+40]
    mov ecx, 200
    repne scasb
    pushfd
    std
    mov ecx, 21
    rep movsb
    mov ecx, 9
    rep stosb
    mov ecx, 50
    repne cmpsb
    pushfd
    mov ecx, 3
    repe scasb
    cld
    pushfd
    xor ecx, ecx
    cmp ecx, 1
    repe cmpsb
    pushfd
