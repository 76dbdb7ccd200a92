# BSF and BSR, including a zero source (destination unchanged on this silicon).
# vary: eax ecx edx edi ebp flags

    bsf eax, ecx
    pushfd
    bsr edx, ecx
    pushfd
    bsf ebx, [DATA+5]
    pushfd
    bsr esi, [DATA+9]
    pushfd
    mov dword ptr [DATA+20], 0
    bsf edi, [DATA+20]
    pushfd
    bsr ebp, [DATA+20]
    pushfd
    bsf ax, cx
    bsr dx, [DATA+3]
