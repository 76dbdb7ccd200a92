# FSTP to a read-only page does not pop.
# expect: vector=14 error=7

    fld1
    fldpi
    fstp tbyte ptr [READONLY]
