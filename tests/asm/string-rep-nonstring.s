# REP prefixes on instructions that ignore them, PAUSE and REP RET included.

    .byte 0xf3, 0x40
    .byte 0xf2, 0x01, 0xc1
    pause
    .byte 0xf2, 0x89, 0xc2
    call f
    jmp done
    f: .byte 0xf3, 0xc3
    done: nop
