# CMPXCHG equal and unequal, all sizes, memory and register, with LOCK.
# vary: eax ecx edx ebx flags

    mov eax, [DATA+4]
    cmpxchg [DATA+4], ecx
    pushfd
    cmpxchg [DATA+8], edx
    pushfd
    lock cmpxchg [DATA+9], ebx
    pushfd
    cmpxchg ecx, edx
    pushfd
    cmpxchg [DATA+14], cx
    pushfd
    cmpxchg [DATA+17], bh
    pushfd
    lock cmpxchg byte ptr [DATA+18], dl
    cmpxchg bl, ch
    cmpxchg dx, si
