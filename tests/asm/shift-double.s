# SHLD and SHRD by CL and immediate, 32 and 16 bit, register and memory.
# vary: eax ecx edx ebx esi edi flags

    shld eax, edx, cl
    pushfd
    shrd ebx, eax, cl
    pushfd
    shld esi, edi, 7
    pushfd
    shrd edi, esi, 31
    pushfd
    shld [DATA+4], eax, cl
    pushfd
    shrd [DATA+9], ebx, 12
    pushfd
    and cl, 15
    shld ax, dx, cl
    pushfd
    shrd [DATA+14], bx, 5
    pushfd
    shld eax, eax, 0
    pushfd
