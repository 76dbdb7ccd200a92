# Instructions that lie across a page boundary.

    jmp CODE+0xff0
    .org 0xff0
    nop
    mov eax, 0x11223344
    add eax, 0x01010101
    mov dword ptr [DATA+4], 0x55667788
    lea ecx, [eax+eax*4+0x12345678]
    jmp CODE+0x1ffd
    .org 0x1ffd
    mov edx, 0x99aabbcc
    jmp CODE+0x2ffa
    .org 0x2fff-5
    mov ebx, 1
    nop
    jz over
    inc ebx
    over: inc esi
