# LOCK with a register destination raises #UD.
# expect: vector=6 eip=CODE

    .byte 0xf0, 0x01, 0xc8
