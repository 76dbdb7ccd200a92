# A jump into an unmapped page faults at its target, with the target in CR2.
# expect: vector=14 error=4 eip=0x50000000 cr2=0x50000000

    mov eax, 0x50000000
    jmp eax
