# Every count 0-63 for RCL, RCR and SHL of a byte, word and double word.

    mov edi, DATA
    xor ecx, ecx
    again: mov eax, 0x89abcdef
    stc
    rcl eax, cl
    mov [edi], eax
    rcr ax, cl
    mov [edi+4], ax
    rcl al, cl
    mov [edi+6], al
    shl ah, cl
    mov [edi+7], ah
    lahf
    mov [edi+8], ah
    add edi, 12
    inc ecx
    cmp ecx, 64
    jb again
