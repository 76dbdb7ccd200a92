# IMUL with two and three operands, 16 and 32 bit.
# vary: eax ecx edx ebx esi flags

    imul eax, ecx
    pushfd
    imul edx, [DATA+4]
    pushfd
    imul ebx, eax, 0x1234567
    pushfd
    imul esi, [DATA+8], -3
    pushfd
    imul ax, cx
    pushfd
    imul dx, [DATA+13], 0x100
    pushfd
    imul bx, si, -7
    pushfd
