# LAHF and SAHF move SF, ZF, AF, PF and CF; OF stays.
# vary: eax flags

    sahf
    pushfd
    lahf
    mov ecx, eax
    mov ah, 0xff
    sahf
    pushfd
    seto dl
    mov ah, 0
    sahf
    pushfd
    lahf
