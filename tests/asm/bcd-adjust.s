# DAA, DAS, AAA, AAS, AAM and AAD, flags after each (of AAA and AAS only CF and AF, of DAA and DAS not OF: the rest is
# undefined).
# vary: eax ecx edx flags

    daa
    pushfd
    and byte ptr [esp+1], 0xf7
    das
    pushfd
    and byte ptr [esp+1], 0xf7
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
    and byte ptr [esp+1], 0xf7
    test eax, eax
