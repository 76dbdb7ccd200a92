# FSIN, FCOS, FSINCOS, FPTAN, FPATAN, F2XM1, FYL2X and FYL2XP1.
# vary: st

    fsin
    fxch st(1)
    fcos
    fxch st(2)
    fsincos
    fptan
    fpatan
    f2xm1
    fyl2x
    fyl2xp1
    fnstsw ax
