# BSWAP and MOV of 64-bit constants.
# init: r9=0x1122334455667788
# expect: rax=0x8877665544332211 rbx=0x88776655 r10=0x123456789abcdef0 rcx=0xfffffffffffffffe rdx=0xfffffffe

    mov rax, r9
    bswap rax
    mov rbx, r9
    bswap ebx
    movabs r10, 0x123456789abcdef0
    mov rcx, -2
    mov edx, -2
