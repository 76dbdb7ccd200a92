# FADD, FSUB, FSUBR, FMUL, FDIV and FDIVR in all register forms.
# vary: st

    fadd st, st(1)
    fsub st(2), st
    fsubr st, st(1)
    fmul st(1), st
    fdiv st, st(2)
    fdivr st(1), st
    faddp st(1), st
    fsubp st(2), st
    fmulp
    fdivrp st(1), st
    fsubrp st(1), st
