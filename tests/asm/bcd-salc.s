# SALC (D6) copies CF into AL.
# expect: eax=0xff00

    stc
    .byte 0xd6
    mov ah, al
    clc
    .byte 0xd6
