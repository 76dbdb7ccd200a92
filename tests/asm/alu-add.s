# ADD in all operand forms and sizes, flags collected after each (SDM vol. 2, ADD).
# init: edi=DATA
# vary: eax ecx edx ebx esi flags

    add eax, ecx
    pushfd
    add [DATA+16], edx
    pushfd
    add ebx, [DATA+20]
    pushfd
    add ax, cx
    pushfd
    add [DATA+26], dx
    pushfd
    add bx, [DATA+28]
    pushfd
    add al, cl
    pushfd
    add [DATA+31], dh
    pushfd
    add bh, [DATA+32]
    pushfd
    add eax, 0x12345678
    add ax, 0x8001
    add al, 0x80
    pushfd
    add esi, -3
    add dword ptr [DATA+36], -128
    add word ptr [DATA+40], 0x7fff
    add byte ptr [DATA+42], 0x7f
    pushfd
    add si, -3
    add word ptr [DATA+44], 5
    add dword ptr [DATA+48], 0x80000000
