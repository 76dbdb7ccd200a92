# TEST in all forms, including the undocumented F6 /1 and F7 /1.
# vary: eax ecx edx flags

    test eax, ecx
    pushfd
    test [DATA+3], dx
    pushfd
    test al, 0x81
    pushfd
    test eax, 0x80000001
    pushfd
    test byte ptr [DATA+9], 0x42
    pushfd
    test dword ptr [DATA+12], 0xff00
    pushfd
    .byte 0xf7, 0xc9, 1, 0, 0, 0x80
    pushfd
    .byte 0xf6, 0xc9, 0x11
    pushfd
