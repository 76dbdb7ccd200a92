# PUSHA stores the original ESP, POPA skips it; 16-bit forms too.
# vary: eax ecx edx ebx ebp esi edi flags

    pushad
    mov eax, [esp+12]
    mov [DATA], eax
    inc dword ptr [esp]
    popad
    .byte 0x66
    pusha
    mov cx, [esp+6]
    mov [DATA+4], cx
    .byte 0x66
    popa
    pushfd
