# ROL by CL (0-255), 1 and immediate in all sizes; flags after each, also where undefined.
# vary: eax ecx edx ebx esi edi flags

    rol eax, cl
    pushfd
    rol dx, cl
    pushfd
    rol bl, cl
    pushfd
    rol bh, cl
    pushfd
    rol dword ptr [DATA+3], cl
    pushfd
    rol word ptr [DATA+9], cl
    pushfd
    rol byte ptr [DATA+12], cl
    pushfd
    rol eax, 1
    pushfd
    rol byte ptr [DATA+13], 1
    pushfd
    rol word ptr [DATA+14], 1
    pushfd
    rol esi, 5
    pushfd
    rol edi, 31
    rol si, 18
    pushfd
    rol dh, 10
    rol dword ptr [DATA+20], 33
    rol byte ptr [DATA+24], 0
    pushfd
