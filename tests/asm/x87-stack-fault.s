# Stack overflow and underflow set SF, C1 and give the indefinite value.

    fninit
    fstp qword ptr [DATA]
    fnstsw [DATA+8]
    fnclex
    fld1
    fld1
    fld1
    fld1
    fld1
    fld1
    fld1
    fld1
    fld1
    fnstsw [DATA+10]
    fadd st, st(1)
