# An aligned operand on an unmapped page is #PF.
# expect: vector=14 error=4

    movaps xmm0, [DATA-16]
