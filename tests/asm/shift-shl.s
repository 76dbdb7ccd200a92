# SHL by CL (0-255), 1 and immediate in all sizes; flags after each, also where undefined.
# vary: eax ecx edx ebx esi edi flags

    shl eax, cl
    pushfd
    shl dx, cl
    pushfd
    shl bl, cl
    pushfd
    shl bh, cl
    pushfd
    shl dword ptr [DATA+3], cl
    pushfd
    shl word ptr [DATA+9], cl
    pushfd
    shl byte ptr [DATA+12], cl
    pushfd
    shl eax, 1
    pushfd
    shl byte ptr [DATA+13], 1
    pushfd
    shl word ptr [DATA+14], 1
    pushfd
    shl esi, 5
    pushfd
    shl edi, 31
    shl si, 18
    pushfd
    shl dh, 10
    shl dword ptr [DATA+20], 33
    shl byte ptr [DATA+24], 0
    pushfd
