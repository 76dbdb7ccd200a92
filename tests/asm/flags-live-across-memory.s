# Flags made before a memory operand are used after it.
# init: edi=DATA
# vary: eax ecx ebx flags

    add eax, ecx
    mov edx, [DATA+4]
    adc ebx, 0
    pushfd
    cmp eax, ecx
    mov [DATA+8], eax
    mov esi, [edi+12]
    jb one
    inc ebp
    one: sbb esi, esi
    sub ecx, 1
    movzx edx, byte ptr [edi+3]
    push eax
    pop eax
    lea edi, [edi+1]
    cmovs ebx, [edi]
    rcl eax, 1
    mov [edi+0x20], eax
    rcr dword ptr [edi+0x24], 1
    pushfd
