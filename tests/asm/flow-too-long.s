# An instruction of more than 15 bytes raises #GP(0) (SDM vol. 3, 6.15, interrupt 13).
# expect: vector=13 error=0 eip=CODE

    .fill 15, 1, 0x66
    nop
