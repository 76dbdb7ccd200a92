# REPNE SCASB faults with the registers of the last comparison (EFLAGS are those before it or those of the
# last comparison, as the CPU chooses).
# expect: vector=14 ecx=46

    mov edi, READONLY+0xffc
    mov al, 0x99
    mov ecx, 50
    mov byte ptr [DATA], 1
    repne scasb
