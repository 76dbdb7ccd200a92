# MOV immediate, register and memory in every size and with redundant encodings.

    mov eax, 0x11223344
    mov cx, 0x5566
    mov dl, 0x77
    mov bh, 0x88
    .byte 0xc7, 0xc6
    .long 0x99aabbcc
    .byte 0xc6, 0xc4, 0x12
    .byte 0x66, 0xc7, 0xc5, 0x34, 0x12
    mov dword ptr [DATA+1], 0xdeadbeef
    mov word ptr [DATA+7], 0xface
    mov byte ptr [DATA+10], 0x5a
    .byte 0x89, 0xc7
    .byte 0x8b, 0xf9
    .byte 0x88, 0xe0
    .byte 0x8a, 0xcc
    mov [DATA+100], edi
    mov edi, [DATA+101]
    mov [DATA+110], di
    mov si, [DATA+111]
