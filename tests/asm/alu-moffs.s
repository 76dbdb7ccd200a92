# MOV between the accumulator and an absolute address (A0-A3), all sizes, also with a segment prefix.
# init: fs=DATA gs=DATA+256

    mov al, [DATA+5]
    .byte 0xa0
    .long DATA+6
    .byte 0xa1
    .long DATA+9
    .byte 0xa3
    .long DATA+64
    .byte 0x66, 0xa1
    .long DATA+13
    .byte 0x66, 0xa3
    .long DATA+71
    .byte 0xa2
    .long DATA+75
    .byte 0x64, 0xa1
    .long 8
    .byte 0x65, 0xa3
    .long 16
