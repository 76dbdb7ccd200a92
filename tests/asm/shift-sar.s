# SAR by CL (0-255), 1 and immediate in all sizes; flags after each, also where undefined.
# vary: eax ecx edx ebx esi edi flags

    sar eax, cl
    pushfd
    sar dx, cl
    pushfd
    sar bl, cl
    pushfd
    sar bh, cl
    pushfd
    sar dword ptr [DATA+3], cl
    pushfd
    sar word ptr [DATA+9], cl
    pushfd
    sar byte ptr [DATA+12], cl
    pushfd
    sar eax, 1
    pushfd
    sar byte ptr [DATA+13], 1
    pushfd
    sar word ptr [DATA+14], 1
    pushfd
    sar esi, 5
    pushfd
    sar edi, 31
    sar si, 18
    pushfd
    sar dh, 10
    sar dword ptr [DATA+20], 33
    sar byte ptr [DATA+24], 0
    pushfd
