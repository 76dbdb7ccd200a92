# RCL and RCR of 64-bit registers and memory by CL.
# vary: rcx r8 r9 flags

    rcl r8, cl
    setc al
    rcr r9, 41
    setc bl
    rcr qword ptr [DATA+0x30], cl
    setc dl
    rcl r9d, cl
    setc sil
    cmp eax, eax
