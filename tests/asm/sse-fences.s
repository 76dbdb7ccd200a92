# LFENCE, MFENCE, SFENCE, PAUSE and CLFLUSH change nothing.
# vary: flags

    lfence
    mfence
    sfence
    pause
    clflush [DATA+4]
    stc
    lfence
    pushfd
