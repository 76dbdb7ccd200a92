# An MMX instruction raises a pending x87 exception.
# expect: vector=16 eax=1

    mov word ptr [DATA], 0x37b
    fldcw [DATA]
    fld1
    fldz
    fdivp
    inc eax
    movd mm0, eax
