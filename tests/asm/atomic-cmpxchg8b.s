# CMPXCHG8B equal and unequal changes only ZF.
# init: ecx=0x11112222 ebx=0x33334444 edi=8
# vary: flags

    mov eax, [DATA+8]
    mov edx, [DATA+12]
    cmpxchg8b [DATA+8]
    pushfd
    cmpxchg8b [DATA+16]
    pushfd
    lock cmpxchg8b [esp+edi]
    pushfd
    mov eax, [DATA+33]
    mov edx, [DATA+37]
    lock cmpxchg8b [DATA+33]
    pushfd
