# REP MOVSQ that reaches a read-only page stops there with its registers in step.
# init: rsi=DATA+0x100 rdi=READONLY-16 rcx=10
# expect: vector=14 error=7 cr2=READONLY rcx=8 rdi=READONLY rsi=DATA+0x110

    rep movsq
