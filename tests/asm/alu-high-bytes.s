# AH, CH, DH and BH beside memory operands: encodings that a REX prefix would turn into SPL..DIL.
# init: eax=0x1234 ecx=0xabcd edx=0x8877 ebx=0xff01 edi=DATA
# vary: eax ecx edx ebx flags

    mov ah, [DATA+1]
    mov [DATA+64], ch
    add dh, [edi+2]
    sub [edi+3], bh
    xchg ah, [edi+4]
    cmp bh, [edi+5]
    setc ch
    mov ah, bl
    xor ch, ah
    test dh, bh
    setz ah
    xchg ch, dh
    movzx esi, ah
    movsx edi, bh
    inc ch
    dec dh
    neg bh
    not ah
    shl ah, 3
    rol bh, cl
