# High-byte registers as operand while the address uses a base and an index.
# init: edi=DATA eax=0x105 ecx=0x203
# vary: edx ebx flags

    and eax, 0xff0f
    and ecx, 0xff07
    mov ah, [edi+ecx]
    add [edi+ecx*2+3], ch
    or bh, [edi+ecx+0x40]
    xadd [edi+5], dh
    cmpxchg [edi+6], ch
    bt eax, 3
    adc bh, [edi+ecx*4+9]
