# A loop of 100000 iterations through memory, so that chained blocks and the poll counter are exercised.

    mov ecx, 100000
    mov edi, DATA
    again: mov eax, ecx
    and eax, 0xfff
    add [edi+eax], cl
    lea ebx, [ebx+eax*2]
    xor ebx, [edi+eax]
    dec ecx
    jnz again
