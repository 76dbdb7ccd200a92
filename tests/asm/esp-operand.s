# ESP as source, destination and address of ordinary instructions.

    mov eax, esp
    add esp, -16
    mov [esp], eax
    mov ecx, [esp]
    sub esp, ecx
    add esp, ecx
    lea edx, [esp+4]
    xchg esp, edx
    xchg esp, edx
    mov ebx, esp
    and esp, 0xfffffff0
    mov esp, ebx
    inc esp
    dec esp
    cmp esp, ebx
    pushfd
    test esp, esp
    or esp, 0
    xor esp, 0x10
    xor esp, 0x10
    imul esi, esp, 1
    movzx edi, sp
    bswap esp
    bswap esp
    neg esp
    neg esp
    not esp
    not esp
    adc esp, 0
    sbb esp, 0
