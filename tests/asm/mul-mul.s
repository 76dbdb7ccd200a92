# MUL and one-operand IMUL of all sizes from register and memory.
# vary: eax ecx edx ebx flags

    mul ecx
    pushfd
    imul ebx
    pushfd
    mul word ptr [DATA+3]
    pushfd
    imul cx
    pushfd
    mul bh
    pushfd
    imul byte ptr [DATA+6]
    pushfd
    mul dword ptr [DATA+8]
    pushfd
    imul dword ptr [DATA+12]
    pushfd
    mul esp
    imul ah
