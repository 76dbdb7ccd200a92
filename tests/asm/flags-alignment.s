# With EFLAGS.AC set a misaligned access at CPL 3 raises #AC(0).
# expect: vector=17 error=0 eip=CODE+11

    push 0x40202
    popfd
    mov eax, [DATA+4]
    mov ecx, [DATA+6]
