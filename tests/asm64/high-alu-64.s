# Arithmetic of 64 bits with R8-R15 as destination, source and beside memory.
# vary: rax rcx r8 r9 r10 r11 r12 r13 r14 r15 flags

    add r8, r15
    add r15, qword ptr [DATA+0]
    add qword ptr [DATA+9], r12
    add r12, 0x5a
    add rax, rcx
    or r8, r15
    or r15, qword ptr [DATA+32]
    or qword ptr [DATA+41], r12
    or r12, 0x5a
    or rax, rcx
    adc r8, r15
    adc r15, qword ptr [DATA+64]
    adc qword ptr [DATA+73], r12
    adc r12, 0x5a
    adc rax, rcx
    sbb r8, r15
    sbb r15, qword ptr [DATA+96]
    sbb qword ptr [DATA+105], r12
    sbb r12, 0x5a
    sbb rax, rcx
    and r8, r15
    and r15, qword ptr [DATA+128]
    and qword ptr [DATA+137], r12
    and r12, 0x5a
    and rax, rcx
    sub r8, r15
    sub r15, qword ptr [DATA+160]
    sub qword ptr [DATA+169], r12
    sub r12, 0x5a
    sub rax, rcx
    xor r8, r15
    xor r15, qword ptr [DATA+192]
    xor qword ptr [DATA+201], r12
    xor r12, 0x5a
    xor rax, rcx
    cmp r8, r15
    cmp r15, qword ptr [DATA+224]
    cmp qword ptr [DATA+233], r12
    cmp r12, 0x5a
    cmp rax, rcx
    test r8, r15
    setc bl
    test qword ptr [DATA+0x101], r12
    setz dl
    neg r8
    not r15
    inc r12
    dec qword ptr [DATA+0x111]
