# IRETD at the same privilege pops EIP, CS and EFLAGS.
# kernel: no

    pushfd
    or dword ptr [esp], 0x8d5
    push 0x23
    call next
    next: add dword ptr [esp], back-next
    iretd
    nop
    ud2
    back: pushfd
    pop eax
