# A far jump through memory into compatibility mode, and a direct far jump back.
# init: rbp=0xffffffff00000001
# expect: rbp=2 r9=7

    mov r9, 7
    lea rax, narrow[rip]
    mov [DATA+0x80], eax
    mov word ptr [DATA+0x84], 0x23
    jmp fword ptr [DATA+0x80]
narrow:
    .code32
    inc ebp
    .byte 0xea
    .long wide
    .word 0x33
    .code64
wide:
