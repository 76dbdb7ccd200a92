# Far JMP, CALL and RET to the same code segment.
# kernel: no

    push 0x23
    push offset one
    retf
    ud2
    one: .byte 0x9a
    .long two
    .word 0x23
    inc eax
    .byte 0xea
    .long three
    .word 0x23
    ud2
    two: inc eax
    retf
    three: mov dword ptr [DATA], offset four
    mov word ptr [DATA+4], 0x23
    jmp fword ptr [DATA]
    ud2
    four: mov dword ptr [DATA], offset five
    call fword ptr [DATA]
    jmp done
    five: add esp, 8
    inc eax
    done: push 1
    push 0x23
    push offset six
    retf 4
    six: nop
