# AND in all operand forms and sizes, flags collected after each (SDM vol. 2, AND).
# init: edi=DATA
# vary: eax ecx edx ebx esi flags

    and eax, ecx
    pushfd
    and [DATA+16], edx
    pushfd
    and ebx, [DATA+20]
    pushfd
    and ax, cx
    pushfd
    and [DATA+26], dx
    pushfd
    and bx, [DATA+28]
    pushfd
    and al, cl
    pushfd
    and [DATA+31], dh
    pushfd
    and bh, [DATA+32]
    pushfd
    and eax, 0x12345678
    and ax, 0x8001
    and al, 0x80
    pushfd
    and esi, -3
    and dword ptr [DATA+36], -128
    and word ptr [DATA+40], 0x7fff
    and byte ptr [DATA+42], 0x7f
    pushfd
    and si, -3
    and word ptr [DATA+44], 5
    and dword ptr [DATA+48], 0x80000000
