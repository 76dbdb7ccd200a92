# MMX after x87 and back: EMMS frees the registers.
# init: eax=0x1234

    fld1
    fldpi
    movd mm7, eax
    fnstsw ax
    emms
    fld1
    fstp dword ptr [DATA]
    paddd mm0, mm7
