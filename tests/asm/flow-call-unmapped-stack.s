# CALL with an unmapped stack faults at the CALL; ESP is unchanged.
# expect: vector=14 error=6 esp=STACK cr2=0x2ffffffc

    mov esp, STACK
    call next
    next: nop
