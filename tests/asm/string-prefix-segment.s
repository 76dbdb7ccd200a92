# Source segment override applies to SI only.
# init: fs=DATA+0x40 gs=DATA+0x80

    mov esi, 0x10
    mov edi, DATA+0x300
    mov ecx, 10
    rep movs dword ptr es:[edi], dword ptr fs:[esi]
    fs lodsb
    gs lodsw
    .byte 0x64
    cmpsb
    pushfd
