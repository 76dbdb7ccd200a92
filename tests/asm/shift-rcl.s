# RCL by CL (0-255), 1 and immediate in all sizes; flags after each, also where undefined.
# vary: eax ecx edx ebx esi edi flags

    rcl eax, cl
    pushfd
    rcl dx, cl
    pushfd
    rcl bl, cl
    pushfd
    rcl bh, cl
    pushfd
    rcl dword ptr [DATA+3], cl
    pushfd
    rcl word ptr [DATA+9], cl
    pushfd
    rcl byte ptr [DATA+12], cl
    pushfd
    rcl eax, 1
    pushfd
    rcl byte ptr [DATA+13], 1
    pushfd
    rcl word ptr [DATA+14], 1
    pushfd
    rcl esi, 5
    pushfd
    rcl edi, 31
    rcl si, 18
    pushfd
    rcl dh, 10
    rcl dword ptr [DATA+20], 33
    rcl byte ptr [DATA+24], 0
    pushfd
