# RET to an unmapped address faults there, after ESP has moved.
# expect: vector=14 eip=0x50000004 esp=0x30001f00

    push 0x50000004
    ret
