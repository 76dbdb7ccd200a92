# Repeated 4-byte MOVS, STOS, LODS, CMPS and SCAS, both directions, count zero included.
# vary: eax flags

    mov esi, DATA+0x100
    mov edi, DATA+0x403
    mov ecx, 57
    rep movsd
    mov ecx, 33
    rep stosd
    mov ecx, 5
    rep lodsd
    mov ecx, 0
    rep movsd
    rep stosd
    pushfd
    mov esi, DATA+0x100
    mov edi, DATA+0x403
    mov ecx, 100
    repe cmpsd
    pushfd
    mov al, [edi+40]
    mov ecx, 200
    repne scasd
    pushfd
    std
    mov ecx, 21
    rep movsd
    mov ecx, 9
    rep stosd
    mov ecx, 50
    repne cmpsd
    pushfd
    mov ecx, 3
    repe scasd
    cld
    pushfd
    xor ecx, ecx
    cmp ecx, 1
    repe cmpsd
    pushfd
