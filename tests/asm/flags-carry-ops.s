# CLC, STC, CMC, CLD, STD.
# vary: flags

    clc
    pushfd
    cmc
    pushfd
    stc
    pushfd
    cmc
    pushfd
    std
    pushfd
    cld
    pushfd
