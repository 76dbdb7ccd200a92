# FCOM, FUCOM, FTST, FXAM and FCOMI with their flags.
# vary: st flags

    fcom st(1)
    fnstsw ax
    mov [DATA], ax
    fucom st(2)
    fnstsw [DATA+2]
    ftst
    fnstsw [DATA+4]
    fxam
    fnstsw ax
    mov [DATA+6], ax
    fcomi st, st(1)
    pushfd
    fucomi st, st(2)
    pushfd
    fcomip st, st(1)
    pushfd
    fucomip st, st(1)
    pushfd
    fcompp
    fnstsw ax
    sahf
    pushfd
    fucompp
