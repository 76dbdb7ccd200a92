# ROR by CL (0-255), 1 and immediate in all sizes; flags after each, also where undefined.
# vary: eax ecx edx ebx esi edi flags

    ror eax, cl
    pushfd
    ror dx, cl
    pushfd
    ror bl, cl
    pushfd
    ror bh, cl
    pushfd
    ror dword ptr [DATA+3], cl
    pushfd
    ror word ptr [DATA+9], cl
    pushfd
    ror byte ptr [DATA+12], cl
    pushfd
    ror eax, 1
    pushfd
    ror byte ptr [DATA+13], 1
    pushfd
    ror word ptr [DATA+14], 1
    pushfd
    ror esi, 5
    pushfd
    ror edi, 31
    ror si, 18
    pushfd
    ror dh, 10
    ror dword ptr [DATA+20], 33
    ror byte ptr [DATA+24], 0
    pushfd
