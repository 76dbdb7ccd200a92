# CMOV, XADD, CMPXCHG, shifts and IMUL with ESP.

    mov ebx, esp
    cmp eax, eax
    cmove ecx, esp
    cmovne esp, eax
    mov edx, 0
    xadd edx, esp
    mov esp, edx
    mov eax, esp
    cmpxchg esp, ebx
    shl esp, 1
    shr esp, 1
    rol esp, 5
    ror esp, 5
    mov esi, esp
    imul esp, esp, 3
    mov edi, esp
    mov esp, ebx
    bts esp, 0
    btr esp, 0
    movd xmm0, esp
    setz al
    xchg eax, esp
    xchg eax, esp
