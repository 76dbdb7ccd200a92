# FXSAVE to an address that is not 16-byte aligned raises #GP(0).
# expect: vector=13 error=0

    fxsave [DATA+8]
