# FXSAVE and FXRSTOR round trip (pointers and the host-specific MXCSR_MASK cleared before comparing).
# vary: xmm st

    fld1
    fldpi
    fxsave [DATA+0x200]
    mov dword ptr [DATA+0x206], 0
    mov dword ptr [DATA+0x208], 0
    mov dword ptr [DATA+0x20c], 0
    mov dword ptr [DATA+0x210], 0
    mov dword ptr [DATA+0x214], 0
    mov dword ptr [DATA+0x21c], 0
    pxor xmm0, xmm0
    fninit
    fxrstor [DATA+0x200]
    fxsave [DATA+0x400]
    mov dword ptr [DATA+0x406], 0
    mov dword ptr [DATA+0x408], 0
    mov dword ptr [DATA+0x40c], 0
    mov dword ptr [DATA+0x410], 0
    mov dword ptr [DATA+0x414], 0
    mov dword ptr [DATA+0x41c], 0
