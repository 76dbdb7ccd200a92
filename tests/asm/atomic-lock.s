# LOCK on each read-modify-write instruction that allows it.
# init: edi=DATA
# vary: eax ecx edx ebx flags

    lock add dword ptr [edi], 3
    lock or [edi+4], eax
    lock adc word ptr [edi+8], 5
    lock sbb [edi+10], cl
    lock and [edi+12], edx
    lock sub dword ptr [edi+16], 1
    lock xor [edi+20], bx
    lock inc dword ptr [edi+24]
    lock dec byte ptr [edi+28]
    lock neg word ptr [edi+30]
    lock not dword ptr [edi+32]
    pushfd
    lock add dword ptr [edi+0xffd], 1
    pushfd
