# RCR by CL (0-255), 1 and immediate in all sizes; flags after each, also where undefined.
# vary: eax ecx edx ebx esi edi flags

    rcr eax, cl
    pushfd
    rcr dx, cl
    pushfd
    rcr bl, cl
    pushfd
    rcr bh, cl
    pushfd
    rcr dword ptr [DATA+3], cl
    pushfd
    rcr word ptr [DATA+9], cl
    pushfd
    rcr byte ptr [DATA+12], cl
    pushfd
    rcr eax, 1
    pushfd
    rcr byte ptr [DATA+13], 1
    pushfd
    rcr word ptr [DATA+14], 1
    pushfd
    rcr esi, 5
    pushfd
    rcr edi, 31
    rcr si, 18
    pushfd
    rcr dh, 10
    rcr dword ptr [DATA+20], 33
    rcr byte ptr [DATA+24], 0
    pushfd
