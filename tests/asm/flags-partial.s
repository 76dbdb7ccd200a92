# Flags that an instruction leaves alone survive: INC keeps CF, BT keeps ZF, shifts by 0 keep all, NOT keeps
# all.
# vary: eax ecx edx ebx flags

    stc
    inc eax
    pushfd
    cmp eax, eax
    bt ecx, 3
    pushfd
    xor cl, cl
    stc
    shl edx, cl
    pushfd
    not ebx
    pushfd
    mov eax, [DATA]
    pushfd
    cmc
    dec dword ptr [DATA+4]
    pushfd
    mul byte ptr [DATA+5]
    lahf
    clc
    bswap ebx
    pushfd
    std
    cld
    pushfd
