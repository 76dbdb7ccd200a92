# Single step stops after one iteration of a repeated string instruction, with EIP still at it.
# expect: vector=1 ecx=4 edi=DATA+1

    mov edi, DATA
    mov ecx, 5
    push 0x302
    popfd
    rep stosb
    inc eax
