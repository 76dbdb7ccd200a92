# XADD with registers and memory in all sizes, same register twice.
# vary: eax ecx edx ebx esi flags

    xadd eax, ecx
    pushfd
    xadd [DATA+4], edx
    pushfd
    lock xadd [DATA+9], bx
    pushfd
    xadd [DATA+13], ch
    pushfd
    xadd dl, dh
    xadd esi, esi
    pushfd
    xadd ax, cx
