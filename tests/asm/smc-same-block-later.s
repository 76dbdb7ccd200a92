# A store to an instruction later in the same basic block.

    mov dword ptr [there+1], 0x12345678
    inc ecx
    inc edx
    add ecx, edx
    there: mov eax, 0
    mov ebx, eax
