# A bit-string access outside mapped memory faults at the addressed word, not at the base.
# expect: vector=14 cr2=0x1ffffffc eip=CODE+10

    mov edi, DATA+4
    mov eax, -64
    bts [edi], eax
