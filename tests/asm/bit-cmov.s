# CMOVcc of all conditions, register and memory, 32 and 16 bit.
# vary: eax ecx edx ebx esi edi ebp flags

    cmovo eax, [DATA+0]
    cmovo esi, eax
    cmovno ecx, [DATA+4]
    cmovno edi, ecx
    cmovb edx, [DATA+8]
    cmovb ebp, edx
    cmovae ebx, [DATA+12]
    cmovae esi, ebx
    cmove eax, [DATA+16]
    cmove edi, eax
    cmovne ecx, [DATA+20]
    cmovne ebp, ecx
    cmovbe edx, [DATA+24]
    cmovbe esi, edx
    cmova ebx, [DATA+28]
    cmova edi, ebx
    cmovs ax, [DATA+32]
    cmovs si, ax
    cmovns cx, [DATA+36]
    cmovns di, cx
    cmovp dx, [DATA+40]
    cmovp bp, dx
    cmovnp bx, [DATA+44]
    cmovnp si, bx
    cmovl ax, [DATA+48]
    cmovl di, ax
    cmovge cx, [DATA+52]
    cmovge bp, cx
    cmovle dx, [DATA+56]
    cmovle si, dx
    cmovg bx, [DATA+60]
    cmovg di, bx
