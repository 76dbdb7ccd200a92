# REPE CMPSB and REPNE SCASB fault with the flags of the last comparison.
# expect: vector=14 ecx=46

    mov edi, READONLY+0xffc
    mov al, 0x99
    mov ecx, 50
    mov byte ptr [DATA], 1
    repne scasb
