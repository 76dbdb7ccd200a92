# INT3 is a trap: EIP is after it.
# expect: vector=3 eip=CODE+2

    nop
    int3
    nop
