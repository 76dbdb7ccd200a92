# A REX prefix that another prefix follows counts for nothing (SDM vol. 2, 2.2.1).
# init: rax=0x1122334455667788 rbx=0x0102030405060708
# expect: rax=0x1122334455667e90

    .byte 0x48, 0x66, 0x01, 0xd8
