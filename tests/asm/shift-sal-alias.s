# The /6 encoding of the shift group is SHL.
# vary: eax ecx edx ebx flags

    .byte 0xc1, 0xf0, 3
    .byte 0xd1, 0xf2
    .byte 0xd3, 0xf3
    .byte 0xc0, 0xf5, 2
    pushfd
