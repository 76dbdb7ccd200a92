# A count of zero does nothing. (Some CPUs clear the upper half of RCX where ECX counts; not looked at here.)
# init: rsi=DATA rdi=DATA+0x40 rcx=0
# vary: flags

    rep movsq
    repne scasb
    repe cmpsd
