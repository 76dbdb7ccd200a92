# ADC in all operand forms and sizes, flags collected after each (SDM vol. 2, ADC).
# init: edi=DATA
# vary: eax ecx edx ebx esi flags

    adc eax, ecx
    pushfd
    adc [DATA+16], edx
    pushfd
    adc ebx, [DATA+20]
    pushfd
    adc ax, cx
    pushfd
    adc [DATA+26], dx
    pushfd
    adc bx, [DATA+28]
    pushfd
    adc al, cl
    pushfd
    adc [DATA+31], dh
    pushfd
    adc bh, [DATA+32]
    pushfd
    adc eax, 0x12345678
    adc ax, 0x8001
    adc al, 0x80
    pushfd
    adc esi, -3
    adc dword ptr [DATA+36], -128
    adc word ptr [DATA+40], 0x7fff
    adc byte ptr [DATA+42], 0x7f
    pushfd
    adc si, -3
    adc word ptr [DATA+44], 5
    adc dword ptr [DATA+48], 0x80000000
