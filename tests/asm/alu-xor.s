# XOR in all operand forms and sizes, flags collected after each (SDM vol. 2, XOR).
# init: edi=DATA
# vary: eax ecx edx ebx esi flags

    xor eax, ecx
    pushfd
    xor [DATA+16], edx
    pushfd
    xor ebx, [DATA+20]
    pushfd
    xor ax, cx
    pushfd
    xor [DATA+26], dx
    pushfd
    xor bx, [DATA+28]
    pushfd
    xor al, cl
    pushfd
    xor [DATA+31], dh
    pushfd
    xor bh, [DATA+32]
    pushfd
    xor eax, 0x12345678
    xor ax, 0x8001
    xor al, 0x80
    pushfd
    xor esi, -3
    xor dword ptr [DATA+36], -128
    xor word ptr [DATA+40], 0x7fff
    xor byte ptr [DATA+42], 0x7f
    pushfd
    xor si, -3
    xor word ptr [DATA+44], 5
    xor dword ptr [DATA+48], 0x80000000
