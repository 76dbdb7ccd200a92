# Arithmetic of 8 bits with R8-R15 as destination, source and beside memory.
# vary: rax rcx r8 r9 r10 r11 r12 r13 r14 r15 flags

    add r11b, r12b
    add r12b, byte ptr [DATA+0]
    add byte ptr [DATA+9], r15b
    add r15b, 0x5a
    add r15b, r11b
    or r11b, r12b
    or r12b, byte ptr [DATA+32]
    or byte ptr [DATA+41], r15b
    or r15b, 0x5a
    or r15b, r11b
    adc r11b, r12b
    adc r12b, byte ptr [DATA+64]
    adc byte ptr [DATA+73], r15b
    adc r15b, 0x5a
    adc r15b, r11b
    sbb r11b, r12b
    sbb r12b, byte ptr [DATA+96]
    sbb byte ptr [DATA+105], r15b
    sbb r15b, 0x5a
    sbb r15b, r11b
    and r11b, r12b
    and r12b, byte ptr [DATA+128]
    and byte ptr [DATA+137], r15b
    and r15b, 0x5a
    and r15b, r11b
    sub r11b, r12b
    sub r12b, byte ptr [DATA+160]
    sub byte ptr [DATA+169], r15b
    sub r15b, 0x5a
    sub r15b, r11b
    xor r11b, r12b
    xor r12b, byte ptr [DATA+192]
    xor byte ptr [DATA+201], r15b
    xor r15b, 0x5a
    xor r15b, r11b
    cmp r11b, r12b
    cmp r12b, byte ptr [DATA+224]
    cmp byte ptr [DATA+233], r15b
    cmp r15b, 0x5a
    cmp r15b, r11b
    test r11b, r12b
    setc bl
    test byte ptr [DATA+0x101], r15b
    setz dl
    neg r11b
    not r12b
    inc r15b
    dec byte ptr [DATA+0x111]
