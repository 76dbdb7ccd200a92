# OR in all operand forms and sizes, flags collected after each (SDM vol. 2, OR).
# init: edi=DATA
# vary: eax ecx edx ebx esi flags

    or eax, ecx
    pushfd
    or [DATA+16], edx
    pushfd
    or ebx, [DATA+20]
    pushfd
    or ax, cx
    pushfd
    or [DATA+26], dx
    pushfd
    or bx, [DATA+28]
    pushfd
    or al, cl
    pushfd
    or [DATA+31], dh
    pushfd
    or bh, [DATA+32]
    pushfd
    or eax, 0x12345678
    or ax, 0x8001
    or al, 0x80
    pushfd
    or esi, -3
    or dword ptr [DATA+36], -128
    or word ptr [DATA+40], 0x7fff
    or byte ptr [DATA+42], 0x7f
    pushfd
    or si, -3
    or word ptr [DATA+44], 5
    or dword ptr [DATA+48], 0x80000000
