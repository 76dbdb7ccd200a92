# POPF at CPL 3 changes arithmetic flags, DF, AC, ID and NT, but not IF or IOPL (SDM vol. 2, POPF).
# kernel: no

    push 0x00207ed7
    popfd
    pushfd
    pop eax
    push 0x00000002
    popfd
    pushfd
    pop ecx
    push 0xfffbfeff & ~0x40000
    popfd
    pushfd
    pop edx
    push 0x202
    popfd
