# DAA, DAS, AAA, AAS, AAM and AAD, flags after each (of AAA and AAS only the defined ones, CF and AF).
# vary: eax ecx edx flags

    daa
    pushfd
    das
    pushfd
    aaa
    pushfd
    and dword ptr [esp], 0x11
    aas
    pushfd
    and dword ptr [esp], 0x11
    aam
    pushfd
    aad
    pushfd
    aam 7
    pushfd
    aad 3
    pushfd
    add al, cl
    daa
    sub al, dl
    das
    pushfd
