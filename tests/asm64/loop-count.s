# LOOP, LOOPE and JRCXZ count RCX; with an address-size prefix ECX.
# init: rcx=0x100000003

    xor eax, eax
again:
    inc eax
    addr32 loop again
    mov r8, rcx
    mov ecx, 5
more:
    inc eax
    cmp eax, eax
    loope more
    mov rcx, 0x100000000
    jrcxz wrong
    or eax, 0x100
    jecxz right
wrong:
    or eax, 0x200
right:
