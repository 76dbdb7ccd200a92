# FABS, FCHS, FSQRT, FRNDINT, FSCALE, FXTRACT, FPREM and FPREM1.
# vary: st

    fabs
    fxch st(1)
    fchs
    fsqrt
    fxch st(2)
    frndint
    fscale
    fxtract
    fprem
    fxch st(1)
    fprem1
    fnstsw ax
