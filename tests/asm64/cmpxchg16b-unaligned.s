# An operand that is not aligned to 16 bytes raises #GP.
# expect: vector=13 error=0

    cmpxchg16b [DATA+8]
