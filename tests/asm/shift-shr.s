# SHR by CL (0-255), 1 and immediate in all sizes; flags after each, also where undefined.
# vary: eax ecx edx ebx esi edi flags

    shr eax, cl
    pushfd
    shr dx, cl
    pushfd
    shr bl, cl
    pushfd
    shr bh, cl
    pushfd
    shr dword ptr [DATA+3], cl
    pushfd
    shr word ptr [DATA+9], cl
    pushfd
    shr byte ptr [DATA+12], cl
    pushfd
    shr eax, 1
    pushfd
    shr byte ptr [DATA+13], 1
    pushfd
    shr word ptr [DATA+14], 1
    pushfd
    shr esi, 5
    pushfd
    shr edi, 31
    shr si, 18
    pushfd
    shr dh, 10
    shr dword ptr [DATA+20], 33
    shr byte ptr [DATA+24], 0
    pushfd
