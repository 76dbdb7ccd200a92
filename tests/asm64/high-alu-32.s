# Arithmetic of 32 bits with R8-R15 as destination, source and beside memory.
# vary: rax rcx r8 r9 r10 r11 r12 r13 r14 r15 flags

    add r9d, r14d
    add r14d, dword ptr [DATA+0]
    add dword ptr [DATA+9], r13d
    add r13d, 0x5a
    add r13d, r9d
    or r9d, r14d
    or r14d, dword ptr [DATA+32]
    or dword ptr [DATA+41], r13d
    or r13d, 0x5a
    or r13d, r9d
    adc r9d, r14d
    adc r14d, dword ptr [DATA+64]
    adc dword ptr [DATA+73], r13d
    adc r13d, 0x5a
    adc r13d, r9d
    sbb r9d, r14d
    sbb r14d, dword ptr [DATA+96]
    sbb dword ptr [DATA+105], r13d
    sbb r13d, 0x5a
    sbb r13d, r9d
    and r9d, r14d
    and r14d, dword ptr [DATA+128]
    and dword ptr [DATA+137], r13d
    and r13d, 0x5a
    and r13d, r9d
    sub r9d, r14d
    sub r14d, dword ptr [DATA+160]
    sub dword ptr [DATA+169], r13d
    sub r13d, 0x5a
    sub r13d, r9d
    xor r9d, r14d
    xor r14d, dword ptr [DATA+192]
    xor dword ptr [DATA+201], r13d
    xor r13d, 0x5a
    xor r13d, r9d
    cmp r9d, r14d
    cmp r14d, dword ptr [DATA+224]
    cmp dword ptr [DATA+233], r13d
    cmp r13d, 0x5a
    cmp r13d, r9d
    test r9d, r14d
    setc bl
    test dword ptr [DATA+0x101], r13d
    setz dl
    neg r9d
    not r14d
    inc r13d
    dec dword ptr [DATA+0x111]
