# Arithmetic of 16 bits with R8-R15 as destination, source and beside memory.
# vary: rax rcx r8 r9 r10 r11 r12 r13 r14 r15 flags

    add r10w, r11w
    add r11w, word ptr [DATA+0]
    add word ptr [DATA+9], r8w
    add r8w, 0x5a
    add r8w, r10w
    or r10w, r11w
    or r11w, word ptr [DATA+32]
    or word ptr [DATA+41], r8w
    or r8w, 0x5a
    or r8w, r10w
    adc r10w, r11w
    adc r11w, word ptr [DATA+64]
    adc word ptr [DATA+73], r8w
    adc r8w, 0x5a
    adc r8w, r10w
    sbb r10w, r11w
    sbb r11w, word ptr [DATA+96]
    sbb word ptr [DATA+105], r8w
    sbb r8w, 0x5a
    sbb r8w, r10w
    and r10w, r11w
    and r11w, word ptr [DATA+128]
    and word ptr [DATA+137], r8w
    and r8w, 0x5a
    and r8w, r10w
    sub r10w, r11w
    sub r11w, word ptr [DATA+160]
    sub word ptr [DATA+169], r8w
    sub r8w, 0x5a
    sub r8w, r10w
    xor r10w, r11w
    xor r11w, word ptr [DATA+192]
    xor word ptr [DATA+201], r8w
    xor r8w, 0x5a
    xor r8w, r10w
    cmp r10w, r11w
    cmp r11w, word ptr [DATA+224]
    cmp word ptr [DATA+233], r8w
    cmp r8w, 0x5a
    cmp r8w, r10w
    test r10w, r11w
    setc bl
    test word ptr [DATA+0x101], r8w
    setz dl
    neg r10w
    not r11w
    inc r8w
    dec word ptr [DATA+0x111]
