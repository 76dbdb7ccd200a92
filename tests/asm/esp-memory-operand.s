# ESP as base with disp8, disp32 and index, for reads, writes and read-modify-write.
# init: esi=2
# vary: eax ecx edx edi flags

    mov [esp+4], eax
    mov [esp-4], ecx
    add [esp+0x80], edx
    mov ebx, [esp+esi*4+8]
    inc word ptr [esp+2]
    xchg [esp+0x40], edi
    lea ebp, [esp+esi-4]
    mov [esp+esi], bh
    cmp [esp], eax
