# INC, DEC, NEG and NOT in every size; INC and DEC keep CF (SDM vol. 2).
# init: edi=DATA
# vary: eax ecx edx ebx flags

    inc eax
    pushfd
    dec ecx
    pushfd
    neg edx
    pushfd
    not ebx
    pushfd
    inc word ptr [DATA+2]
    pushfd
    dec byte ptr [DATA+7]
    pushfd
    neg dword ptr [DATA+9]
    pushfd
    not word ptr [DATA+14]
    pushfd
    inc ax
    dec cx
    neg dl
    not bh
    inc byte ptr [edi+20]
    dec dword ptr [edi+21]
    neg byte ptr [edi+30]
    pushfd
    .byte 0xff, 0xc0
    .byte 0xff, 0xc9
    .byte 0x66, 0xff, 0xc2
    pushfd
