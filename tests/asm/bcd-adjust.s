# DAA, DAS, AAA, AAS, AAM and AAD, flags after each.
# vary: eax ecx edx flags

    daa
    pushfd
    das
    pushfd
    aaa
    pushfd
    aas
    pushfd
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
