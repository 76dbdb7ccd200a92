# DAA is one of the opcodes that 64-bit code has no more.
# expect: vector=6

    .byte 0x27
