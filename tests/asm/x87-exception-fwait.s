# FWAIT raises a pending exception; FNCLEX drops it.
# expect: vector=16 eax=1

    mov word ptr [DATA], 0x37b
    fldcw [DATA]
    fld1
    fldz
    fdivp
    fnclex
    fwait
    fld1
    fldz
    fdivp
    inc eax
    fwait
