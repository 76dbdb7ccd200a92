# SUB in all operand forms and sizes, flags collected after each (SDM vol. 2, SUB).
# init: edi=DATA
# vary: eax ecx edx ebx esi flags

    sub eax, ecx
    pushfd
    sub [DATA+16], edx
    pushfd
    sub ebx, [DATA+20]
    pushfd
    sub ax, cx
    pushfd
    sub [DATA+26], dx
    pushfd
    sub bx, [DATA+28]
    pushfd
    sub al, cl
    pushfd
    sub [DATA+31], dh
    pushfd
    sub bh, [DATA+32]
    pushfd
    sub eax, 0x12345678
    sub ax, 0x8001
    sub al, 0x80
    pushfd
    sub esi, -3
    sub dword ptr [DATA+36], -128
    sub word ptr [DATA+40], 0x7fff
    sub byte ptr [DATA+42], 0x7f
    pushfd
    sub si, -3
    sub word ptr [DATA+44], 5
    sub dword ptr [DATA+48], 0x80000000
