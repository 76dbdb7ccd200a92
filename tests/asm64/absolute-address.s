# MOV between RAX and a 64-bit offset, also under a segment prefix and an address-size prefix; XLAT.
# init: fs=DATA+0x800
# vary: rax

    movabs [DATA+0x50], rax
    movabs eax, [DATA+0x1ffe]
    mov rbx, rax
    movabs al, fs:[0x21]
    .byte 0x67, 0xa0
    .long DATA+0x77
    mov rbx, DATA+0x100
    xlatb
