# Single step over a taken jump reports its target.
# expect: vector=1 eip=CODE+9

    push 0x302
    popfd
    jmp target
    nop
    target: inc eax
    inc eax
