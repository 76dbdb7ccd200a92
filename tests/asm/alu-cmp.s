# CMP in all operand forms and sizes, flags collected after each (SDM vol. 2, CMP).
# init: edi=DATA
# vary: eax ecx edx ebx esi flags

    cmp eax, ecx
    pushfd
    cmp [DATA+16], edx
    pushfd
    cmp ebx, [DATA+20]
    pushfd
    cmp ax, cx
    pushfd
    cmp [DATA+26], dx
    pushfd
    cmp bx, [DATA+28]
    pushfd
    cmp al, cl
    pushfd
    cmp [DATA+31], dh
    pushfd
    cmp bh, [DATA+32]
    pushfd
    cmp eax, 0x12345678
    cmp ax, 0x8001
    cmp al, 0x80
    pushfd
    cmp esi, -3
    cmp dword ptr [DATA+36], -128
    cmp word ptr [DATA+40], 0x7fff
    cmp byte ptr [DATA+42], 0x7f
    pushfd
    cmp si, -3
    cmp word ptr [DATA+44], 5
    cmp dword ptr [DATA+48], 0x80000000
