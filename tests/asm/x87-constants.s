# Every constant and the stack movements they cause.

    fninit
    fld1
    fldz
    fldpi
    fldl2e
    fldl2t
    fldlg2
    fldln2
    fstp qword ptr [DATA]
    fstp tbyte ptr [DATA+16]
    fst dword ptr [DATA+32]
    fxch st(2)
    fdecstp
    fincstp
    ffree st(1)
