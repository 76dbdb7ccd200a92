# A misaligned 16-byte operand of an aligned instruction raises #GP(0) (SDM vol. 2, table 2-22 class 1/4).
# expect: vector=13 error=0 eip=CODE+1

    inc eax
    addps xmm0, [DATA+4]
