# SBB in all operand forms and sizes, flags collected after each (SDM vol. 2, SBB).
# init: edi=DATA
# vary: eax ecx edx ebx esi flags

    sbb eax, ecx
    pushfd
    sbb [DATA+16], edx
    pushfd
    sbb ebx, [DATA+20]
    pushfd
    sbb ax, cx
    pushfd
    sbb [DATA+26], dx
    pushfd
    sbb bx, [DATA+28]
    pushfd
    sbb al, cl
    pushfd
    sbb [DATA+31], dh
    pushfd
    sbb bh, [DATA+32]
    pushfd
    sbb eax, 0x12345678
    sbb ax, 0x8001
    sbb al, 0x80
    pushfd
    sbb esi, -3
    sbb dword ptr [DATA+36], -128
    sbb word ptr [DATA+40], 0x7fff
    sbb byte ptr [DATA+42], 0x7f
    pushfd
    sbb si, -3
    sbb word ptr [DATA+44], 5
    sbb dword ptr [DATA+48], 0x80000000
